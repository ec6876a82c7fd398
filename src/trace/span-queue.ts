/**
 * The span processor: keeps ended spans until a collector has taken them, sends them in batches, and tries again
 * what could not be sent. The specification's batch processor forgets a batch that failed, and cannot say what is
 * left; docs/decisions/span-queue.md has the reasons.
 */
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Rejection } from '../otlp/partial-success.ts';
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';

/** What became of one batch. */
export type Outcome =
  /** But for what of it was rejected, never to be taken. */
  | { kind: 'accepted'; rejected?: Rejection; warning?: string }
  /** Not now; the spans stay in the queue. */
  | ({ kind: 'later'; reason: string } & Later)
  /** Not that many at once: only for a batch of several spans. */
  | { kind: 'too large' }
  /** Never: the collector does not want them. */
  | { kind: 'refused'; reason: string };

export interface Later {
  /** No connection could be made, so the batch is not the cause. */
  isUnreachable?: boolean;
  /** The collector asks for no attempt before it has passed. */
  afterMs?: number;
  /** The same status may mean "too many at once", or "never". */
  mayBeTooLarge?: boolean;
}

/** Sends one batch; settles when its fate is known, never rejects. */
export type Send<Batch extends SpanBatch> = (batch: Batch) => Promise<Outcome>;

export interface QueueLimits {
  /** Spans that may be kept, waiting or on their way, and SPAN_BYTES for each. */
  maxQueueSize: number;
  maxExportBatchSize: number;
  /** Longest a span waits before its batch is sent, in ms. */
  scheduleDelayMs: number;
}

/** A span may have as many on average. With the default queue, that is 64 MiB. */
export const SPAN_BYTES = 8 * 1_024;

/**
 * The first batch is full with so many spans. An app under load has called the functions of Node that sending shares with its own
 * gRPC often enough by the 512th for V8 to have compiled them, for those calls alone, and V8 would have to do it all again.
 */
const FIRST_BATCH_SIZE = 64;

/** How many batches a flush sends at a time. OpenTelemetry's exporters take 30, and fail for the next. */
const SIDE_BY_SIDE = 16;

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
/** Processes that lost their collector together shall not all come back together. */
const JITTER = 0.2;

/** So often may a batch fail while others are accepted, or with a status that may mean "never"; about two minutes. */
const MAX_FAILURES = 8;

/** Of a batch that failed though there was a collector. */
interface Tries {
  /** Those that count towards MAX_FAILURES. */
  failures: number;
  /** Batches that had been accepted when it failed last. */
  acceptedBefore: number;
  /** Whether it is a part of one that was split because it failed. */
  isPart: boolean;
}

export interface QueueEvents {
  /** A batch failed too often. */
  onGivenUp?(count: number, reason: string): void;
}

export class SpanQueue<Batch extends SpanBatch<Batch>> implements SpanProcessor {
  /** Spans given up: beyond the queue's limit, or refused by the collector. */
  lost = 0;
  /** Why spans were given up or are still here; undefined while nothing went wrong. */
  lastError: string | undefined;
  /** Spans that have ended and whose arrival is not confirmed. */
  unsent = 0;
  readonly #newBatch: () => Batch;
  readonly #send: Send<Batch>;
  readonly #limits: QueueLimits;
  /** Full ones, and some that came back, the oldest first. */
  #waiting: Batch[] = [];
  /** Of all batches but the open one. */
  #bytes = 0;
  /** What spans are added to; the youngest. */
  #open: Batch | undefined;
  /** Batch → when its fate is known. */
  readonly #inFlight = new Map<Batch, Promise<void>>();
  /** Failed ones, each until its own time comes. */
  readonly #resting = new Map<Batch, NodeJS.Timeout>();
  readonly #tries = new WeakMap<Batch, Tries>();
  readonly #events: QueueEvents;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | undefined;
  /** Until the next attempt, before jitter; 0 while batches are accepted. */
  #retryDelayMs = 0;
  /** With jitter, and as long as the collector asks for. */
  #pauseMs = 0;
  /** Whether the last attempt found no collector. */
  #isUnreachable = false;
  #isFlushing = false;
  /** Batches. */
  #accepted = 0;
  /** Of a batch, by which it is full. */
  #batchSize: number;
  #closed = false;

  /** @param random gives what jitter is made of, from 0 to 1 */
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
      // The app ended a span; what it holds is no reason to fail there.
      this.lost++;
      this.lastError ??= `a span could not be written: ${(error as Error)?.message ?? error}`;
      return;
    }
    this.#added(1);
  }

  /** Takes `count` spans that come in another way than one by one: `add` puts them into the batch that it is given. */
  addMany(count: number, add: (batch: Batch) => void): void {
    if (!this.#hasRoom(count)) return;
    add(this.#openBatch());
    this.#added(count);
  }

  /** Gives away what waits and was not tried to be sent; it is somebody else's now. The queue goes on. */
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
    this.lost += count;
    const size = isFull ? '' : `${Math.ceil(maxBytes / 2 ** 20)} MiB, `;
    this.lastError ??= `the queue was full (${size}OTEL_BSP_MAX_QUEUE_SIZE=${maxQueueSize})`;
    return false;
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
   * One attempt for everything that waits, in batches side by side. Settles when their fates, and those of what was on the
   * way already, are known.
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

  /** Everything that is not known to have arrived, for who sends it another way. The queue is closed. */
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
    // What failed in a flush has had its attempt.
    if (this.#inFlight.size > 0 || this.#isFlushing) return;
    // While the collector is away, a full batch waits for the next attempt like any other.
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
    // A span that waits must not keep the app alive.
    this.#timer.unref();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #sendBatch(): void {
    // One that failed has its turn again once another was accepted: it does not stop the others.
    const isDue = (batch: Batch) => !this.#tries.has(batch) || this.#othersWereAccepted(batch);
    if (!this.#waiting.some(isDue)) this.#seal();
    const [batch] = this.#waiting.splice(Math.max(0, this.#waiting.findIndex(isDue)), 1);
    if (batch !== undefined) this.#sendOff(batch);
  }

  /** @param before what its turn comes after */
  #sendOff(batch: Batch, before?: Promise<void>): Promise<void> {
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
    // What came before it found nobody there: that was the attempt.
    this.#inFlight.delete(batch);
    this.#waiting.push(batch);
    if (!this.#closed) this.#schedule();
  }

  async #follow(batch: Batch): Promise<void> {
    // Of batches side by side, each doubles the same delay: together they are one attempt.
    const delayMs = this.#retryDelayMs;
    const outcome = await this.#send(batch);
    // Taken meanwhile by takeUnsent: it is somebody else's now.
    if (!this.#inFlight.delete(batch)) return;
    this.#isUnreachable = outcome.kind === 'later' && outcome.isUnreachable === true;
    if (
      outcome.kind === 'too large' ||
      (outcome.kind === 'later' && this.#isWorthSplitting(batch, outcome))
    ) {
      // Within the same promise: for who waits for it, the attempt is not over.
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
        this.lost += batch.count;
      } else {
        this.#accepted++;
        this.#retryDelayMs = 0;
        if (outcome.rejected !== undefined) {
          this.lost += outcome.rejected.count;
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

  /** Whether other batches were accepted since it failed before. */
  #othersWereAccepted(batch: Batch): boolean {
    const tries = this.#tries.get(batch);
    return tries !== undefined && this.#accepted > tries.acceptedBefore;
  }

  /** Whether its parts may fare better: of few spans, all others shall not be lost with them. */
  #isWorthSplitting(batch: Batch, { isUnreachable, mayBeTooLarge }: Later): boolean {
    if (isUnreachable || batch.count < 2) return false;
    const tries = this.#tries.get(batch);
    if (tries?.isPart) return this.#othersWereAccepted(batch);
    // Once without a sign that it helps.
    if (mayBeTooLarge) return tries !== undefined || this.#isFlushing;
    return tries !== undefined && tries.failures >= 2 && this.#othersWereAccepted(batch);
  }

  /** @param isGuess whether the collector did not say that it is too large */
  async #sendInTwo(batch: Batch, isGuess: boolean): Promise<void> {
    const [first, second] = batch.halves();
    const failures = this.#tries.get(batch)?.failures ?? 0;
    if (isGuess)
      for (const half of [first, second])
        this.#tries.set(half, { failures, acceptedBefore: this.#accepted, isPart: true });
    await this.#sendOff(second, this.#sendOff(first));
  }

  /** Keeps a batch that failed for another attempt, unless it failed too often. */
  #keep(batch: Batch, { reason, isUnreachable, mayBeTooLarge }: Later & { reason: string }): void {
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
      this.lost += batch.count;
      this.#events.onGivenUp?.(batch.count, reason);
      return;
    }
    this.#tries.set(batch, { ...tries, failures, acceptedBefore: this.#accepted });
    if (othersWereAccepted || this.#isFlushing) this.#rest(batch, failures);
    else this.#waiting.push(batch);
  }

  /** It alone waits, longer each time. */
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
