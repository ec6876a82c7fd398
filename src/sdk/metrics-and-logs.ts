/**
 * Metrics and logs, which are off until their exporter is named. Their exporters are made here rather than by
 * NodeSDK, so that OTEL_EXPORTER_OTLP_PROTOCOL has one default for all signals, the traces' one, grpc; and so that every variable
 * is read in one way.
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
import { connectionHint, shortReason } from '../otlp/exporter.ts';
import { EXPORTER_FORMAT, signalProtocol, urlOf } from '../otlp/target.ts';
import { VERSION } from '../version.ts';
import type { Diagnostics } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';

export const isOff = (exporters: readonly string[]): boolean => exporters.includes('none');

type New<Options, Instance> = new (options: Options) => Instance;

export function metricReaders(settings: Settings, diagnostics: Diagnostics): IMetricReader[] {
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
    return periodic(reportingFailures(exporter, 'metrics', settings, diagnostics));
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
        `metrics cannot be scraped: ${shortReason(error)}. Set OTEL_EXPORTER_PROMETHEUS_PORT (${port}) to a free port, OTEL_EXPORTER_PROMETHEUS_HOST (${host ?? 'localhost'}) to an address of this host.`,
      );
  });
}

export function logProcessors(settings: Settings, diagnostics: Diagnostics): LogRecordProcessor[] {
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
      exporter: reportingFailures(exporter, 'logs', settings, diagnostics),
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

/** What an exporter of OpenTelemetry's is told. Certificates it reads itself, by their variables. */
interface OtlpOptions {
  url: string;
  headers?: Record<string, string>;
  /** Of grpc-js. */
  metadata?: object;
  compression: 'none' | 'gzip';
  timeoutMillis: number;
  userAgent: string;
}

function otlpOptions(settings: Settings, signal: 'metrics' | 'logs'): OtlpOptions {
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

/** OpenTelemetry tells of a failed export at OTEL_LOG_LEVEL=error only. */
function reportingFailures<
  Exporter extends { export(items: any, done: (result: ExportResult) => void): void },
>(exporter: Exporter, signal: 'metrics' | 'logs', settings: Settings, diagnostics: Diagnostics): Exporter {
  const send = exporter.export;
  exporter.export = function (this: Exporter, items, done) {
    send.call(this, items, (result) => {
      if (result.code !== ExportResultCode.SUCCESS) {
        const reason = shortReason(result.error).replace(/\.? Resolution note:.*$/, '');
        const verb = isAnswer(result.error) ? `are refused by` : `cannot be sent to`;
        diagnostics.warn(
          `${signal} ${verb} ${withoutCredentials(urlOf(settings, signal))}: ${reason}.${connectionHint(reason)}`,
        );
      }
      done(result);
    });
  };
  return exporter;
}

/** Of HTTP, or a code of gRPC that is not one of those that stand for no answer: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE. */
function isAnswer(error: Error | undefined): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'number' && ![1, 4, 14].includes(code);
}
