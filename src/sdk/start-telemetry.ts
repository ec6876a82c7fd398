/** Settings → a started NodeSDK, with two ways to send pending spans: one returns a promise, one blocks. */
import { metrics, trace } from '@opentelemetry/api';
import type { Instrumentation } from '@opentelemetry/instrumentation';
import type { Resource } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { isOff, type Protocol, type Settings } from '../config/settings.ts';
import { zipkinUrl } from '../otlp/exporter.ts';
import type { SignalExporter } from '../otlp/signal-exporter.ts';
import { tracesProtocol, tracesTarget } from '../otlp/target.ts';
import { settlesWithin } from '../shutdown/with-timeout.ts';
import { Clock } from '../trace/clock.ts';
import type { observeQueues as ObserveQueues } from '../trace/queue-metrics.ts';
import { SCHEMA_URL, SCOPE, VERSION } from '../version.ts';
import { type Diagnostics, keepingMessages } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';
import { logs } from './logs-api.ts';
import { resourceOf } from './resource.ts';
import { withoutLogs } from './sdk-internals.ts';
import { SpanPipeline } from './span-pipeline.ts';
import { tracingOptions } from './tracing-options.ts';

/**
 * Share of the exit's time limit; the other part is for a new connection, when the present one no longer
 * answers.
 */
const FLUSH_SHARE = 0.7;

export interface Telemetry {
  /**
   * Whether anything is pending. Metrics and logs that are on always count as pending until they are flushed.
   */
  hasPendingSpans(): boolean;
  /**
   * One attempt to send ended spans, for at most `limitMs`, while the app continues. Resolves to whether it
   * has finished by then. Never rejects.
   */
  send(limitMs: number): Promise<boolean>;
  /** The same when the app exits. */
  flush(limitMs: number): Promise<boolean>;
  /**
   * Sends pending spans, blocking for at most `timeoutMs`, and logs the number of lost ones. Nothing can be
   * sent after it.
   */
  close(timeoutMs: number): void;
  /** Passes the SDK's providers to an instrumentation that was created after the start. */
  adopt(instrumentation: Instrumentation): void;
}

export function startTelemetry(settings: Settings, serviceName: string, diagnostics: Diagnostics): Telemetry {
  const resource = resourceOf(settings, serviceName);
  const spans = new SpanPipeline(settings, diagnostics, new Clock(), resource);
  const exporters: SignalExporter<never>[] = [];
  const sdk = keepingMessages(() => createSdk(settings, resource, diagnostics, spans, exporters));
  sdk.start();
  if (!isOff(settings.metricsExporter)) observe(spans, settings);
  return new StartedTelemetry(settings, spans, exporters);
}

function createSdk(
  settings: Settings,
  resource: Resource,
  diagnostics: Diagnostics,
  spans: SpanPipeline,
  exporters: SignalExporter<never>[],
): NodeSDK {
  const options = {
    spanProcessors: spans.processors,
    metricReaders: isOff(settings.metricsExporter)
      ? []
      : metricsAndLogs().metricReaders(settings, diagnostics, exporters),
    resource,
    autoDetectResources: false,
    ...tracingOptions(settings),
  };
  if (isOff(settings.logsExporter)) return withoutLogs(NodeSDK, options);
  return new NodeSDK({
    ...options,
    logRecordProcessors: metricsAndLogs().logProcessors(settings, diagnostics, exporters),
  });
}

const metricsAndLogs = () => loadChunk<typeof import('./metrics-and-logs.ts')>('metrics-and-logs');

/** The SDK's providers have it, the API's types do not. */
interface Flushable {
  forceFlush?(): Promise<void>;
}

class StartedTelemetry implements Telemetry {
  readonly #spans: SpanPipeline;
  readonly #exporters: readonly SignalExporter<never>[];
  readonly #flushTimeoutMs: number;
  readonly #otherProviders: Flushable[];
  #isFlushed = false;

  /** @param exporters those of metrics and logs over OTLP */
  constructor(settings: Settings, spans: SpanPipeline, exporters: readonly SignalExporter<never>[]) {
    this.#spans = spans;
    this.#exporters = exporters;
    this.#flushTimeoutMs = settings.flushTimeoutMs;
    const providers: object[] = [];
    if (!isOff(settings.metricsExporter)) providers.push(metrics.getMeterProvider());
    if (!isOff(settings.logsExporter)) providers.push(logs.getLoggerProvider());
    this.#otherProviders = providers;
  }

  hasPendingSpans(): boolean {
    return this.#spans.hasPendingSpans || (!this.#isFlushed && this.#otherProviders.length > 0);
  }

  async send(limitMs: number): Promise<boolean> {
    this.#spans.drainWorkers();
    const flushed = await Promise.all([
      ...this.#spans.processors.map((one) => settlesWithin(limitMs, one.forceFlush?.())),
      settlesWithin(limitMs, this.#sendMetricsAndLogs()),
    ]);
    return flushed.every(Boolean);
  }

  async #sendMetricsAndLogs(): Promise<void> {
    await Promise.allSettled(this.#otherProviders.map((one) => one.forceFlush?.()));
    // The reader of metrics does not wait for its exporter for long.
    await Promise.all(this.#exporters.map((one) => one.forceFlush()));
  }

  async flush(limitMs: number): Promise<boolean> {
    this.#spans.exitBegins();
    for (const exporter of this.#exporters) exporter.exitBegins();
    // A connection that was never used cannot be dead, so the first one gets the whole time.
    const isFinished = await this.send(this.#spans.hasDelivered ? limitMs * FLUSH_SHARE : limitMs);
    this.#isFlushed = true;
    const reason = `no answer within ${this.#flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`;
    for (const exporter of this.#exporters) exporter.giveUp(reason);
    return isFinished;
  }

  close(timeoutMs: number): void {
    for (const exporter of this.#exporters) exporter.giveUp('the process exited before the answer');
    this.#spans.close(timeoutMs);
  }

  adopt = adopt;
}

/** The providers are the global ones, also those of another SDK. */
export function adopt(instrumentation: Instrumentation): void {
  instrumentation.setTracerProvider(trace.getTracerProvider());
  instrumentation.setMeterProvider(metrics.getMeterProvider());
}

function observe({ queues }: SpanPipeline, settings: Settings): void {
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
