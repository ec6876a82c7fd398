/**
 * What becomes of a batch that failed although the collector was reachable: a further attempt, a split, or
 * the end. One bad batch must not stop the others. docs/decisions/span-queue.md has the rules.
 */
import type { Later } from './outcome.ts';
import type { SpanBatch } from './span-batch.ts';

/**
 * Failures of a batch while others are accepted, or with a status that may mean "never"; about two minutes.
 */
const MAX_FAILURES = 8;

interface History {
  /** Those that count towards MAX_FAILURES. */
  failures: number;
  /** Number of accepted batches at its last failure. */
  acceptedBefore: number;
  /** Whether it is a part of a failed batch that was split. */
  isPart: boolean;
}

export class FailedBatches {
  /** Number of accepted batches. */
  accepted = 0;
  readonly #history = new WeakMap<SpanBatch, History>();
  /** Batches that wait for their own next attempt. */
  readonly #paused = new Map<SpanBatch, NodeJS.Timeout>();

  /** A failed batch is sent again only after another one was accepted. */
  isDue = (batch: SpanBatch): boolean => !this.#history.has(batch) || this.#othersWereAccepted(batch);

  /** Whether its parts may succeed: a few bad spans must not take the others with them. */
  isWorthSplitting(batch: SpanBatch, { isUnreachable, mayBeTooLarge }: Later, isFlushing: boolean): boolean {
    if (isUnreachable || batch.count < 2) return false;
    const history = this.#history.get(batch);
    if (history?.isPart) return this.#othersWereAccepted(batch);
    // A batch is split once without evidence that this helps; its parts only when others were accepted.
    if (mayBeTooLarge) return history !== undefined || isFlushing;
    return history !== undefined && history.failures >= 2 && this.#othersWereAccepted(batch);
  }

  /** The parts inherit the failures of their batch. */
  splitInto(parts: readonly SpanBatch[], batch: SpanBatch): void {
    const failures = this.#history.get(batch)?.failures ?? 0;
    for (const part of parts)
      this.#history.set(part, { failures, acceptedBefore: this.accepted, isPart: true });
  }

  /** Records a failure. Gives how many count so far, or `undefined` when the batch is to be given up. */
  failed(
    batch: SpanBatch,
    { mayBeTooLarge }: Later,
  ): { failures: number; othersWereAccepted: boolean } | undefined {
    const history = this.#history.get(batch) ?? { failures: 0, acceptedBefore: this.accepted, isPart: false };
    const othersWereAccepted = this.#othersWereAccepted(batch);
    const failures = history.failures + (othersWereAccepted || mayBeTooLarge ? 1 : 0);
    const isTooLargeItself = mayBeTooLarge && history.isPart && othersWereAccepted;
    if (failures >= MAX_FAILURES || isTooLargeItself) return undefined;
    this.#history.set(batch, { ...history, failures, acceptedBefore: this.accepted });
    return { failures, othersWereAccepted };
  }

  /** Only this batch waits. */
  pause(batch: SpanBatch, ms: number, resume: () => void): void {
    const timer = setTimeout(() => {
      this.#paused.delete(batch);
      resume();
    }, ms).unref();
    this.#paused.set(batch, timer);
  }

  /** Ends all pauses, and gives their batches. */
  takePaused(): SpanBatch[] {
    const batches = [...this.#paused.keys()];
    for (const timer of this.#paused.values()) clearTimeout(timer);
    this.#paused.clear();
    return batches;
  }

  #othersWereAccepted(batch: SpanBatch): boolean {
    const history = this.#history.get(batch);
    return history !== undefined && this.accepted > history.acceptedBefore;
  }
}
