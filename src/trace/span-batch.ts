/** What the queue keeps spans in, until a collector has them. */
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

/**
 * A batch is full with so many bytes, however few its spans are. Collectors take 4 MiB over gRPC unless they are told otherwise,
 * web servers before them 1 MiB over HTTP (nginx); one span more may be large itself.
 */
export const FULL_BATCH_BYTES = 512 * 1_024;

/** @typeParam Self what it is cut into */
export interface SpanBatch<Self = unknown> {
  /** Spans in it. */
  readonly count: number;
  /** About as many as its request will have; final once it is closed. */
  readonly bytes: number;
  /** Of its first span; its attributes may still be on their way when a batch is to be sent. */
  readonly resource: Partial<Resource> | undefined;
  add(span: ReadableSpan): void;
  /** Nothing is added after it. */
  close(): void;
  /** Two batches that have its spans; for one of at least two. */
  halves(): [Self, Self];
  /** Nobody will ask for its spans again. */
  discard(): void;
}

/** Of a span without its texts: names, ids and times are longer than what they say. */
const USUAL_JSON_BYTES = 1_024;

/** For exporters that take spans as they are. */
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

  halves(): [SpanList, SpanList] {
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
