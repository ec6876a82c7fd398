/** From an ended span to the collector: the span processors, and one queue for each exporter. */
import type { Resource } from '@opentelemetry/resources';
import { ConsoleSpanExporter, SimpleSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace';
import { isOff, type Settings } from '../config/settings.ts';
import {
  connectionHint,
  createSend,
  type ExporterName,
  requestBodies,
  shortReason,
  zipkinUrl,
} from '../otlp/exporter.ts';
import { shownEndpoint, tracesTarget } from '../otlp/target.ts';
import type { sendNow } from '../shutdown/synchronous-flush.ts';
import type { Clock } from '../trace/clock.ts';
import { ExactStarts } from '../trace/exact-starts.ts';
import type { Outcome, Send } from '../trace/outcome.ts';
import { SpanQueue } from '../trace/span-queue.ts';
import { inWorker, SpansToMain, WorkersSpans } from '../trace/worker-threads.ts';
import type { Diagnostics } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';

export class SpanPipeline {
  readonly processors: SpanProcessor[];
  readonly queues = new Map<ExporterName, SpanQueue>();
  readonly #settings: Settings;
  readonly #diagnostics: Diagnostics;
  #workers: WorkersSpans | undefined;
  #isExiting = false;

  /** @param resource of the spans */
  constructor(settings: Settings, diagnostics: Diagnostics, clock: Clock, resource: Resource) {
    this.#settings = settings;
    this.#diagnostics = diagnostics;
    const exporters = isOff(settings.tracesExporter) ? [] : [...new Set(settings.tracesExporter)];
    this.processors = [
      new ExactStarts(clock),
      ...exporters.map((name) =>
        name === 'console'
          ? new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() })
          : this.#processorOf(name as ExporterName, resource),
      ),
    ];
  }

  #processorOf(name: ExporterName, resource: Resource): SpanProcessor {
    const settings = this.#settings;
    const send = this.#reporting(name, createSend(name, settings));
    const onGivenUp = (count: number, reason: string) =>
      this.#diagnostics.warn(
        `${count} ${count === 1 ? 'span was' : 'spans were'} dropped (${target(name, settings)}): each attempt failed with ${reason}.`,
      );
    const queue = new SpanQueue(send, settings, onGivenUp);
    this.queues.set(name, queue);
    if (name !== 'otlp') return queue;
    if (inWorker()) return new SpansToMain(queue, tracesTarget(settings), resource);
    this.#workers = new WorkersSpans(queue, () => tracesTarget(settings));
    return queue;
  }

  #reporting(name: ExporterName, send: Send): Send {
    return async (batch) => {
      const outcome = await send(batch);
      // At exit, close() logs one line about all batches.
      if (!this.#isExiting || (outcome.kind === 'accepted' && refusalIn(outcome) === undefined))
        announce(outcome, target(name, this.#settings), this.#diagnostics);
      return outcome;
    };
  }

  /** Spans that worker threads have posted are included. */
  get hasPendingSpans(): boolean {
    this.drainWorkers();
    return [...this.queues.values()].some(({ unsent }) => unsent > 0);
  }

  /** Whether a connection to a collector was ever used. */
  get hasDelivered(): boolean {
    return [...this.queues.values()].some(({ hasDelivered }) => hasDelivered);
  }

  drainWorkers(): void {
    this.#workers?.drain();
  }

  exitBegins(): void {
    this.#isExiting = true;
  }

  /** Sends pending spans, blocking for at most `timeoutMs`, and logs the number of lost ones. */
  close(timeoutMs: number): void {
    this.drainWorkers();
    for (const [name, queue] of this.queues) {
      const lost = queue.lost + this.#sendLeftovers(name, queue, timeoutMs);
      if (lost === 0) continue;
      const spans = lost === 1 ? 'span was' : 'spans were';
      const reason =
        queue.lastError ?? `no answer within ${this.#settings.flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`;
      this.#diagnostics.warn(
        `${lost} ${spans} lost (${target(name, this.#settings)}): ${reason}.${connectionHint(reason)}`,
      );
    }
  }

  /** Returns the number of spans that did not arrive. */
  #sendLeftovers(name: ExporterName, queue: SpanQueue, timeoutMs: number): number {
    const { unsent } = queue;
    // No process sends Zipkin's format: spans that could not be awaited are lost.
    if (name !== 'otlp' || unsent === 0 || !(timeoutMs > 0)) return unsent;
    try {
      return sendBlocking(queue, this.#settings, timeoutMs);
    } catch (error) {
      queue.lastError = shortReason((error as Error)?.message ?? '');
      return unsent;
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Sends a queue's pending spans by the sending process. Returns the number of spans that did not arrive. */
function sendBlocking(queue: SpanQueue, settings: Settings, timeoutMs: number): number {
  const batches = queue.takeUnsent();
  const count = sum(batches.map((batch) => batch.count));
  const { requests, error } = requestBodies(batches, settings);
  queue.lastError = error ?? queue.lastError;
  if (requests.length === 0) return count;
  const failures = loadChunk<{ sendNow: typeof sendNow }>('synchronous-flush').sendNow(
    tracesTarget(settings),
    requests.map(({ body }) => body),
    timeoutMs,
    settings.flushTimeoutMs,
  );
  const arrived = requests.map(({ count }, index) => {
    const failure = failures[index];
    if (failure === null) return count;
    queue.lastError = failure === undefined ? queue.lastError : shortReason(failure.reason);
    return count - Math.min(failure?.count ?? count, count);
  });
  return count - sum(arrived);
}

/**
 * While the app runs: logs once that the collector is unreachable and, at OTEL_LOG_LEVEL=info, that it has
 * accepted spans.
 */
function announce(outcome: Outcome, target: string, diagnostics: Diagnostics): void {
  const refusal = refusalIn(outcome);
  if (refusal !== undefined) {
    diagnostics.warn(`Collector rejected spans (${target}): ${refusal}.`);
  } else if (outcome.kind === 'accepted') {
    if (outcome.warning !== undefined)
      diagnostics.warn(`Collector accepted spans with a warning (${target}): ${outcome.warning}.`);
    diagnostics.info(`Collector accepted the first spans (${target}).`);
  } else if (outcome.kind === 'later') {
    diagnostics.warn(
      `Spans cannot be sent now, will retry (${target}): ${outcome.reason}.${connectionHint(outcome.reason)}`,
    );
  }
}

/** Why some or all spans of a batch were rejected for good. */
function refusalIn(outcome: Outcome): string | undefined {
  if (outcome.kind === 'accepted') return outcome.rejected?.reason;
  return outcome.kind === 'refused' ? outcome.reason : undefined;
}

const target = (name: string, settings: Settings): string =>
  name === 'zipkin' ? zipkinUrl(settings) : shownEndpoint(settings);
