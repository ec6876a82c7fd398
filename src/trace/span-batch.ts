/** Batches in which the queue keeps spans until a collector has accepted them. */
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

/**
 * Bytes that make a batch full, however few its spans are. By default, collectors accept 4 MiB over gRPC, and
 * nginx in front of one accepts 1 MiB over HTTP. The last span of a batch may be large itself.
 */
export const FULL_BATCH_BYTES = 512 * 1_024;

/** Limit for a kept span on average. With the default queue, that is 64 MiB. */
export const SPAN_BYTES = 8 * 1_024;

/** @typeParam Self type of the parts of a split */
export interface SpanBatch<Self = unknown> {
  /** Spans in it. */
  readonly count: number;
  /** About as many as its request will have; final once it is closed. */
  readonly bytes: number;
  /** Resource of its first span; its asynchronous attributes may be pending when a batch is to be sent. */
  readonly resource: Partial<Resource> | undefined;
  add(span: ReadableSpan): void;
  /** Nothing is added after this call. */
  close(): void;
  /** Two batches that have its spans; for one of at least two. */
  split(): [Self, Self];
  /** Its spans are not needed any more. */
  discard(): void;
}

/** Estimated bytes of a span without its texts: field names, ids and times. */
const USUAL_JSON_BYTES = 1_024;

/** For exporters that need span objects. */
export class SpanList implements SpanBatch<SpanList> {
  readonly spans: ReadableSpan[] = [];
  bytes = 0;

  constructor(spans: readonly ReadableSpan[] = []) {
    for (const span of spans) this.add(span);
  }

  get count(): number {
    return this.spans.length;
  }

  get resource(): Resource | undefined {
    return this.spans[0]?.resource;
  }

  add(span: ReadableSpan): void {
    this.spans.push(span);
    this.bytes += USUAL_JSON_BYTES + textIn(span);
  }

  close(): void {}

  discard(): void {}

  split(): [SpanList, SpanList] {
    const middle = this.count >>> 1;
    return [new SpanList(this.spans.slice(0, middle)), new SpanList(this.spans.slice(middle))];
  }
}

/** Characters of its attributes that are text. */
function textIn({ attributes }: ReadableSpan): number {
  let length = 0;
  for (const value of Object.values(attributes)) if (typeof value === 'string') length += value.length;
  return length;
}
