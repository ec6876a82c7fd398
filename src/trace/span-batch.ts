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

/** Characters of attributes that are text, those of events included: a stack trace is one. */
function textIn({ attributes, events }: ReadableSpan): number {
  let length = lengthOfTexts(attributes);
  for (const event of events) length += lengthOfTexts(event.attributes);
  return length;
}

function lengthOfTexts(attributes: ReadableSpan['attributes'] = {}): number {
  let length = 0;
  for (const key in attributes) {
    const value = attributes[key];
    if (typeof value === 'string') length += value.length;
  }
  return length;
}
