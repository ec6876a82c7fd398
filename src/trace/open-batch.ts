/** The newest batch of a queue, to which spans are added until it is full. */
import { FULL_BATCH_BYTES, SpanBatch } from './span-batch.ts';

/**
 * Spans in the first batch. Sending shares functions of Node with the app's gRPC. In an app under load, V8
 * compiles them for the app's calls before the 512th span, and would compile them again for the first batch.
 * An early batch avoids that.
 */
const FIRST_BATCH_SIZE = 64;

export class OpenBatch {
  readonly #maxSize: number;
  #batch: SpanBatch | undefined;
  /** Spans that make it full. */
  #size: number;

  /** @param maxSize spans in one batch */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
    this.#size = Math.min(FIRST_BATCH_SIZE, maxSize);
  }

  get batch(): SpanBatch {
    this.#batch ??= new SpanBatch();
    return this.#batch;
  }

  get isFull(): boolean {
    return this.batch.count >= this.#size || this.batch.bytes >= FULL_BATCH_BYTES;
  }

  /** Closes it; undefined when nothing was added. */
  close(): SpanBatch | undefined {
    const batch = this.#batch;
    if (batch === undefined) return undefined;
    this.#batch = undefined;
    this.#size = this.#maxSize;
    return batch;
  }
}
