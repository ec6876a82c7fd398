/** The pause before the next attempt, as the OTLP specification has it: exponential backoff with jitter. */

import { LONGEST_TIMER_MS } from '../config/settings.ts';

const FIRST_MS = 1_000;
const LAST_MS = 30_000;
/** Processes that lost their collector at the same time must not all retry at the same time. */
const JITTER = 0.2;

export class RetryDelay {
  /** Before jitter; 0 while batches are accepted. */
  currentMs = 0;
  /** With jitter, and at least the time that the collector gives. */
  pauseMs = 0;
  readonly #random: () => number;

  /** @param random returns a number from 0 to 1 */
  constructor(random: () => number) {
    this.#random = random;
  }

  /**
   * @param beforeMs `currentMs` at the start of the attempt: parallel requests together are one attempt.
   * @param atLeastMs what the collector asks for.
   */
  failed(beforeMs: number, atLeastMs = 0): void {
    this.currentMs = Math.min(beforeMs * 2 || FIRST_MS, LAST_MS);
    // A longer timer would fire at once.
    this.pauseMs = Math.min(Math.max(this.#withJitter(this.currentMs), atLeastMs), LONGEST_TIMER_MS);
  }

  accepted(): void {
    this.currentMs = 0;
  }

  /** The pause of a single batch that has failed so often, while others were accepted. */
  ofBatch(failures: number): number {
    return this.#withJitter(Math.min(FIRST_MS * 2 ** failures, LAST_MS));
  }

  #withJitter(ms: number): number {
    return Math.round(ms * (1 - JITTER + 2 * JITTER * this.#random()));
  }
}
