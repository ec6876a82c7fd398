/** Spans of a queue since its start, as the conventions for metrics of an SDK count them. */

import type { SpanBatch } from './span-batch.ts';

/** `error.type` in the conventions: of a full queue, of rejected spans, and without a known cause. */
export const QUEUE_FULL = 'queue_full';
export const REJECTED = 'rejected';
const OTHER = '_OTHER';

export class QueueCounts {
  /** Passed to the exporter; once, also when a batch is retried. */
  passed = 0;
  accepted = 0;
  lost = 0;
  /** Not passed to the exporter, by `error.type`. */
  readonly dropped = new Map<string, number>();
  /** Passed and lost, by `error.type`. */
  readonly failed = new Map<string, number>();
  readonly #passed = new WeakSet<SpanBatch>();

  pass(batch: SpanBatch): void {
    if (this.#passed.has(batch)) return;
    this.#passed.add(batch);
    this.passed += batch.count;
  }

  /** The parts of a batch that was passed. */
  split(parts: readonly SpanBatch[]): void {
    for (const part of parts) this.#passed.add(part);
  }

  drop(count: number, errorType = OTHER): void {
    this.#lose(this.dropped, errorType, count);
  }

  fail(count: number, errorType = OTHER): void {
    this.#lose(this.failed, errorType, count);
  }

  #lose(losses: Map<string, number>, errorType: string, count: number): void {
    this.lost += count;
    losses.set(errorType, (losses.get(errorType) ?? 0) + count);
  }
}
