/** The exporters of metrics and logs, by the variables. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { isOff, readSettings } from '../../src/config/settings.ts';
import type { SignalExporter } from '../../src/otlp/signal-exporter.ts';
import type { OtlpTarget } from '../../src/otlp/target.ts';
import { logProcessors, metricReaders } from '../../src/sdk/metrics-and-logs.ts';
import { stubPart } from '../support/source-parts.ts';

/** What the constructors of the stubs got. */
const made: { what: string; options: any; part: string }[] = [];
Object.assign(globalThis, { madeByStubs: made });

function stub(part: string, names: string[], more = ''): void {
  const classes = names.map(
    (name) => `export class ${name} {
      constructor(options) { madeByStubs.push({ what: '${name}', options, part: '${part}' }); }
      export() {}
    }`,
  );
  stubPart(part, [...classes, more].join('\n'));
}

stub('sdk-metrics', ['PeriodicExportingMetricReader', 'ConsoleMetricExporter']);
stub('sdk-logs', ['BatchLogRecordProcessor', 'SimpleLogRecordProcessor', 'ConsoleLogRecordExporter']);
stubPart(
  'exporter-prometheus',
  `export class PrometheusExporter {
    constructor(_options, started) { started(new Error('listen EADDRINUSE: address already in use')); }
  }`,
);
/** Of each opened sender, its part, target and limit. */
const opened: { part: string; target: OtlpTarget; limit: object }[] = [];
Object.assign(globalThis, { openedByStubs: opened });
for (const part of ['otlp-over-grpc', 'otlp-over-http'])
  stubPart(
    part,
    `export const openSender = (target) => ({
      async send(_body, limit) {
        openedByStubs.push({ part: '${part}', target, limit });
        return new Uint8Array();
      },
    });`,
  );
for (const part of ['otlp-metrics', 'otlp-logs'])
  stubPart(
    part,
    `export const protobuf = { serializeRequest: () => Buffer.from('protobuf') };
    export const json = { serializeRequest: () => Buffer.from('json') };
    export const cumulative = () => 'cumulative';
    export const delta = () => 'delta';`,
  );

let lines: string[] = [];
const diagnostics = { warn: (line: string) => lines.push(line), info: () => assert.fail() };
beforeEach(() => {
  lines = [];
});
afterEach(() => {
  made.length = 0;
  opened.length = 0;
});

const start = (env: Record<string, string>) => {
  const settings = readSettings(env);
  const exporters: SignalExporter<never>[] = [];
  const { metricsExporter, logsExporter } = settings;
  const metrics = isOff(metricsExporter) ? [] : metricReaders(settings, diagnostics, exporters);
  const logs = isOff(logsExporter) ? [] : logProcessors(settings, diagnostics, exporters);
  return { metrics, logs, exporters };
};
const optionsOf = (what: string) => made.find((one) => one.what === what)?.options;

test('each named exporter gets a reader or a processor', () => {
  const { metrics, logs } = start({
    OTEL_METRICS_EXPORTER: 'otlp,console',
    OTEL_LOGS_EXPORTER: 'otlp,console',
  });
  assert.deepEqual([metrics.length, logs.length], [2, 2]);
});

describe('an OTLP exporter', () => {
  const common = { OTEL_METRICS_EXPORTER: 'otlp', OTEL_LOGS_EXPORTER: 'otlp' };

  /** What the senders of metrics and logs got. */
  async function exportBoth(env: Record<string, string>) {
    for (const exporter of start({ ...common, ...env }).exporters) {
      exporter.export([] as never, () => {});
      await exporter.forceFlush();
    }
    const [metrics, logs] = opened;
    assert.ok(metrics !== undefined && logs !== undefined && opened.length === 2);
    return { metrics, logs };
  }

  test('sends over the protocol of its signal, by default gRPC', async () => {
    const { metrics, logs } = await exportBoth({ OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json' });
    assert.deepEqual([metrics.part, logs.part], ['otlp-over-grpc', 'otlp-over-http']);
    assert.equal(metrics.target.url, 'http://localhost:4317');
    assert.equal(logs.target.url, 'http://localhost:4318/v1/logs');
  });

  test('has the headers of all signals and its own, which take precedence', async () => {
    const { metrics, logs } = await exportBoth({
      OTEL_EXPORTER_OTLP_HEADERS: 'a=1,b=1',
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'b=2',
    });
    assert.deepEqual(metrics.target.headers, { a: '1', b: '2' });
    assert.deepEqual(logs.target.headers, { a: '1', b: '1' });
  });

  test('has the shortest of its time limits, with its variable', async () => {
    const { metrics, logs } = await exportBoth({
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      OTEL_EXPORTER_OTLP_LOGS_TIMEOUT: '700',
      OTEL_METRIC_EXPORT_INTERVAL: '300',
    });
    assert.deepEqual(metrics.limit, { ms: 300, variable: 'OTEL_METRIC_EXPORT_INTERVAL' });
    assert.deepEqual(logs.limit, { ms: 700, variable: 'OTEL_EXPORTER_OTLP_LOGS_TIMEOUT' });
  });

  test('has the compression and certificates of its signal, else those of all signals', async () => {
    const { metrics, logs } = await exportBoth({
      OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: 'gzip',
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/all.pem',
      OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE: '/logs.pem',
    });
    assert.deepEqual([metrics.target.compression, metrics.target.certificate], ['gzip', '/all.pem']);
    assert.deepEqual([logs.target.compression, logs.target.certificate], ['none', '/logs.pem']);
  });

  test('applies the configured aggregation to histograms only', () => {
    for (const [value, type] of [
      ['explicit_bucket_histogram', 0],
      ['base2_exponential_bucket_histogram', 5],
    ] as const) {
      made.length = 0;
      start({ ...common, OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: value });
      const { exporter } = optionsOf('PeriodicExportingMetricReader');
      assert.deepEqual(
        [exporter.selectAggregation('HISTOGRAM').type, exporter.selectAggregation('COUNTER').type],
        [type, 0],
      );
    }
  });

  test('has the configured temporality', () => {
    start({ ...common, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' });
    const { exporter } = optionsOf('PeriodicExportingMetricReader');
    assert.equal(exporter.selectAggregationTemporality('COUNTER'), 'delta');
  });
});

test('contradicting limits are adjusted, since the reader and the processor would throw', () => {
  start({
    OTEL_METRICS_EXPORTER: 'console',
    OTEL_METRIC_EXPORT_INTERVAL: '100',
    OTEL_METRIC_EXPORT_TIMEOUT: '200',
    OTEL_LOGS_EXPORTER: 'otlp',
    OTEL_BLRP_MAX_QUEUE_SIZE: '10',
    OTEL_BLRP_MAX_EXPORT_BATCH_SIZE: '20',
  });
  assert.equal(optionsOf('PeriodicExportingMetricReader').exportTimeoutMillis, 100);
  assert.equal(optionsOf('BatchLogRecordProcessor').maxExportBatchSize, 10);
});

test('a port of Prometheus that is taken gives one line with the variables to change', () => {
  start({ OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_PORT: '9999' });
  assert.match(
    lines[0] ?? '',
    /^Metrics cannot be scraped: listen EADDRINUSE: .*\. Set OTEL_EXPORTER_PROMETHEUS_PORT \(9999\) .*HOST \(localhost\)/,
  );
});
