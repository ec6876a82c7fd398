/**
 * The span processor: keeps ended spans until a collector has taken them, sends them in batches, and tries again
 * what could not be sent. The specification's batch processor forgets a batch that failed, and cannot say what is
 * left; docs/decisions/span-queue.md has the reasons.
 */
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';

/** What became of one batch. */
export type Outcome =
  | { kind: 'accepted' }
  /** Not now: the collector is away or busy. The spans stay in the queue. */
  | { kind: 'later'; reason: string }
  /** Never: the collector does not want them. */
  | { kind: 'refused'; reason: string };

/** Sends one batch; settles when its fate is known, never rejects. */
export type Send = (spans: ReadableSpan[]) => Promise<Outcome>;

export interface QueueLimits {
  /** Spans that may be kept, waiting or on their way. */
  maxQueueSize: number;
  maxExportBatchSize: number;
  /** Longest a span waits before its batch is sent, in ms. */
  scheduleDelayMs: number;
}

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;

export class SpanQueue implements SpanProcessor {
  /** Spans given up: beyond the queue's limit, or refused by the collector. */
  lost = 0;
  /** Why spans were given up or are still here; undefined while nothing went wrong. */
  trouble: string | undefined;
  readonly #send: Send;
  readonly #limits: QueueLimits;
  #waiting: ReadableSpan[] = [];
  /** Batch → when its fate is known. */
  readonly #onTheWay = new Map<ReadableSpan[], Promise<void>>();
  #onTheWayCount = 0;
  #timer: NodeJS.Timeout | undefined;
  #retryDelayMs = 0;
  #closed = false;

  constructor(send: Send, limits: QueueLimits) {
    this.#send = send;
    // A batch that the queue can never hold would not be sent before the delay, while spans are dropped.
    this.#limits = {
      ...limits,
      maxExportBatchSize: Math.min(limits.maxExportBatchSize, limits.maxQueueSize),
    };
  }

  /** Spans that have ended and whose arrival is not confirmed. */
  get unsent(): number {
    return this.#waiting.length + this.#onTheWayCount;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#closed || (span.spanContext().traceFlags & 1) === 0) return;
    if (this.unsent >= this.#limits.maxQueueSize) {
      this.lost++;
      this.trouble ??= `the queue was full (OTEL_BSP_MAX_QUEUE_SIZE=${this.#limits.maxQueueSize})`;
      return;
    }
    this.#waiting.push(span);
    this.#schedule();
  }

  /**
   * One attempt for everything that waits, in parallel batches. Settles when their fates, and those of what was on the
   * way already, are known.
   */
  async forceFlush(): Promise<void> {
    this.#stopTimer();
    while (this.#waiting.length > 0) this.#sendBatch();
    await Promise.all(this.#onTheWay.values());
  }

  async shutdown(): Promise<void> {
    await this.forceFlush();
    this.#closed = true;
    this.#stopTimer();
  }

  /** Everything that is not known to have arrived, in batches, for who sends it another way. The queue is closed. */
  takeUnsent(): ReadableSpan[][] {
    this.#closed = true;
    this.#stopTimer();
    const batches = [...this.#onTheWay.keys()];
    this.#onTheWay.clear();
    this.#onTheWayCount = 0;
    while (this.#waiting.length > 0) batches.push(this.#waiting.splice(0, this.#limits.maxExportBatchSize));
    return batches;
  }

  #schedule(): void {
    const full = this.#waiting.length >= this.#limits.maxExportBatchSize;
    // While the collector is away, a full batch waits for the next attempt like any other.
    if (full && this.#onTheWayCount === 0 && this.#retryDelayMs === 0) {
      this.#stopTimer();
      this.#sendBatch();
      return;
    }
    if (this.#timer !== undefined || this.#onTheWayCount > 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sendBatch();
    }, this.#retryDelayMs || this.#limits.scheduleDelayMs);
    // A span that waits must not keep the app alive.
    this.#timer.unref();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #sendBatch(): void {
    const batch =
      this.#waiting.length <= this.#limits.maxExportBatchSize
        ? this.#waiting.splice(0)
        : this.#waiting.splice(0, this.#limits.maxExportBatchSize);
    if (batch.length === 0) return;
    this.#onTheWayCount += batch.length;
    this.#onTheWay.set(batch, this.#follow(batch));
  }

  async #follow(batch: ReadableSpan[]): Promise<void> {
    // Of batches side by side, each doubles the same delay: together they are one attempt.
    const delayMs = this.#retryDelayMs;
    const outcome = await this.#send(batch);
    // Taken meanwhile by takeUnsent: it is somebody else's now.
    if (!this.#onTheWay.delete(batch)) return;
    this.#onTheWayCount -= batch.length;
    if (outcome.kind === 'accepted') {
      this.#retryDelayMs = 0;
      if (this.lost === 0) this.trouble = undefined;
    } else {
      this.trouble = outcome.reason;
      if (outcome.kind === 'refused') {
        this.lost += batch.length;
      } else {
        this.#waiting = batch.concat(this.#waiting);
        this.#retryDelayMs = Math.min(delayMs * 2 || FIRST_RETRY_MS, LAST_RETRY_MS);
      }
    }
    if (this.#waiting.length > 0 && !this.#closed) this.#schedule();
  }
}
