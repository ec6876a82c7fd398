/**
 * Metrics and logs, a part that is loaded when an exporter of them is named. Exporters are created here and
 * not by NodeSDK. So OTEL_EXPORTER_OTLP_PROTOCOL has the same default for all signals, grpc, and each
 * variable is read in one place.
 */
import type { LogRecordExporter, LogRecordProcessor, ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type {
  AggregationOption,
  AggregationTemporality,
  AggregationTemporalitySelector,
  IMetricReader,
  InstrumentType,
  PushMetricExporter,
  ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { LONGEST_TIMER_MS, type Settings } from '../config/settings.ts';
import { shortReason } from '../otlp/exporter.ts';
import type { TimeLimit } from '../otlp/sender.ts';
import { type SignalExport, SignalExporter } from '../otlp/signal-exporter.ts';
import { type OtlpTarget, targetOf } from '../otlp/target.ts';
import type { Diagnostics } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';

type New<Options, Instance> = new (options: Options) => Instance;

/** @param exporters gets those of OTLP */
export function metricReaders(
  settings: Settings,
  diagnostics: Diagnostics,
  exporters: SignalExporter<never>[],
): IMetricReader[] {
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
    const exporter = new OtlpMetricExporter(settings, diagnostics);
    exporters.push(exporter);
    return periodic(exporter);
  });
}

class OtlpMetricExporter extends SignalExporter<ResourceMetrics> implements PushMetricExporter {
  readonly selectAggregation: SelectAggregation;
  readonly selectAggregationTemporality: AggregationTemporalitySelector;

  constructor(settings: Settings, { warn }: Diagnostics) {
    const part = loadChunk<
      Serializers<ResourceMetrics> &
        Record<Settings['metricsTemporality'], (type: InstrumentType) => AggregationTemporality>
    >('otlp-metrics');
    const target = targetOf(settings, 'metrics');
    const { metricExportTimeoutMs, metricExportIntervalMs } = settings;
    const limit = limitOf(target, settings.metricsExportTimeoutMs ?? settings.exportTimeoutMs, [
      { ms: metricExportTimeoutMs, variable: 'OTEL_METRIC_EXPORT_TIMEOUT' },
      // Requests of an unreachable collector must not add up.
      { ms: metricExportIntervalMs, variable: 'OTEL_METRIC_EXPORT_INTERVAL' },
    ]);
    super({ target, limit, serialize: serializeBy(part, target), warn });
    this.selectAggregation = aggregationOf(settings.histogramAggregation);
    this.selectAggregationTemporality = part[settings.metricsTemporality];
  }
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

/** @param exporters gets those of OTLP */
export function logProcessors(
  settings: Settings,
  { warn }: Diagnostics,
  exporters: SignalExporter<never>[],
): LogRecordProcessor[] {
  const { BatchLogRecordProcessor, SimpleLogRecordProcessor, ConsoleLogRecordExporter } = loadChunk<{
    BatchLogRecordProcessor: New<BatchOptions, LogRecordProcessor>;
    SimpleLogRecordProcessor: New<{ exporter: LogRecordExporter }, LogRecordProcessor>;
    ConsoleLogRecordExporter: new () => LogRecordExporter;
  }>('sdk-logs');
  return settings.logsExporter.map((name) => {
    if (name === 'console') return new SimpleLogRecordProcessor({ exporter: new ConsoleLogRecordExporter() });
    const target = targetOf(settings, 'logs');
    const serializers = loadChunk<Serializers<ReadableLogRecord[]>>('otlp-logs');
    const limit = limitOf(target, settings.logsExportTimeoutMs ?? settings.exportTimeoutMs, [
      { ms: settings.logBatchTimeoutMs, variable: 'OTEL_BLRP_EXPORT_TIMEOUT' },
    ]);
    const exporter = new SignalExporter({ target, limit, serialize: serializeBy(serializers, target), warn });
    exporters.push(exporter);
    return new BatchLogRecordProcessor({
      exporter,
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

/** OpenTelemetry's serializers of a signal. */
type Serializers<Items> = Record<'protobuf' | 'json', { serializeRequest: SignalExport<Items>['serialize'] }>;

const serializeBy = <Items>(
  { protobuf, json }: Serializers<Items>,
  { protocol }: OtlpTarget,
): SignalExport<Items>['serialize'] => {
  const serializer = protocol === 'http/json' ? json : protobuf;
  return (items) => serializer.serializeRequest(items);
};

/** The shortest limit. */
const limitOf = ({ variables }: OtlpTarget, exportMs: number, others: TimeLimit[]): TimeLimit =>
  others.reduce((shortest, other) => (other.ms < shortest.ms ? other : shortest), {
    ms: exportMs,
    variable: variables.timeout,
  });
