/** What the queue keeps spans in, until a collector has them. */
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

export interface SpanBatch {
  /** Spans in it. */
  readonly count: number;
  /** Of its first span; its attributes may still be on their way when a batch is to be sent. */
  readonly resource: Partial<Resource> | undefined;
  add(span: ReadableSpan): void;
}

/** For exporters that take spans as they are. */
export class SpanList implements SpanBatch {
  readonly spans: ReadableSpan[] = [];

  get count(): number {
    return this.spans.length;
  }

  get resource(): Resource | undefined {
    return this.spans[0]?.resource;
  }

  add(span: ReadableSpan): void {
    this.spans.push(span);
  }
}
