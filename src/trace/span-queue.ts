/**
 * The span processor: keeps ended spans until a collector has accepted them, sends them in batches, and
 * retries failed batches. OpenTelemetry's batch processor drops a failed batch and does not report what is
 * pending; docs/decisions/span-queue.md has the reasons.
 */
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import { FailedBatches } from './failed-batches.ts';
import type { Later, Send } from './outcome.ts';
import { QUEUE_FULL, QueueCounts, REJECTED } from './queue-counts.ts';
import { RetryDelay } from './retry-delay.ts';
import { FULL_BATCH_BYTES, SPAN_BYTES, SpanBatch } from './span-batch.ts';

export interface QueueLimits {
  /** Limit of spans that are kept, pending or in flight, with SPAN_BYTES for each. */
  maxQueueSize: number;
  maxExportBatchSize: number;
  /** Longest a span waits before its batch is sent, in ms. */
  scheduleDelayMs: number;
}

/** Batches that a flush sends at a time. OpenTelemetry's exporters accept 30 and fail for the next. */
const SIDE_BY_SIDE = 16;

export class SpanQueue implements SpanProcessor {
  /** Why spans were dropped or are still pending; undefined while nothing has failed. */
  lastError: string | undefined;
  /** Spans that have ended and whose arrival is not confirmed. */
  unsent = 0;
  readonly counts = new QueueCounts();
  /** Spans are added to it until it is full. */
  #open: SpanBatch | undefined;
  readonly #maxBatchSize: number;
  readonly #send: Send;
  readonly #limits: QueueLimits;
  /** Full batches, and some that failed, the oldest first. */
  #waiting: SpanBatch[] = [];
  /** Bytes of all batches except the open one. */
  #bytes = 0;
  /** Batch → promise of its outcome. */
  readonly #inFlight = new Map<SpanBatch, Promise<void>>();
  readonly #failed = new FailedBatches();
  readonly #delay: RetryDelay;
  readonly #onGivenUp: (count: number, reason: string) => void;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the collector was unreachable at the last attempt. */
  #isUnreachable = false;
  #isFlushing = false;
  #closed = false;

  /**
   * @param onGivenUp called for a batch that failed too often
   * @param random returns a number from 0 to 1, for jitter
   */
  constructor(
    send: Send,
    limits: QueueLimits,
    onGivenUp: (count: number, reason: string) => void = () => {},
    random: () => number = Math.random,
  ) {
    this.#send = send;
    this.#onGivenUp = onGivenUp;
    this.#delay = new RetryDelay(random);
    this.#limits = limits;
    // A batch that the queue can never hold would not be sent before the delay, while spans are dropped.
    this.#maxBatchSize = Math.min(limits.maxExportBatchSize, limits.maxQueueSize);
  }

  /** Whether a batch was ever accepted. */
  get hasDelivered(): boolean {
    return this.#failed.accepted > 0;
  }

  /** Spans beyond the queue's limit, or rejected by the collector. */
  get lost(): number {
    return this.counts.lost;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & 1) === 0 || !this.#hasRoom()) return;
    this.#open ??= new SpanBatch();
    this.#open.add(span);
    this.unsent++;
    if (this.#open.count >= this.#maxBatchSize || this.#open.bytes >= FULL_BATCH_BYTES) this.#seal();
    this.#schedule();
  }

  /** Releases pending batches that had no attempt; the caller owns them now. The queue continues. */
  release(): SpanBatch[] {
    this.#stopTimer();
    this.#seal();
    const batches = this.#takeWaiting();
    for (const batch of batches) this.#uncount(batch);
    return batches;
  }

  #hasRoom(): boolean {
    if (this.#closed) return false;
    const { maxQueueSize } = this.#limits;
    const maxBytes = maxQueueSize * SPAN_BYTES;
    const isFull = this.unsent >= maxQueueSize;
    if (!isFull && this.#bytes <= maxBytes) return true;
    this.counts.drop(1, QUEUE_FULL);
    const size = isFull ? '' : `${Math.ceil(maxBytes / 2 ** 20)} MiB, `;
    this.lastError ??= `the queue was full (${size}OTEL_BSP_MAX_QUEUE_SIZE=${maxQueueSize})`;
    return false;
  }

  /**
   * One attempt for all pending batches, in parallel. Settles when their outcomes, and those of the batches
   * in flight, are known.
   */
  async forceFlush(): Promise<void> {
    this.#stopTimer();
    this.#seal();
    this.#isFlushing = true;
    this.#isUnreachable = false;
    const lanes: Promise<void>[] = [];
    for (const [index, batch] of this.#takeWaiting().entries())
      lanes[index % SIDE_BY_SIDE] = this.#sendOff(batch, lanes[index % SIDE_BY_SIDE]);
    await Promise.all(this.#inFlight.values());
    this.#isFlushing = false;
    this.#schedule();
  }

  /** All but those in flight. */
  #takeWaiting(): SpanBatch[] {
    const batches = [...this.#waiting, ...this.#failed.takePaused()];
    this.#waiting = [];
    return batches;
  }

  async shutdown(): Promise<void> {
    await this.forceFlush();
    this.#closed = true;
    this.#stopTimer();
  }

  /** All unconfirmed batches, for a caller that sends them in another way. The queue is closed. */
  takeUnsent(): SpanBatch[] {
    this.#closed = true;
    this.#stopTimer();
    this.#seal();
    const batches = [...this.#inFlight.keys(), ...this.#takeWaiting()];
    this.#inFlight.clear();
    this.unsent = 0;
    this.#bytes = 0;
    return batches;
  }

  #seal(): void {
    const batch = this.#open;
    if (batch === undefined || batch.count === 0) return;
    this.#open = undefined;
    this.#bytes += batch.bytes;
    this.#waiting.push(batch);
  }

  #uncount({ count, bytes }: SpanBatch): void {
    this.unsent -= count;
    this.#bytes -= bytes;
  }

  #schedule(): void {
    // A batch that failed in this flush has had its attempt.
    if (this.#closed || this.unsent === 0 || this.#inFlight.size > 0 || this.#isFlushing) return;
    // While the collector is unreachable, a full batch waits for the next attempt like any other.
    if (this.#waiting.length > 0 && this.#delay.currentMs === 0) {
      this.#stopTimer();
      this.#sendBatch();
      return;
    }
    if (this.#timer !== undefined) return;
    const waitMs = this.#delay.currentMs === 0 ? this.#limits.scheduleDelayMs : this.#delay.pauseMs;
    // Unref: a pending span must not keep the app alive.
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#sendBatch();
    }, waitMs).unref();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #sendBatch(): void {
    const { isDue } = this.#failed;
    if (!this.#waiting.some(isDue)) this.#seal();
    const [batch] = this.#waiting.splice(Math.max(0, this.#waiting.findIndex(isDue)), 1);
    if (batch !== undefined) this.#sendOff(batch);
  }

  /** @param before the promise that must settle first */
  #sendOff(batch: SpanBatch, before?: Promise<void>): Promise<void> {
    this.counts.pass(batch);
    const followed = before === undefined ? this.#follow(batch) : before.then(() => this.#takeTurn(batch));
    this.#inFlight.set(batch, followed);
    return followed;
  }

  async #takeTurn(batch: SpanBatch): Promise<void> {
    // Taken meanwhile by takeUnsent.
    if (!this.#inFlight.has(batch)) return;
    if (!this.#isUnreachable) return this.#follow(batch);
    // The batch before it found the collector unreachable: that was the attempt.
    this.#inFlight.delete(batch);
    this.#waiting.push(batch);
    this.#schedule();
  }

  async #follow(batch: SpanBatch): Promise<void> {
    const delayMs = this.#delay.currentMs;
    const outcome = await this.#send(batch);
    // takeUnsent has released it meanwhile.
    if (!this.#inFlight.delete(batch)) return;
    this.#isUnreachable = outcome.kind === 'later' && outcome.isUnreachable === true;
    if (
      outcome.kind === 'too large' ||
      (outcome.kind === 'later' && this.#failed.isWorthSplitting(batch, outcome, this.#isFlushing))
    ) {
      // Within the same promise: for its awaiters, the attempt is not finished.
      await this.#sendInTwo(batch, outcome.kind === 'later');
      return;
    }
    if (outcome.kind === 'later') {
      this.lastError = outcome.reason;
      this.#delay.failed(delayMs, outcome.afterMs);
      this.#keep(batch, outcome);
    } else if (outcome.kind === 'refused' || outcome.kind === 'unserializable') {
      this.#lose(batch, outcome);
    } else {
      this.#uncount(batch);
      this.#failed.accepted++;
      this.#delay.accepted();
      this.counts.accepted += batch.count - (outcome.rejected?.count ?? 0);
      if (outcome.rejected !== undefined) {
        this.counts.fail(outcome.rejected.count, REJECTED);
        this.lastError = outcome.rejected.reason;
      }
      if (this.lost === 0) this.lastError = undefined;
    }
    this.#schedule();
  }

  /** @param isGuess whether the collector did not say that it is too large */
  async #sendInTwo(batch: SpanBatch, isGuess: boolean): Promise<void> {
    const parts = batch.split();
    this.counts.split(parts);
    if (isGuess) this.#failed.splitInto(parts, batch);
    const [first, second] = parts;
    await this.#sendOff(second, this.#sendOff(first));
  }

  /** Keeps a batch that failed for another attempt, unless it failed too often. */
  #keep(batch: SpanBatch, outcome: Later): void {
    if (outcome.isUnreachable) {
      this.#waiting.unshift(batch);
      return;
    }
    const failed = this.#failed.failed(batch, outcome);
    if (failed === undefined) {
      this.#lose(batch, outcome);
      this.#onGivenUp(batch.count, outcome.reason);
    } else if (failed.othersWereAccepted || this.#isFlushing) {
      this.#failed.pause(batch, this.#delay.ofBatch(failed.failures), () => {
        this.#waiting.push(batch);
        this.#schedule();
      });
    } else this.#waiting.push(batch);
  }

  #lose(batch: SpanBatch, { reason, errorType }: { reason: string; errorType?: string }): void {
    this.lastError = reason;
    this.counts.fail(batch.count, errorType);
    this.#uncount(batch);
  }
}
