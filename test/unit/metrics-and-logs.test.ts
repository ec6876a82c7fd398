/** The exporters of metrics and logs, and the lines about their failures. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { readSettings } from '../../src/config/settings.ts';
import { ExportReports, isOff, logProcessors, metricReaders } from '../../src/sdk/metrics-and-logs.ts';
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
for (const format of ['grpc', 'http', 'proto']) {
  stub(`exporter-metrics-otlp-${format}`, ['OTLPMetricExporter']);
  const metadata = 'export class Metadata { values = {}; set(name, value) { this.values[name] = value; } }';
  stub(`exporter-logs-otlp-${format}`, ['OTLPLogExporter'], metadata);
}

let lines: string[] = [];
const diagnostics = { warn: (line: string) => lines.push(line), info: () => assert.fail() };
beforeEach(() => {
  lines = [];
});
afterEach(() => {
  made.length = 0;
});

const start = (env: Record<string, string>) => {
  const settings = readSettings(env);
  const reports = new ExportReports(settings, diagnostics);
  return { metrics: metricReaders(settings, diagnostics, reports), logs: logProcessors(settings, reports) };
};
const optionsOf = (what: string) => made.find((one) => one.what === what)?.options;

test('nothing is created, or loaded, until an exporter is named', () => {
  assert.deepEqual([start({}), made], [{ metrics: [], logs: [] }, []]);
  assert.deepEqual([isOff(['otlp', 'none']), isOff(['otlp'])], [true, false]);
});

test('each named exporter gets a reader or a processor', () => {
  const { metrics, logs } = start({
    OTEL_METRICS_EXPORTER: 'otlp,console',
    OTEL_LOGS_EXPORTER: 'otlp,console',
  });
  assert.deepEqual([metrics.length, logs.length], [2, 2]);
});

describe('an OTLP exporter', () => {
  const common = { OTEL_METRICS_EXPORTER: 'otlp', OTEL_LOGS_EXPORTER: 'otlp' };

  test('sends over the protocol of its signal, by default gRPC', () => {
    start({ ...common, OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json' });
    const parts = made.map(({ part }) => part).filter((part) => part.includes('otlp'));
    assert.deepEqual(parts, ['exporter-metrics-otlp-grpc', 'exporter-logs-otlp-http']);
    assert.equal(optionsOf('OTLPMetricExporter').url, 'http://localhost:4317');
    assert.equal(optionsOf('OTLPLogExporter').url, 'http://localhost:4318/v1/logs');
  });

  test('has the headers of all signals and its own, which count more', () => {
    const env = {
      ...common,
      OTEL_EXPORTER_OTLP_HEADERS: 'a=1,b=1',
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'b=2',
      OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/protobuf',
    };
    start(env);
    assert.deepEqual(optionsOf('OTLPMetricExporter').headers, { a: '1', b: '2' });
    assert.deepEqual(optionsOf('OTLPLogExporter').metadata.values, { a: '1', b: '1' });
  });

  test('has the time limit and compression of its signal, else those of all signals', () => {
    start({
      ...common,
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      OTEL_EXPORTER_OTLP_LOGS_TIMEOUT: '700',
      OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: 'gzip',
    });
    const [ofMetrics, ofLogs] = [optionsOf('OTLPMetricExporter'), optionsOf('OTLPLogExporter')];
    assert.deepEqual([ofMetrics.timeoutMillis, ofLogs.timeoutMillis], [500, 700]);
    assert.deepEqual([ofMetrics.compression, ofLogs.compression], ['gzip', 'none']);
  });

  test('aggregates histograms as it is set, and nothing else', () => {
    for (const [value, type] of [
      ['explicit_bucket_histogram', 0],
      ['base2_exponential_bucket_histogram', 5],
    ] as const) {
      made.length = 0;
      start({ ...common, OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: value });
      const select = optionsOf('OTLPMetricExporter').aggregationPreference;
      assert.deepEqual([select('HISTOGRAM').type, select('COUNTER').type], [type, 0]);
    }
  });
});

test('limits that contradict are made to fit: the reader and the processor would throw', () => {
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

describe('a failed export', () => {
  /** The lines after exports of metrics that ended so. */
  function report(failures: (object | undefined)[], env: Record<string, string> = {}): string[] {
    const reports = new ExportReports(readSettings(env), diagnostics);
    const results = failures.values();
    const exporter = reports.watch(
      {
        export(_items: unknown, done: (result: ExportResult) => void) {
          const error = results.next().value as Error | undefined;
          done({ code: error === undefined ? ExportResultCode.SUCCESS : ExportResultCode.FAILED, error });
        },
      },
      'metrics',
    );
    for (const failure of failures) {
      let passed: ExportResult | undefined;
      exporter.export([], (result) => {
        passed = result;
      });
      assert.equal(passed?.error, failure, 'the caller gets its result');
    }
    reports.reportUnfinished();
    return lines;
  }

  test('without an answer says that nothing can be sent, with a hint', () => {
    assert.deepEqual(report([{ code: 14, details: 'connect ECONNREFUSED 127.0.0.1:4317' }]), [
      'Metrics cannot be sent (http://localhost:4317): connect ECONNREFUSED 127.0.0.1:4317. Check that a collector listens there, or run npx milvus-otel doctor.',
    ]);
  });

  test("with an answer is the collector's refusal, and names the variable", () => {
    assert.deepEqual(report([{ code: 16, details: 'no token' }]), [
      'Collector rejected metrics (http://localhost:4317): no token. Check OTEL_EXPORTER_OTLP_HEADERS.',
    ]);
    lines = [];
    const http = { OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/protobuf' };
    assert.deepEqual(report([{ code: 400, message: 'Bad Request' }], http), [
      'Collector rejected metrics (http://localhost:4318/v1/metrics): HTTP status 400.',
    ]);
  });

  test('has no credentials of the endpoint in its line', () => {
    const [line = ''] = report([{ message: 'broken' }], {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://mary:hunter2@host:4317',
    });
    assert.match(line, /^Metrics cannot be sent \(http:\/\/[^)]*host:4317\): broken\.$/);
    assert.ok(!line.includes('hunter2'));
  });

  test('without a reason waits for that of the next one, and is reported at exit at the latest', () => {
    const unexplained = {
      code: 14,
      details: 'No connection established. Last error: null. Resolution note: ',
    };
    assert.match(report([unexplained])[0] ?? '', /No connection was made in time/);
    lines = [];
    assert.equal(report([unexplained, { message: 'broken' }]).length, 1);
    lines = [];
    assert.deepEqual(report([unexplained, undefined]), []);
  });

  test('that has no answer at exit names the limit, once', () => {
    const reports = new ExportReports(readSettings({ OTEL_NODE_FLUSH_TIMEOUT: '700' }), diagnostics);
    const exporter = reports.watch({ export() {} }, 'logs') as {
      export(items: unknown, done: () => void): void;
    };
    exporter.export([], () => {});
    reports.reportUnfinished();
    reports.reportUnfinished();
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      /^Logs cannot be sent \(.*\): no answer within 700 ms \(OTEL_NODE_FLUSH_TIMEOUT\)\./,
    );
  });

  test('is none when every export was accepted', () => {
    assert.deepEqual(report([undefined, undefined]), []);
  });
});
