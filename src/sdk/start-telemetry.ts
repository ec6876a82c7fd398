/** Settings → a started NodeSDK, with two ways to send pending spans: one returns a promise, one blocks. */
import { logs, metrics, trace } from '@opentelemetry/api';
import type { Instrumentation } from '@opentelemetry/instrumentation';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { ConsoleSpanExporter, SimpleSpanProcessor, type SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Protocol, Settings } from '../config/settings.ts';
import {
  connectionHint,
  createSend,
  type ExporterName,
  keepsBytes,
  requestBodies,
  shortReason,
  zipkinUrl,
} from '../otlp/exporter.ts';
import { shownEndpoint, tracesProtocol, tracesTarget } from '../otlp/target.ts';
import type { sendNow } from '../shutdown/synchronous-flush.ts';
import { withinMs } from '../shutdown/with-timeout.ts';
import { Clock } from '../trace/clock.ts';
import { EncodedSpans } from '../trace/encoded-spans.ts';
import { ExactStarts } from '../trace/exact-starts.ts';
import { withFastSpans } from '../trace/fast-tracer.ts';
import type { Outcome, Send } from '../trace/outcome.ts';
import type { observeQueues as ObserveQueues } from '../trace/queue-metrics.ts';
import { type SpanBatch, SpanList } from '../trace/span-batch.ts';
import { SpanQueue } from '../trace/span-queue.ts';
import { inWorker, SpansToMain, WorkersSpans } from '../trace/worker-threads.ts';
import { SCHEMA_URL, SCOPE, VERSION } from '../version.ts';
import { type Diagnostics, keepingMessages } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';
import { ExportReports, isOff, logProcessors, metricReaders } from './metrics-and-logs.ts';
import { resourceDetectors } from './resource.ts';
import { tracingOptions } from './tracing-options.ts';

/** Share of the exit's time limit; the other part is for a new connection, when the present one no longer answers. */
const FLUSH_SHARE = 0.7;

type Queue = SpanQueue<EncodedSpans> | SpanQueue<SpanList>;

export interface Telemetry {
  /** Whether anything is pending. Metrics and logs that are on always count as pending until they are flushed. */
  hasRest(): boolean;
  /**
   * One attempt to send ended spans, for at most `limitMs`, while the app continues. Resolves to whether it has finished by
   * then. Never rejects.
   */
  send(limitMs: number): Promise<boolean>;
  /** The same when the app exits. */
  flush(limitMs: number): Promise<boolean>;
  /** Sends pending spans, blocking for at most `timeoutMs`, and logs the number of lost ones. Nothing can be sent after it. */
  close(timeoutMs: number): void;
  /** Passes the SDK's providers to an instrumentation that was created after the start. */
  adopt(instrumentation: Instrumentation): void;
}

export function startTelemetry(settings: Settings, serviceName: string, diagnostics: Diagnostics): Telemetry {
  const queues = new Map<ExporterName, Queue>();
  const clock = new Clock();
  const processors: SpanProcessor[] = [new ExactStarts(clock)];
  let workers: WorkersSpans | undefined;
  let ending = false;
  let flushed = false;
  if (!isOff(settings.tracesExporter)) {
    for (const name of new Set(settings.tracesExporter)) {
      if (name === 'console') {
        processors.push(new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() }));
      } else {
        const report = (outcome: Outcome) => {
          // At exit, close() logs one line about all batches.
          if (!ending || (outcome.kind === 'accepted' && refusalIn(outcome) === undefined))
            announce(outcome, target(name, settings), diagnostics);
        };
        const onGivenUp = (count: number, reason: string) =>
          diagnostics.warn(
            `${count} ${count === 1 ? 'span was' : 'spans were'} dropped: ${target(name, settings)} answered each attempt with: ${reason}.`,
          );
        const exporter = name as ExporterName;
        const send = reporting(createSend(exporter, settings), report);
        if (keepsBytes(exporter, settings)) {
          const queue = new SpanQueue(() => new EncodedSpans(), send, settings, onGivenUp);
          queues.set(exporter, queue);
          if (!inWorker()) workers = new WorkersSpans(queue, () => tracesTarget(settings));
          processors.push(inWorker() ? new SpansToMain(queue, tracesTarget(settings)) : queue);
        } else {
          const queue = new SpanQueue(() => new SpanList(), send, settings, onGivenUp);
          queues.set(exporter, queue);
          processors.push(queue);
        }
      }
    }
  }

  const exportReports = new ExportReports(settings, diagnostics);
  const metricsOn = !isOff(settings.metricsExporter);
  const logsOn = !isOff(settings.logsExporter);
  const sdk = keepingMessages(
    () =>
      new NodeSDK({
        spanProcessors: processors,
        metricReaders: metricReaders(settings, diagnostics, exportReports),
        ...(logsOn ? { logRecordProcessors: logProcessors(settings, exportReports) } : {}),
        resource: defaultResource().merge(resourceFromAttributes({ 'service.name': serviceName })),
        resourceDetectors: resourceDetectors(settings),
        ...tracingOptions(settings),
      }),
  );
  if (!logsOn) withoutLogs(sdk);
  sdk.start();
  if (metricsOn) observe(queues, settings);
  const fastProvider = withFastSpans(trace.getTracerProvider(), SCOPE, clock);

  const send = async (limitMs: number) => {
    workers?.drain();
    const others = [
      ...(metricsOn ? [metrics.getMeterProvider()] : []),
      ...(logsOn ? [logs.getLoggerProvider()] : []),
    ];
    const settled = await Promise.all(
      [...processors, ...(others as Partial<SpanProcessor>[])].map((provider) =>
        withinMs(limitMs, provider.forceFlush?.()),
      ),
    );
    return settled.every(Boolean);
  };

  return {
    hasRest() {
      workers?.drain();
      return [...queues.values()].some(({ unsent }) => unsent > 0) || (!flushed && (metricsOn || logsOn));
    },
    send,
    async flush(limitMs) {
      ending = true;
      // A connection that was never used cannot be dead, so the first one gets the whole time.
      const wasUsed = [...queues.values()].some(({ hasDelivered }) => hasDelivered);
      const isOver = await send(wasUsed ? limitMs * FLUSH_SHARE : limitMs);
      flushed = true;
      return isOver;
    },
    close(timeoutMs) {
      exportReports.reportUnfinished();
      workers?.drain();
      for (const [name, queue] of queues) {
        let left = queue.unsent;
        try {
          // No process sends Zipkin's format: spans that could not be awaited are lost.
          if (name === 'otlp' && left > 0 && timeoutMs > 0) left = sendLeftovers(queue, settings, timeoutMs);
        } catch (error) {
          queue.lastError = shortReason((error as Error)?.message ?? '');
        }
        const lost = queue.lost + left;
        if (lost > 0) {
          const spans = lost === 1 ? 'span was' : 'spans were';
          const reason =
            queue.lastError ?? `no answer within ${settings.flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`;
          diagnostics.warn(
            `${lost} ${spans} lost on the way to ${target(name, settings)}: ${reason}.${connectionHint(reason)}`,
          );
        }
      }
    },
    adopt: (instrumentation) => adopt(instrumentation, fastProvider),
  };
}

/** The providers are the global ones, also those of another SDK. */
export function adopt(instrumentation: Instrumentation, tracerProvider = trace.getTracerProvider()): void {
  instrumentation.setTracerProvider(tracerProvider);
  instrumentation.setMeterProvider(metrics.getMeterProvider());
}

function observe(queues: ReadonlyMap<ExporterName, Queue>, settings: Settings): void {
  const { observeQueues } = loadChunk<{ observeQueues: typeof ObserveQueues }>('queue-metrics');
  const capacity = settings.maxQueueSize;
  observeQueues(
    metrics.getMeter(SCOPE, VERSION, { schemaUrl: SCHEMA_URL }),
    [...queues].map(([name, queue]) =>
      name === 'zipkin'
        ? { queue, capacity, exporter: 'zipkin_http_span_exporter', url: zipkinUrl(settings) }
        : {
            queue,
            capacity,
            exporter: OTLP_EXPORTER[tracesProtocol(settings)],
            url: tracesTarget(settings).url,
          },
    ),
  );
}

/** Names of the conventions. */
const OTLP_EXPORTER: Record<Protocol, string> = {
  grpc: 'otlp_grpc_span_exporter',
  'http/protobuf': 'otlp_http_span_exporter',
  'http/json': 'otlp_http_json_span_exporter',
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Sends a queue's pending spans by the sending process. Returns the number of spans that did not arrive. */
function sendLeftovers(queue: Queue, settings: Settings, timeoutMs: number): number {
  const batches = queue.takeUnsent();
  const failures = loadChunk<{ sendNow: typeof sendNow }>('synchronous-flush').sendNow(
    tracesTarget(settings),
    requestBodies(batches),
    timeoutMs,
    settings.flushTimeoutMs,
  );
  return sum(
    batches.map(({ count }, index) => {
      const failure = failures[index];
      if (failure === null) return 0;
      queue.lastError = failure === undefined ? queue.lastError : shortReason(failure.reason);
      return Math.min(failure?.count ?? count, count);
    }),
  );
}

const reporting =
  (send: Send<SpanBatch>, report: (outcome: Outcome) => void): Send<SpanBatch> =>
  async (batch) => {
    const outcome = await send(batch);
    report(outcome);
    return outcome;
  };

/** While the app runs: logs once that the collector is unreachable and, at OTEL_LOG_LEVEL=info, that it has accepted spans. */
function announce(outcome: Outcome, target: string, diagnostics: Diagnostics): void {
  const refusal = refusalIn(outcome);
  if (refusal !== undefined) {
    diagnostics.warn(`spans are refused by ${target}: ${refusal}.`);
  } else if (outcome.kind === 'accepted') {
    if (outcome.warning !== undefined)
      diagnostics.warn(`spans are accepted by ${target} with a warning: ${outcome.warning}.`);
    diagnostics.info(`the first spans were accepted by ${target}.`);
  } else if (outcome.kind === 'later') {
    diagnostics.warn(
      `spans cannot be sent to ${target} now; they are kept and tried again: ${outcome.reason}.${connectionHint(outcome.reason)}`,
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

/** NodeSDK has no option for "no logs", and would take an unset OTEL_LOGS_EXPORTER for otlp. */
function withoutLogs(sdk: NodeSDK): void {
  (sdk as unknown as { configureLoggerProviderFromEnv(): void }).configureLoggerProviderFromEnv = () => {};
}
