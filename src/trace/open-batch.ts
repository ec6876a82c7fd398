/** The newest batch of a queue, to which spans are added until it is full. */
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';

/**
 * Spans in the first batch. Sending shares functions of Node with the app's gRPC. In an app under load, V8
 * compiles them for the app's calls before the 512th span, and would compile them again for the first batch.
 * An early batch avoids that.
 */
const FIRST_BATCH_SIZE = 64;

export class OpenBatch<Batch extends SpanBatch> {
  readonly #newBatch: () => Batch;
  readonly #maxSize: number;
  #batch: Batch | undefined;
  /** Spans that make it full. */
  #size: number;

  /** @param maxSize spans in one batch */
  constructor(newBatch: () => Batch, maxSize: number) {
    this.#newBatch = newBatch;
    this.#maxSize = maxSize;
    this.#size = Math.min(FIRST_BATCH_SIZE, maxSize);
  }

  get batch(): Batch {
    this.#batch ??= this.#newBatch();
    return this.#batch;
  }

  get isFull(): boolean {
    return this.batch.count >= this.#size || this.batch.bytes >= FULL_BATCH_BYTES;
  }

  /** Closes it; undefined when nothing was added. */
  close(): Batch | undefined {
    const batch = this.#batch;
    if (batch === undefined) return undefined;
    batch.close();
    this.#batch = undefined;
    this.#size = this.#maxSize;
    return batch;
  }
}
