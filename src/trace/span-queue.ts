/**
 * The span processor: keeps ended spans until a collector has accepted them, sends them in batches, and retries
 * failed batches. OpenTelemetry's batch processor drops a failed batch and does not report what is pending;
 * docs/decisions/span-queue.md has the reasons.
 */
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Rejection } from '../otlp/partial-success.ts';
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';

/** The outcome of one batch. */
export type Outcome =
  /** Except for the spans that a partial success rejects for good. */
  | { kind: 'accepted'; rejected?: Rejection; warning?: string }
  /** Not now; the spans stay in the queue. */
  | ({ kind: 'later'; reason: string } & Later & Cause)
  /** The batch is too large; only for a batch of several spans. */
  | { kind: 'too large' }
  /** For good: the collector rejects them. */
  | ({ kind: 'refused'; reason: string } & Cause);

export interface Cause {
  /** For metrics: few different ones, such as the name of a status. */
  errorType?: string;
}

export interface Later {
  /** No connection could be made, so the batch is not the cause. */
  isUnreachable?: boolean;
  /** Time before which the collector wants no further attempt. */
  afterMs?: number;
  /** The same status may mean "too many at once", or "never". */
  mayBeTooLarge?: boolean;
}

/** Sends one batch; settles with its outcome, never rejects. */
export type Send<Batch extends SpanBatch> = (batch: Batch) => Promise<Outcome>;

export interface QueueLimits {
  /** Limit of spans that are kept, pending or in flight, with SPAN_BYTES for each. */
  maxQueueSize: number;
  maxExportBatchSize: number;
  /** Longest a span waits before its batch is sent, in ms. */
  scheduleDelayMs: number;
}

/** Limit for a span on average. With the default queue, that is 64 MiB. */
export const SPAN_BYTES = 8 * 1_024;

/**
 * Spans in the first batch. Sending shares functions of Node with the app's gRPC. In an app under load, V8 compiles them for
 * the app's calls before the 512th span, and would compile them again for the first batch. An early batch avoids that.
 */
const FIRST_BATCH_SIZE = 64;

/** Batches that a flush sends at a time. OpenTelemetry's exporters accept 30 and fail for the next. */
const SIDE_BY_SIDE = 16;

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** Processes that lost their collector at the same time must not all retry at the same time. */
const JITTER = 0.2;

/** Failures of a batch while others are accepted, or with a status that may mean "never"; about two minutes. */
const MAX_FAILURES = 8;

/** State of a batch that failed although the collector was reachable. */
interface Tries {
  /** Those that count towards MAX_FAILURES. */
  failures: number;
  /** Number of accepted batches at its last failure. */
  acceptedBefore: number;
  /** Whether it is a part of a failed batch that was split. */
  isPart: boolean;
}

export interface QueueEvents {
  /** A batch failed too often. */
  onGivenUp?(count: number, reason: string): void;
}

/** Spans since the start, as the conventions for metrics of an SDK count them. */
export interface QueueCounts {
  /** Passed to the exporter; once, also when a batch is retried. */
  passed: number;
  accepted: number;
  /** Not passed to the exporter, by `error.type`. */
  dropped: Map<string, number>;
  /** Passed and lost, by `error.type`. */
  failed: Map<string, number>;
}

/** `error.type` in the conventions: of a full queue, of rejected spans, and without a known cause. */
export const QUEUE_FULL = 'queue_full';
export const REJECTED = 'rejected';
const OTHER = '_OTHER';

export class SpanQueue<Batch extends SpanBatch<Batch>> implements SpanProcessor {
  /** Dropped spans: beyond the queue's limit, or rejected by the collector. */
  lost = 0;
  /** Why spans were dropped or are still pending; undefined while nothing has failed. */
  lastError: string | undefined;
  /** Spans that have ended and whose arrival is not confirmed. */
  unsent = 0;
  readonly counts: QueueCounts = { passed: 0, accepted: 0, dropped: new Map(), failed: new Map() };
  /** Batches that count as passed. */
  readonly #passed = new WeakSet<Batch>();
  readonly #newBatch: () => Batch;
  readonly #send: Send<Batch>;
  readonly #limits: QueueLimits;
  /** Full batches, and some that failed, the oldest first. */
  #waiting: Batch[] = [];
  /** Bytes of all batches except the open one. */
  #bytes = 0;
  /** The newest batch, to which spans are added. */
  #open: Batch | undefined;
  /** Batch → promise of its outcome. */
  readonly #inFlight = new Map<Batch, Promise<void>>();
  /** Failed batches, each until its retry time. */
  readonly #resting = new Map<Batch, NodeJS.Timeout>();
  readonly #tries = new WeakMap<Batch, Tries>();
  readonly #events: QueueEvents;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | undefined;
  /** Delay of the next attempt, before jitter; 0 while batches are accepted. */
  #retryDelayMs = 0;
  /** With jitter, and at least the time that the collector gives. */
  #pauseMs = 0;
  /** Whether the collector was unreachable at the last attempt. */
  #isUnreachable = false;
  #isFlushing = false;
  /** Batches. */
  #accepted = 0;
  /** Spans that make a batch full. */
  #batchSize: number;
  #closed = false;

  /** @param random returns a number from 0 to 1, for jitter */
  constructor(
    newBatch: () => Batch,
    send: Send<Batch>,
    limits: QueueLimits,
    events: QueueEvents = {},
    random: () => number = Math.random,
  ) {
    this.#newBatch = newBatch;
    this.#send = send;
    this.#events = events;
    this.#random = random;
    // A batch that the queue can never hold would not be sent before the delay, while spans are dropped.
    this.#limits = {
      ...limits,
      maxExportBatchSize: Math.min(limits.maxExportBatchSize, limits.maxQueueSize),
    };
    this.#batchSize = Math.min(FIRST_BATCH_SIZE, this.#limits.maxExportBatchSize);
  }

  /** Whether a batch was ever accepted. */
  get hasDelivered(): boolean {
    return this.#accepted > 0;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & 1) === 0 || !this.#hasRoom(1)) return;
    try {
      this.#openBatch().add(span);
    } catch (error) {
      // The app's call of span.end() must not fail because of the span's content.
      this.#lose(this.counts.dropped, OTHER, 1);
      this.lastError ??= `a span could not be written: ${(error as Error)?.message ?? error}`;
      return;
    }
    this.#added(1);
  }

  /** Accepts `count` spans at once: `add` puts them into the batch that it is given. */
  addMany(count: number, add: (batch: Batch) => void): void {
    if (!this.#hasRoom(count)) return;
    add(this.#openBatch());
    this.#added(count);
  }

  /** Releases pending batches that had no attempt; the caller owns them now. The queue continues. */
  release(): Batch[] {
    this.#stopTimer();
    this.#seal();
    const batches = this.#takeWaiting();
    for (const batch of batches) this.#leaves(batch);
    return batches;
  }

  #hasRoom(count: number): boolean {
    if (this.#closed) return false;
    const { maxQueueSize } = this.#limits;
    const maxBytes = maxQueueSize * SPAN_BYTES;
    const isFull = this.unsent + count > maxQueueSize;
    if (!isFull && this.#bytes <= maxBytes) return true;
    this.#lose(this.counts.dropped, QUEUE_FULL, count);
    const size = isFull ? '' : `${Math.ceil(maxBytes / 2 ** 20)} MiB, `;
    this.lastError ??= `the queue was full (${size}OTEL_BSP_MAX_QUEUE_SIZE=${maxQueueSize})`;
    return false;
  }

  #lose(losses: Map<string, number>, errorType: string, count: number): void {
    this.lost += count;
    losses.set(errorType, (losses.get(errorType) ?? 0) + count);
  }

  #openBatch(): Batch {
    this.#open ??= this.#newBatch();
    return this.#open;
  }

  #added(count: number): void {
    this.unsent += count;
    const { count: inBatch, bytes } = this.#openBatch();
    if (inBatch >= this.#batchSize || bytes >= FULL_BATCH_BYTES) this.#seal();
    this.#schedule();
  }

  /**
   * One attempt for all pending batches, in parallel. Settles when their outcomes, and those of the batches in flight, are
   * known.
   */
  async forceFlush(): Promise<void> {
    this.#stopTimer();
    this.#seal();
    this.#isFlushing = true;
    this.#isUnreachable = false;
    const lanes: Promise<void>[] = [];
    for (const [index, batch] of this.#takeWaiting().entries()) {
      const lane = index % SIDE_BY_SIDE;
      lanes[lane] = this.#sendOff(batch, lanes[lane]);
    }
    await Promise.all(this.#inFlight.values());
    this.#isFlushing = false;
    if (this.unsent > 0 && !this.#closed) this.#schedule();
  }

  /** All but those in flight. */
  #takeWaiting(): Batch[] {
    const batches = [...this.#waiting, ...this.#resting.keys()];
    for (const timer of this.#resting.values()) clearTimeout(timer);
    this.#resting.clear();
    this.#waiting = [];
    return batches;
  }

  async shutdown(): Promise<void> {
    await this.forceFlush();
    this.#closed = true;
    this.#stopTimer();
  }

  /** All unconfirmed batches, for a caller that sends them in another way. The queue is closed. */
  takeUnsent(): Batch[] {
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
    if (this.#open === undefined) return;
    this.#open.close();
    this.#bytes += this.#open.bytes;
    this.#waiting.push(this.#open);
    this.#open = undefined;
    this.#batchSize = this.#limits.maxExportBatchSize;
  }

  #leaves({ count, bytes }: Batch): void {
    this.unsent -= count;
    this.#bytes -= bytes;
  }

  #schedule(): void {
    // A batch that failed in this flush has had its attempt.
    if (this.#inFlight.size > 0 || this.#isFlushing) return;
    // While the collector is unreachable, a full batch waits for the next attempt like any other.
    if (this.#waiting.length > 0 && this.#retryDelayMs === 0) {
      this.#stopTimer();
      this.#sendBatch();
      return;
    }
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#sendBatch();
      },
      this.#retryDelayMs === 0 ? this.#limits.scheduleDelayMs : this.#pauseMs,
    );
    // A pending span must not keep the app alive.
    this.#timer.unref();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #sendBatch(): void {
    // A failed batch is retried after another one was accepted, so it does not stop the others.
    const isDue = (batch: Batch) => !this.#tries.has(batch) || this.#othersWereAccepted(batch);
    if (!this.#waiting.some(isDue)) this.#seal();
    const [batch] = this.#waiting.splice(Math.max(0, this.#waiting.findIndex(isDue)), 1);
    if (batch !== undefined) this.#sendOff(batch);
  }

  /** @param before the promise that must settle first */
  #sendOff(batch: Batch, before?: Promise<void>): Promise<void> {
    if (!this.#passed.has(batch)) {
      this.#passed.add(batch);
      this.counts.passed += batch.count;
    }
    const followed = before === undefined ? this.#follow(batch) : before.then(() => this.#takeTurn(batch));
    this.#inFlight.set(batch, followed);
    return followed;
  }

  async #takeTurn(batch: Batch): Promise<void> {
    // Taken meanwhile by takeUnsent.
    if (!this.#inFlight.has(batch)) return;
    if (!this.#isUnreachable) {
      await this.#follow(batch);
      return;
    }
    // The batch before it found the collector unreachable: that was the attempt.
    this.#inFlight.delete(batch);
    this.#waiting.push(batch);
    if (!this.#closed) this.#schedule();
  }

  async #follow(batch: Batch): Promise<void> {
    // Parallel batches all double the same delay: together they are one attempt.
    const delayMs = this.#retryDelayMs;
    const outcome = await this.#send(batch);
    // takeUnsent has released it meanwhile.
    if (!this.#inFlight.delete(batch)) return;
    this.#isUnreachable = outcome.kind === 'later' && outcome.isUnreachable === true;
    if (
      outcome.kind === 'too large' ||
      (outcome.kind === 'later' && this.#isWorthSplitting(batch, outcome))
    ) {
      // Within the same promise: for its awaiters, the attempt is not finished.
      await this.#sendInTwo(batch, outcome.kind === 'later');
      return;
    }
    if (outcome.kind === 'later') {
      this.lastError = outcome.reason;
      this.#retryDelayMs = Math.min(delayMs * 2 || FIRST_RETRY_MS, LAST_RETRY_MS);
      this.#pauseMs = Math.max(this.#withJitter(this.#retryDelayMs), outcome.afterMs ?? 0);
      this.#keep(batch, outcome);
    } else {
      this.#leaves(batch);
      batch.discard();
      if (outcome.kind === 'refused') {
        this.lastError = outcome.reason;
        this.#lose(this.counts.failed, outcome.errorType ?? OTHER, batch.count);
      } else {
        this.#accepted++;
        this.counts.accepted += batch.count - (outcome.rejected?.count ?? 0);
        this.#retryDelayMs = 0;
        if (outcome.rejected !== undefined) {
          this.#lose(this.counts.failed, REJECTED, outcome.rejected.count);
          this.lastError = outcome.rejected.reason;
        }
        if (this.lost === 0) this.lastError = undefined;
      }
    }
    if (this.unsent > 0 && !this.#closed) this.#schedule();
  }

  #withJitter(ms: number): number {
    return Math.round(ms * (1 - JITTER + 2 * JITTER * this.#random()));
  }

  /** Whether other batches were accepted since its previous failure. */
  #othersWereAccepted(batch: Batch): boolean {
    const tries = this.#tries.get(batch);
    return tries !== undefined && this.#accepted > tries.acceptedBefore;
  }

  /** Whether its parts may succeed: a few bad spans must not take the others with them. */
  #isWorthSplitting(batch: Batch, { isUnreachable, mayBeTooLarge }: Later): boolean {
    if (isUnreachable || batch.count < 2) return false;
    const tries = this.#tries.get(batch);
    if (tries?.isPart) return this.#othersWereAccepted(batch);
    // A batch is split once without evidence that this helps; its parts only when others were accepted.
    if (mayBeTooLarge) return tries !== undefined || this.#isFlushing;
    return tries !== undefined && tries.failures >= 2 && this.#othersWereAccepted(batch);
  }

  /** @param isGuess whether the collector did not say that it is too large */
  async #sendInTwo(batch: Batch, isGuess: boolean): Promise<void> {
    const [first, second] = batch.halves();
    this.#passed.add(first).add(second);
    const failures = this.#tries.get(batch)?.failures ?? 0;
    if (isGuess)
      for (const half of [first, second])
        this.#tries.set(half, { failures, acceptedBefore: this.#accepted, isPart: true });
    await this.#sendOff(second, this.#sendOff(first));
  }

  /** Keeps a batch that failed for another attempt, unless it failed too often. */
  #keep(batch: Batch, outcome: Later & Cause & { reason: string }): void {
    const { reason, isUnreachable, mayBeTooLarge, errorType = OTHER } = outcome;
    if (isUnreachable) {
      this.#waiting.unshift(batch);
      return;
    }
    const tries = this.#tries.get(batch) ?? { failures: 0, acceptedBefore: this.#accepted, isPart: false };
    const othersWereAccepted = this.#othersWereAccepted(batch);
    const failures = tries.failures + (othersWereAccepted || mayBeTooLarge ? 1 : 0);
    const isTooLargeItself = mayBeTooLarge && tries.isPart && othersWereAccepted;
    if (failures >= MAX_FAILURES || isTooLargeItself) {
      this.#leaves(batch);
      batch.discard();
      this.#lose(this.counts.failed, errorType, batch.count);
      this.#events.onGivenUp?.(batch.count, reason);
      return;
    }
    this.#tries.set(batch, { ...tries, failures, acceptedBefore: this.#accepted });
    if (othersWereAccepted || this.#isFlushing) this.#rest(batch, failures);
    else this.#waiting.push(batch);
  }

  /** Only this batch waits, longer each time. */
  #rest(batch: Batch, failures: number): void {
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** failures, LAST_RETRY_MS);
    const timer = setTimeout(() => {
      this.#resting.delete(batch);
      this.#waiting.push(batch);
      if (!this.#closed) this.#schedule();
    }, this.#withJitter(delayMs)).unref();
    this.#resting.set(batch, timer);
  }
}
