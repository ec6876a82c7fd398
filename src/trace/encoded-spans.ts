/**
 * A batch of spans as the bytes of OTLP, encoded when they end. Pending spans are then outside V8's heap,
 * instead of in some twenty objects per span that the garbage collector copies repeatedly.
 * docs/decisions/span-queue.md has the reasons.
 */
import type { InstrumentationScope } from '@opentelemetry/core';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { PbfWriter } from 'pbf';
import { messages } from '../otlp/protobuf.ts';
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';
import {
  type SettledResource,
  SPANS,
  writeResource,
  writeScope,
  writeSpan,
  writeText,
} from './span-encoding.ts';

/** The spans of one scope of one resource. */
interface Group {
  readonly resource: SettledResource;
  readonly scope: InstrumentationScope;
  readonly spans: PbfWriter;
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
  #request: PbfWriter | undefined;

  get resource(): SettledResource | undefined {
    return this.#groups[0]?.resource;
  }

  /** Throws for a span that cannot be encoded, and leaves it out. */
  add(span: ReadableSpan): void {
    const group = this.#groupOf(span.resource, span.instrumentationScope);
    const { spans } = group;
    const { pos } = spans;
    try {
      spans.writeMessage(SPANS, writeSpan, span);
    } catch (error) {
      spans.pos = pos;
      throw error;
    }
    this.#added(group, 1, spans.pos - pos);
  }

  /** @param scope of `part`; the same object for all parts of one scope, since parts are grouped by it. */
  addPart(resource: SettledResource, scope: InstrumentationScope, { bytes, count }: EncodedPart): void {
    const group = this.#groupOf(resource, scope);
    append(group.spans, bytes);
    this.#added(group, count, bytes.length);
  }

  /** Its content, in bytes that share no memory with it. */
  parts(): EncodedPart[] {
    return this.#groups.map(({ scope, spans, count }) => ({
      scope,
      bytes: spans.buf.slice(0, spans.pos),
      count,
    }));
  }

  /**
   * The body of an ExportTraceServiceRequest; valid until discard(). 1 resource_spans
   */
  request(): Uint8Array {
    const writer = new PbfWriter(takeBuffer(this.bytes + ENVELOPE_BYTES));
    for (const resource of new Set(this.#groups.map((group) => group.resource)))
      writer.writeMessage(
        1,
        writeResourceSpans,
        this.#groups.filter((group) => group.resource === resource),
      );
    this.#request = writer;
    return written(writer);
  }

  close(): void {}

  discard(): void {
    for (const { spans } of this.#groups.splice(0)) giveBack(spans.buf);
    if (this.#request !== undefined) giveBack(this.#request.buf);
    this.#request = undefined;
  }

  split(): [EncodedSpans, EncodedSpans] {
    const parts: [EncodedSpans, EncodedSpans] = [new EncodedSpans(), new EncodedSpans()];
    let room = this.count >>> 1;
    for (const { resource, scope, spans, count } of this.#groups) {
      const bytes = written(spans);
      const first = Math.min(count, room);
      room -= first;
      const last = messages(bytes, SPANS)[first - 1];
      const middle = last === undefined ? 0 : last.byteOffset + last.length - bytes.byteOffset;
      const before = { scope, bytes: bytes.subarray(0, middle), count: first };
      const after = { scope, bytes: bytes.subarray(middle), count: count - first };
      if (before.count > 0) parts[0].addPart(resource, scope, before);
      if (after.count > 0) parts[1].addPart(resource, scope, after);
    }
    return parts;
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
      group = { resource, scope, spans: new PbfWriter(takeBuffer(0)), count: 0 };
      this.#groups.push(group);
    }
    this.#current = group;
    return group;
  }
}

/** A ResourceSpans: 1 resource, 2 scope_spans, 3 schema_url */
function writeResourceSpans(groups: readonly Group[], writer: PbfWriter): void {
  const [{ resource }] = groups as [Group];
  writer.writeMessage(1, writeResource, resource);
  for (const group of groups) writer.writeMessage(2, writeScopeSpans, group);
  if (resource.schemaUrl) writeText(writer, 3, resource.schemaUrl);
}

/** A ScopeSpans: 1 scope, 2 spans, 3 schema_url */
function writeScopeSpans({ scope, spans }: Group, writer: PbfWriter): void {
  writer.writeMessage(1, writeScope, scope);
  append(writer, written(spans));
  if (scope.schemaUrl) writeText(writer, 3, scope.schemaUrl);
}

/** The written bytes. They share memory with the writer. */
const written = ({ buf, pos }: PbfWriter): Uint8Array => buf.subarray(0, pos);

/** Appends encoded fields. */
function append(writer: PbfWriter, bytes: Uint8Array): void {
  writer.realloc(bytes.length);
  writer.buf.set(bytes, writer.pos);
  writer.pos += bytes.length;
}

/**
 * Buffers of accepted batches, for reuse. V8 has moved the buffers of a batch to the old generation before
 * they are free. Without reuse, memory would grow by them until the next full garbage collection.
 */
const spares: Uint8Array[] = [];
/** One for the request, and for the spans of an app and of Milvus. */
const MAX_SPARES = 4;
const FIRST_CAPACITY_BYTES = 4_096;

/** An unused buffer of at least `bytes`. */
function takeBuffer(bytes: number): Uint8Array {
  const at = spares.findIndex(({ length }) => length >= bytes);
  const [spare] = at === -1 ? [] : spares.splice(at, 1);
  return spare ?? new Uint8Array(Math.max(bytes, FIRST_CAPACITY_BYTES));
}

function giveBack(buffer: Uint8Array): void {
  // The buffer of an unusually large batch is not kept.
  if (buffer.length > 0 && buffer.length <= FULL_BATCH_BYTES && spares.length < MAX_SPARES)
    spares.push(buffer);
}
