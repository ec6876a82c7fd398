/** Spans that are sent together, and kept until a collector has accepted them. */
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

/**
 * Bytes that make a batch full, however few its spans are. By default, collectors accept 4 MiB over gRPC, and
 * nginx in front of one accepts 1 MiB over HTTP. The last span of a batch may be large itself.
 */
export const FULL_BATCH_BYTES = 512 * 1_024;

/** Limit for a kept span on average. With the default queue, that is 64 MiB. */
export const SPAN_BYTES = 8 * 1_024;

/** Estimated bytes of a span without its texts: field names, ids and times. */
const USUAL_BYTES = 512;

export class SpanBatch {
  readonly spans: ReadableSpan[] = [];
  /** An estimate: spans are serialized when they are sent. */
  bytes = 0;

  constructor(spans: readonly ReadableSpan[] = []) {
    for (const span of spans) this.add(span);
  }

  get count(): number {
    return this.spans.length;
  }

  /** Of its first span. Asynchronous attributes of a resource may be pending when a batch is to be sent. */
  get resource(): Resource | undefined {
    return this.spans[0]?.resource;
  }

  add(span: ReadableSpan): void {
    this.bytes += USUAL_BYTES + textIn(span);
    this.spans.push(span);
  }

  /** For a batch of at least two spans. */
  split(): [SpanBatch, SpanBatch] {
    const middle = this.count >>> 1;
    return [new SpanBatch(this.spans.slice(0, middle)), new SpanBatch(this.spans.slice(middle))];
  }
}

/** Characters and bytes of a span's texts and values: a stack trace is an attribute of an event. */
function textIn(span: ReadableSpan): number {
  try {
    const { name, attributes, events, links, status } = span;
    let length = lengthOf(name) + lengthOf(status.message) + lengthOf(attributes);
    for (const event of events) length += lengthOf(event.name) + lengthOf(event.attributes);
    for (const link of links) length += lengthOf(link.attributes);
    return length;
  } catch {
    // A value of the app throws: its span is reported when it is serialized.
    return 0;
  }
}

/** Estimated bytes of a number, a boolean or an empty value in an array. */
const ELEMENT_BYTES = 8;

/** A value may contain itself: the app can change it after the span has ended. */
const MAX_DEPTH = 10;
const MAX_LENGTH = 64 * 2 ** 20;

function lengthOf(value: unknown, depth = 0): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return 0;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  let length = 0;
  if (Array.isArray(value)) {
    length = value.length * ELEMENT_BYTES;
    for (const element of value) {
      if (length > MAX_LENGTH) break;
      length += lengthOf(element, depth + 1);
    }
  } else {
    const fields = value as Record<string, unknown>;
    for (const key in fields) {
      if (length > MAX_LENGTH) break;
      length += lengthOf(fields[key], depth + 1);
    }
  }
  return length;
}
