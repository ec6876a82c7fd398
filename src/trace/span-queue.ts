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
  | { kind: 'accepted'; rejected?: Rejection }
  /** Not now: the collector is away or busy. The spans stay in the queue. */
  | { kind: 'later'; reason: string }
  /** Not that many at once: only for a batch of several spans. */
  | { kind: 'too large' }
  /** Never: the collector does not want them. */
  | { kind: 'refused'; reason: string };

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

export class SpanQueue<Batch extends SpanBatch<Batch>> implements SpanProcessor {
  /** Spans given up: beyond the queue's limit, or refused by the collector. */
  lost = 0;
  /** Why spans were given up or are still here; undefined while nothing went wrong. */
  trouble: string | undefined;
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
  readonly #onTheWay = new Map<Batch, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #retryDelayMs = 0;
  /** Of a batch, by which it is full. */
  #batchSize: number;
  #closed = false;

  constructor(newBatch: () => Batch, send: Send<Batch>, limits: QueueLimits) {
    this.#newBatch = newBatch;
    this.#send = send;
    // A batch that the queue can never hold would not be sent before the delay, while spans are dropped.
    this.#limits = {
      ...limits,
      maxExportBatchSize: Math.min(limits.maxExportBatchSize, limits.maxQueueSize),
    };
    this.#batchSize = Math.min(FIRST_BATCH_SIZE, this.#limits.maxExportBatchSize);
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & 1) === 0 || !this.#hasRoom(1)) return;
    try {
      this.#openBatch().add(span);
    } catch (error) {
      // The app ended a span; what it holds is no reason to fail there.
      this.lost++;
      this.trouble ??= `a span could not be written: ${(error as Error)?.message ?? error}`;
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
    const batches = this.#waiting;
    this.#waiting = [];
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
    this.trouble ??= `the queue was full (${size}OTEL_BSP_MAX_QUEUE_SIZE=${maxQueueSize})`;
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
    const lanes: Promise<void>[] = [];
    for (const [index, batch] of this.#waiting.splice(0).entries()) {
      const lane = index % SIDE_BY_SIDE;
      lanes[lane] = this.#sendOff(batch, lanes[lane]);
    }
    await Promise.all(this.#onTheWay.values());
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
    const batches = [...this.#onTheWay.keys(), ...this.#waiting];
    this.#onTheWay.clear();
    this.#waiting = [];
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
    if (this.#onTheWay.size > 0) return;
    // While the collector is away, a full batch waits for the next attempt like any other.
    if (this.#waiting.length > 0 && this.#retryDelayMs === 0) {
      this.#stopTimer();
      this.#sendBatch();
      return;
    }
    if (this.#timer !== undefined) return;
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
    if (this.#waiting.length === 0) this.#seal();
    const batch = this.#waiting.shift();
    if (batch !== undefined) this.#sendOff(batch);
  }

  /** @param before what its turn comes after */
  #sendOff(batch: Batch, before?: Promise<void>): Promise<void> {
    const followed = before === undefined ? this.#follow(batch) : before.then(() => this.#takeTurn(batch));
    this.#onTheWay.set(batch, followed);
    return followed;
  }

  async #takeTurn(batch: Batch): Promise<void> {
    // Taken meanwhile by takeUnsent.
    if (!this.#onTheWay.has(batch)) return;
    if (this.#retryDelayMs === 0) {
      await this.#follow(batch);
      return;
    }
    // What came before it found nobody there: that was the attempt.
    this.#onTheWay.delete(batch);
    this.#waiting.push(batch);
    if (!this.#closed) this.#schedule();
  }

  async #follow(batch: Batch): Promise<void> {
    // Of batches side by side, each doubles the same delay: together they are one attempt.
    const delayMs = this.#retryDelayMs;
    const outcome = await this.#send(batch);
    // Taken meanwhile by takeUnsent: it is somebody else's now.
    if (!this.#onTheWay.delete(batch)) return;
    if (outcome.kind === 'too large') {
      // Within the same promise: for who waits for it, the attempt is not over.
      const [first, second] = batch.halves();
      await this.#sendOff(second, this.#sendOff(first));
      return;
    }
    if (outcome.kind === 'later') {
      this.trouble = outcome.reason;
      this.#waiting.unshift(batch);
      this.#retryDelayMs = Math.min(delayMs * 2 || FIRST_RETRY_MS, LAST_RETRY_MS);
    } else {
      this.#leaves(batch);
      batch.discard();
      if (outcome.kind === 'refused') {
        this.trouble = outcome.reason;
        this.lost += batch.count;
      } else {
        this.#retryDelayMs = 0;
        if (outcome.rejected !== undefined) {
          this.lost += outcome.rejected.count;
          this.trouble = outcome.rejected.reason;
        }
        if (this.lost === 0) this.trouble = undefined;
      }
    }
    if (this.unsent > 0 && !this.#closed) this.#schedule();
  }
}
