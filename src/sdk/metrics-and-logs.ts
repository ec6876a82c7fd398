/**
 * Metrics and logs, which are off until their exporter is named. Their exporters are made here rather than by
 * NodeSDK, so that OTEL_EXPORTER_OTLP_PROTOCOL has one default for all signals: the traces' one, grpc.
 */
import type { LogRecordExporter, LogRecordProcessor } from '@opentelemetry/sdk-logs';
import type { IMetricReader, PushMetricExporter } from '@opentelemetry/sdk-metrics';
import type { Settings } from '../config/settings.ts';
import { EXPORTER_FORMAT, signalProtocol, signalUrl } from '../otlp/target.ts';
import { loadChunk } from './lazy-modules.ts';

export const isOff = (exporters: readonly string[]): boolean => exporters.includes('none');

type New<Options, Instance> = new (options: Options) => Instance;

export function metricReaders(settings: Settings): IMetricReader[] {
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
    if (name === 'prometheus') {
      const { PrometheusExporter } = loadChunk<{
        PrometheusExporter: New<{ port: number; host: string | undefined }, IMetricReader>;
      }>('exporter-prometheus');
      return new PrometheusExporter({ port: settings.prometheusPort, host: settings.prometheusHost });
    }
    const format = EXPORTER_FORMAT[signalProtocol(settings, 'metrics')];
    const { OTLPMetricExporter } = loadChunk<{
      OTLPMetricExporter: New<{ url?: string }, PushMetricExporter>;
    }>(`exporter-metrics-otlp-${format}`);
    return periodic(new OTLPMetricExporter(signalUrl(settings, 'metrics')));
  });
}

export function logProcessors(settings: Settings): LogRecordProcessor[] {
  if (isOff(settings.logsExporter)) return [];
  const { BatchLogRecordProcessor, SimpleLogRecordProcessor, ConsoleLogRecordExporter } = loadChunk<{
    BatchLogRecordProcessor: New<{ exporter: LogRecordExporter }, LogRecordProcessor>;
    SimpleLogRecordProcessor: New<{ exporter: LogRecordExporter }, LogRecordProcessor>;
    ConsoleLogRecordExporter: new () => LogRecordExporter;
  }>('sdk-logs');
  return settings.logsExporter.map((name) => {
    if (name === 'console') return new SimpleLogRecordProcessor({ exporter: new ConsoleLogRecordExporter() });
    const format = EXPORTER_FORMAT[signalProtocol(settings, 'logs')];
    const { OTLPLogExporter } = loadChunk<{ OTLPLogExporter: New<{ url?: string }, LogRecordExporter> }>(
      `exporter-logs-otlp-${format}`,
    );
    return new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(signalUrl(settings, 'logs')) });
  });
}
