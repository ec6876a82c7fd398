/**
 * A batch of spans as the bytes of OTLP, encoded when they end. Pending spans are then outside V8's heap, instead of in
 * some twenty objects per span that the garbage collector copies repeatedly. docs/decisions/span-queue.md has the reasons.
 */
import type { InstrumentationScope } from '@opentelemetry/core';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { messages } from '../otlp/protobuf.ts';
import { ProtobufWriter } from './protobuf-writer.ts';
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';
import { type SettledResource, SPANS, writeResource, writeScope, writeSpan } from './span-encoding.ts';

/** The spans of one scope of one resource. */
interface Group {
  readonly resource: SettledResource;
  readonly scope: InstrumentationScope;
  readonly spans: ProtobufWriter;
  count: number;
}

/** Spans of one scope, as one thread posts them to another. */
export interface EncodedPart {
  scope: InstrumentationScope;
  bytes: Uint8Array;
  count: number;
}

/** Estimated bytes of the resource, the scopes and the lengths around spans. */
const ENVELOPE_BYTES = 4_096;

export class EncodedSpans implements SpanBatch<EncodedSpans> {
  count = 0;
  bytes = 0;
  /** In the order of their first span. */
  readonly #groups: Group[] = [];
  #current: Group | undefined;
  #request: ProtobufWriter | undefined;

  get resource(): SettledResource | undefined {
    return this.#groups[0]?.resource;
  }

  /** Throws for a span that cannot be encoded, and leaves it out. */
  add(span: ReadableSpan): void {
    const group = this.#groupOf(span.resource, span.instrumentationScope);
    const { spans } = group;
    const { length } = spans;
    try {
      writeSpan(spans, span);
    } catch (error) {
      spans.truncate(length);
      throw error;
    }
    this.#added(group, 1, spans.length - length);
  }

  /** @param scope of `part`; the same object for all parts of one scope, since parts are grouped by it. */
  addPart(resource: SettledResource, scope: InstrumentationScope, { bytes, count }: EncodedPart): void {
    const group = this.#groupOf(resource, scope);
    group.spans.raw(bytes);
    this.#added(group, count, bytes.length);
  }

  /** Its content, in bytes that share no memory with it. */
  parts(): EncodedPart[] {
    return this.#groups.map(({ scope, spans, count }) => ({
      scope,
      bytes: Uint8Array.prototype.slice.call(spans.bytes()),
      count,
    }));
  }

  /**
   * The body of an ExportTraceServiceRequest; valid until discard().
   * 1 resource_spans: 1 resource, 2 scope_spans, 3 schema_url. ScopeSpans: 1 scope, 2 spans, 3 schema_url.
   */
  request(): Uint8Array {
    const writer = new ProtobufWriter(takeBuffer(this.bytes + ENVELOPE_BYTES));
    for (const resource of new Set(this.#groups.map((group) => group.resource))) {
      const resourceSpans = writer.begin(1);
      writeResource(writer, resource);
      for (const { resource: own, scope, spans } of this.#groups) {
        if (own !== resource) continue;
        const scopeSpans = writer.begin(2);
        writeScope(writer, scope);
        writer.raw(spans.bytes());
        if (scope.schemaUrl) writer.text(3, scope.schemaUrl);
        writer.end(scopeSpans);
      }
      if (resource.schemaUrl) writer.text(3, resource.schemaUrl);
      writer.end(resourceSpans);
    }
    this.#request = writer;
    return writer.bytes();
  }

  close(): void {}

  discard(): void {
    for (const { spans } of this.#groups.splice(0)) giveBack(spans.release());
    if (this.#request !== undefined) giveBack(this.#request.release());
    this.#request = undefined;
  }

  halves(): [EncodedSpans, EncodedSpans] {
    const halves: [EncodedSpans, EncodedSpans] = [new EncodedSpans(), new EncodedSpans()];
    let room = this.count >>> 1;
    for (const { resource, scope, spans, count } of this.#groups) {
      const bytes = spans.bytes();
      const first = Math.min(count, room);
      room -= first;
      const last = messages(bytes, SPANS)[first - 1];
      const middle = last === undefined ? 0 : last.byteOffset + last.length - bytes.byteOffset;
      const parts = [
        { scope, bytes: bytes.subarray(0, middle), count: first },
        { scope, bytes: bytes.subarray(middle), count: count - first },
      ];
      for (const [at, part] of parts.entries())
        if (part.count > 0) halves[at]?.addPart(resource, scope, part);
    }
    return halves;
  }

  #added(group: Group, count: number, bytes: number): void {
    group.count += count;
    this.count += count;
    this.bytes += bytes;
  }

  #groupOf(resource: SettledResource, scope: InstrumentationScope): Group {
    const current = this.#current;
    if (current !== undefined && current.scope === scope && current.resource === resource) return current;
    let group = this.#groups.find((each) => each.scope === scope && each.resource === resource);
    if (group === undefined) {
      group = { resource, scope, spans: new ProtobufWriter(takeBuffer(0)), count: 0 };
      this.#groups.push(group);
    }
    this.#current = group;
    return group;
  }
}

/**
 * Buffers of accepted batches, for reuse. V8 has moved the buffers of a batch to the old generation before they are free.
 * Without reuse, memory would grow by them until the next full garbage collection.
 */
const spares: Buffer[] = [];
/** One for the request, and for the spans of an app and of Milvus. */
const MAX_SPARES = 4;
const FIRST_CAPACITY_BYTES = 4_096;

/** An unused buffer of at least `bytes`. */
function takeBuffer(bytes: number): Buffer {
  const at = spares.findIndex(({ length }) => length >= bytes);
  const [spare] = at === -1 ? [] : spares.splice(at, 1);
  return spare ?? Buffer.allocUnsafe(Math.max(bytes, FIRST_CAPACITY_BYTES));
}

function giveBack(buffer: Buffer): void {
  // The buffer of an unusually large batch is not kept.
  if (buffer.length > 0 && buffer.length <= FULL_BATCH_BYTES && spares.length < MAX_SPARES)
    spares.push(buffer);
}
