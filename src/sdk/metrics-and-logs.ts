/**
 * Metrics and logs, which are off until their exporter is named. Their exporters are created here and not by
 * NodeSDK. So OTEL_EXPORTER_OTLP_PROTOCOL has the same default for all signals, grpc, and each variable is
 * read in one place.
 */
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { LogRecordExporter, LogRecordProcessor } from '@opentelemetry/sdk-logs';
import type {
  AggregationOption,
  IMetricReader,
  InstrumentType,
  PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { LONGEST_TIMER_MS, type Settings, withoutCredentials } from '../config/settings.ts';
import { GrpcStatus } from '../grpc-status.ts';
import { connectionHint, shortReason } from '../otlp/exporter.ts';
import { lastConnectionError, reasonFor } from '../otlp/reason.ts';
import { OtlpError } from '../otlp/sender.ts';
import { EXPORTER_FORMAT, signalProtocol, urlOf, variablesOf } from '../otlp/target.ts';
import { VERSION } from '../version.ts';
import type { Diagnostics } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';

export const isOff = (exporters: readonly string[]): boolean => exporters.includes('none');

type New<Options, Instance> = new (options: Options) => Instance;

export function metricReaders(
  settings: Settings,
  diagnostics: Diagnostics,
  reports: ExportReports,
): IMetricReader[] {
  if (isOff(settings.metricsExporter)) return [];
  const { PeriodicExportingMetricReader, ConsoleMetricExporter } = loadChunk<{
    PeriodicExportingMetricReader: New<
      { exporter: PushMetricExporter; exportIntervalMillis: number; exportTimeoutMillis: number },
      IMetricReader
    >;
    ConsoleMetricExporter: new () => PushMetricExporter;
  }>('sdk-metrics');
  const periodic = (exporter: PushMetricExporter) =>
    new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: settings.metricExportIntervalMs,
      // The reader refuses a time-out longer than its interval.
      exportTimeoutMillis: Math.min(settings.metricExportTimeoutMs, settings.metricExportIntervalMs),
    });
  return settings.metricsExporter.map((name) => {
    if (name === 'console') return periodic(new ConsoleMetricExporter());
    if (name === 'prometheus') return prometheusReader(settings, diagnostics);
    const { OTLPMetricExporter } = loadChunk<{
      OTLPMetricExporter: New<OtlpOptions & { aggregationPreference: SelectAggregation }, PushMetricExporter>;
    }>(`exporter-metrics-otlp-${EXPORTER_FORMAT[signalProtocol(settings, 'metrics')]}`);
    const exporter = new OTLPMetricExporter({
      ...otlpOptions(settings, 'metrics'),
      aggregationPreference: aggregationOf(settings.histogramAggregation),
    });
    return periodic(reports.watch(exporter, 'metrics'));
  });
}

type SelectAggregation = (instrument: InstrumentType) => AggregationOption;

/** Numbers of AggregationType, and the name of an instrument. Source: @opentelemetry/sdk-metrics 3.0. */
const DEFAULT = 0;
const EXPONENTIAL_HISTOGRAM = 5;

const aggregationOf =
  (histogram: Settings['histogramAggregation']): SelectAggregation =>
  (instrument) => ({
    type:
      (instrument as string) === 'HISTOGRAM' && histogram === 'base2_exponential_bucket_histogram'
        ? EXPONENTIAL_HISTOGRAM
        : DEFAULT,
  });

function prometheusReader(
  { prometheusHost: host, prometheusPort: port }: Settings,
  diagnostics: Diagnostics,
): IMetricReader {
  const { PrometheusExporter } = loadChunk<{
    PrometheusExporter: new (
      options: { port: number; host: string | undefined },
      started: (error?: Error) => void,
    ) => IMetricReader;
  }>('exporter-prometheus');
  return new PrometheusExporter({ port, host }, (error) => {
    if (error !== undefined)
      diagnostics.warn(
        `Metrics cannot be scraped: ${shortReason(error.message)}. Set OTEL_EXPORTER_PROMETHEUS_PORT (${port}) to a free port, or OTEL_EXPORTER_PROMETHEUS_HOST (${host ?? 'localhost'}) to an address of this host.`,
      );
  });
}

export function logProcessors(settings: Settings, reports: ExportReports): LogRecordProcessor[] {
  if (isOff(settings.logsExporter)) return [];
  const { BatchLogRecordProcessor, SimpleLogRecordProcessor, ConsoleLogRecordExporter } = loadChunk<{
    BatchLogRecordProcessor: New<BatchOptions, LogRecordProcessor>;
    SimpleLogRecordProcessor: New<{ exporter: LogRecordExporter }, LogRecordProcessor>;
    ConsoleLogRecordExporter: new () => LogRecordExporter;
  }>('sdk-logs');
  return settings.logsExporter.map((name) => {
    if (name === 'console') return new SimpleLogRecordProcessor({ exporter: new ConsoleLogRecordExporter() });
    const { OTLPLogExporter } = loadChunk<{ OTLPLogExporter: New<OtlpOptions, LogRecordExporter> }>(
      `exporter-logs-otlp-${EXPORTER_FORMAT[signalProtocol(settings, 'logs')]}`,
    );
    const exporter = new OTLPLogExporter(otlpOptions(settings, 'logs'));
    return new BatchLogRecordProcessor({
      exporter: reports.watch(exporter, 'logs'),
      scheduledDelayMillis: settings.logScheduleDelayMs,
      maxQueueSize: settings.logMaxQueueSize,
      maxExportBatchSize: Math.min(settings.logMaxExportBatchSize, settings.logMaxQueueSize),
      exportTimeoutMillis: Math.min(settings.logBatchTimeoutMs, LONGEST_TIMER_MS),
    });
  });
}

interface BatchOptions {
  exporter: LogRecordExporter;
  scheduledDelayMillis: number;
  maxQueueSize: number;
  maxExportBatchSize: number;
  exportTimeoutMillis: number;
}

/** Options of OpenTelemetry's exporters. They read certificates themselves, by their variables. */
interface OtlpOptions {
  url: string;
  headers?: Record<string, string>;
  /** Of grpc-js. */
  metadata?: object;
  compression: 'none' | 'gzip';
  timeoutMillis: number;
  userAgent: string;
}

function otlpOptions(settings: Settings, signal: Signal): OtlpOptions {
  const headers = { ...settings.headers, ...settings[`${signal}Headers`] };
  const timeoutMs = settings[`${signal}ExportTimeoutMs`] ?? settings.exportTimeoutMs;
  return {
    url: urlOf(settings, signal),
    ...(signalProtocol(settings, signal) === 'grpc' ? { metadata: metadataOf(headers) } : { headers }),
    compression: settings[`${signal}Compression`] ?? settings.compression,
    timeoutMillis: Math.min(timeoutMs, LONGEST_TIMER_MS),
    userAgent: `milvus-otel/${VERSION}`,
  };
}

function metadataOf(headers: Record<string, string>): object {
  const { Metadata } = loadChunk<{ Metadata: new () => { set(name: string, value: string): void } }>(
    'exporter-logs-otlp-grpc',
  );
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

type Signal = 'metrics' | 'logs';

const SIGNAL_NAMES: Record<Signal, string> = { metrics: 'Metrics', logs: 'Logs' };

interface SignalExporter {
  export(items: any, done: (result: ExportResult) => void): void;
}

/** Reports failed exports of metrics and logs, which OpenTelemetry does only at OTEL_LOG_LEVEL=error. */
export class ExportReports {
  readonly #settings: Settings;
  readonly #diagnostics: Diagnostics;
  readonly #inFlight = new Map<Signal, number>();
  /** Signals whose last export failed without a reason: the next one may have it. */
  readonly #unexplained = new Set<Signal>();

  constructor(settings: Settings, diagnostics: Diagnostics) {
    this.#settings = settings;
    this.#diagnostics = diagnostics;
  }

  watch<Exporter extends SignalExporter>(exporter: Exporter, signal: Signal): Exporter {
    const send = exporter.export;
    exporter.export = (items, done) => {
      this.#count(signal, 1);
      send.call(exporter, items, (result) => {
        this.#count(signal, -1);
        this.#unexplained.delete(signal);
        if (result.code !== ExportResultCode.SUCCESS) this.#warn(signal, result.error);
        done(result);
      });
    };
    return exporter;
  }

  /** At exit: requests without an answer by now never get one. */
  reportUnfinished(): void {
    const timeout = `no answer within ${this.#settings.flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`;
    for (const [signal, count] of this.#inFlight) if (count > 0) this.#warn(signal, new Error(timeout));
    this.#inFlight.clear();
    for (const signal of this.#unexplained) this.#warn(signal, new Error('No connection was made in time'));
  }

  #count(signal: Signal, change: 1 | -1): void {
    this.#inFlight.set(signal, (this.#inFlight.get(signal) ?? 0) + change);
  }

  #warn(signal: Signal, thrown: Error | undefined): void {
    const protocol = signalProtocol(this.#settings, signal);
    const url = urlOf(this.#settings, signal);
    const error = otlpErrorOf(thrown, protocol === 'grpc');
    if (error.message === '') {
      this.#unexplained.add(signal);
      return;
    }
    const target = { protocol, url, variables: variablesOf(this.#settings, signal) };
    const reason = shortReason(reasonFor(error, target));
    const isAnswer = error.status !== undefined;
    const event = isAnswer ? `Collector rejected ${signal}` : `${SIGNAL_NAMES[signal]} cannot be sent`;
    this.#diagnostics.warn(`${event} (${withoutCredentials(url)}): ${reason}.${connectionHint(reason)}`);
  }
}

/** Statuses that grpc-js gives to a call without an answer, too. */
const WITHOUT_ANSWER: ReadonlySet<number> = new Set([
  GrpcStatus.CANCELLED,
  GrpcStatus.DEADLINE_EXCEEDED,
  GrpcStatus.UNAVAILABLE,
]);

/** The error of one of OpenTelemetry's exporters, as the preload's own senders have it. */
function otlpErrorOf(error: Error | undefined, isGrpc: boolean): OtlpError {
  const { code, details, message } = (error ?? {}) as {
    code?: unknown;
    details?: unknown;
    message?: unknown;
  };
  const text =
    [details, message].find((given): given is string => typeof given === 'string' && given !== '') ?? '';
  if (typeof code !== 'number') return new OtlpError(text, { isGrpc });
  if (!isGrpc) return new OtlpError(`HTTP status ${code}`, { status: code, isGrpc });
  if (!WITHOUT_ANSWER.has(code)) return new OtlpError(text, { status: code, isGrpc });
  return new OtlpError(lastConnectionError(text) ?? text, { isGrpc });
}
