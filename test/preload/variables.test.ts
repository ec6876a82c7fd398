/** Variables of all signals in real processes: the requests to a collector, and the reports of failures. */
import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/apps/limits-and-logs.mjs';

interface Posted {
  service: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: any;
}

/** Accepts OTLP in JSON, and answers with `status`. */
async function startCollector(status = 200): Promise<{ url: string; posted: Posted[]; server: Server }> {
  const posted: Posted[] = [];
  const server = createServer(async (request, response) => {
    const bytes = Buffer.concat(await request.toArray());
    const body = JSON.parse(
      String(request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes),
    );
    const resource = Object.values<any>(body)[0]?.[0]?.resource?.attributes ?? [];
    const service = resource.find(({ key }: { key: string }) => key === 'service.name')?.value.stringValue;
    posted.push({ service, path: request.url ?? '', headers: request.headers, body });
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posted, server };
}

let collector: Awaited<ReturnType<typeof startCollector>>;
let refusing: Awaited<ReturnType<typeof startCollector>>;
before(async () => {
  [collector, refusing] = await Promise.all([startCollector(), startCollector(400)]);
});
after(() => {
  for (const { server } of [collector, refusing]) {
    server.closeAllConnections();
    server.close();
  }
});

const all = (url: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_PROTOCOL: 'HTTP/JSON',
  OTEL_TRACES_EXPORTER: 'OTLP',
  OTEL_METRICS_EXPORTER: 'Otlp',
  OTEL_LOGS_EXPORTER: 'oTLP',
  // On a busy machine, a collector is slow.
  OTEL_NODE_FLUSH_TIMEOUT: '20000',
});

/** The requests of one service, by signal. */
async function run(env: Record<string, string>) {
  const { service, stdout, stderr, code } = await runs.run({ file, env: { ...all(collector.url), ...env } });
  assert.equal(code, 0, stderr);
  const own = collector.posted.filter((request) => request.service === service);
  const of = (signal: string) => own.filter(({ path }) => path === `/v1/${signal}`);
  const spans = of('traces').flatMap(({ body }) =>
    body.resourceSpans.flatMap((one: any) => one.scopeSpans.flatMap((scope: any) => scope.spans)),
  );
  const found = {
    work: spans.find(({ name }) => name === 'work'),
    traces: of('traces'),
    metrics: of('metrics'),
    logs: of('logs'),
  };
  return { ...found, stderr, headers: JSON.parse(stdout).headers as string[] };
}

const instruments = (metrics: Posted[]) =>
  metrics.flatMap(({ body }) =>
    body.resourceMetrics.flatMap((one: any) => one.scopeMetrics.flatMap((scope: any) => scope.metrics)),
  );

describe('variables of all signals', { concurrency: 2 }, () => {
  test('exporters, protocol, compression and propagators are read in any letter case', async () => {
    const { traces, metrics, logs, headers, stderr } = await run({
      OTEL_EXPORTER_OTLP_COMPRESSION: 'GZIP',
      OTEL_PROPAGATORS: 'B3Multi,TraceContext,b3multi',
    });
    assert.equal(stderr, '');
    for (const requests of [traces, metrics, logs]) {
      assert.ok(requests.length > 0);
      for (const request of requests) assert.equal(request.headers['content-encoding'], 'gzip');
    }
    assert.deepEqual(headers, ['traceparent', 'x-b3-sampled', 'x-b3-spanid', 'x-b3-traceid']);
  });

  test('a sampler is read in any letter case', async () => {
    const { work, metrics } = await run({ OTEL_TRACES_SAMPLER: 'Always_OFF' });
    assert.equal(work, undefined);
    assert.equal(metrics.length, 1);
  });

  test('every request has the headers of its signal, the valid ones of a list, and names the sender', async () => {
    const { traces, metrics, logs, stderr } = await run({
      OTEL_EXPORTER_OTLP_HEADERS: 'X-Team=search%20team,note=100%hunter2,X-Key=a=b;c',
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'x-only=metrics',
      OTEL_EXPORTER_OTLP_LOGS_HEADERS: 'x-only=logs',
    });
    for (const [requests, only] of [
      [traces, undefined],
      [metrics, 'metrics'],
      [logs, 'logs'],
    ] as const) {
      assert.ok(requests.length > 0);
      for (const { headers } of requests) {
        assert.deepEqual(
          [headers['x-team'], headers['x-key'], headers.note, headers['x-only']],
          ['search team', 'a=b;c', undefined, only],
        );
        assert.match(headers['user-agent'] ?? '', /milvus-otel\/\d/);
      }
    }
    assert.match(stderr, /^milvus-otel: OTEL_EXPORTER_OTLP_HEADERS: note=\*\*\* [^\n]*\n$/);
    assert.doesNotMatch(stderr, /hunter2/);
  });

  test('limits hold for attributes, events and links', async () => {
    const { work } = await run({
      OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: '2',
      OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT: '3',
      OTEL_SPAN_EVENT_COUNT_LIMIT: '1',
      OTEL_SPAN_LINK_COUNT_LIMIT: '1',
      OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT: '2',
      OTEL_LINK_ATTRIBUTE_COUNT_LIMIT: '0',
    });
    const keys = (attributes: { key: string }[]) => attributes.map(({ key }) => key);
    assert.deepEqual(keys(work.attributes), ['a', 'b']);
    assert.equal(work.attributes[0].value.stringValue, 'aaa');
    assert.deepEqual([work.events.length, keys(work.events[0].attributes)], [1, ['a', 'b']]);
    assert.deepEqual([work.links.length, keys(work.links[0].attributes ?? [])], [1, []]);
  });

  test('without limits, all of it arrives', async () => {
    const { work } = await run({});
    assert.deepEqual([work.attributes.length, work.events.length, work.links.length], [3, 2, 2]);
    assert.deepEqual([work.events[0].attributes.length, work.links[0].attributes.length], [3, 3]);
  });

  test('batches of log records have the size of OTEL_BLRP_MAX_EXPORT_BATCH_SIZE', async () => {
    const { logs } = await run({ OTEL_BLRP_MAX_EXPORT_BATCH_SIZE: '2', OTEL_BLRP_EXPORT_TIMEOUT: '0' });
    const sizes = logs.map(
      ({ body }) =>
        body.resourceLogs.flatMap((one: any) => one.scopeLogs.flatMap((scope: any) => scope.logRecords))
          .length,
    );
    assert.deepEqual(sizes, [2, 2]);
  });

  test('temporality and the aggregation of histograms are as configured, whatever the timeouts', async () => {
    const { metrics, stderr } = await run({
      OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'DELTA',
      OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: 'base2_exponential_bucket_histogram',
      OTEL_EXPORTER_OTLP_TIMEOUT: '0',
      OTEL_METRIC_EXPORT_TIMEOUT: '0',
    });
    assert.equal(stderr, '');
    const [things, sizes] = ['things', 'sizes'].map((wanted) =>
      instruments(metrics).find(({ name }: { name: string }) => name === wanted),
    );
    assert.equal(things.sum.aggregationTemporality, 1);
    assert.ok('exponentialHistogram' in sizes, JSON.stringify(sizes));
  });

  test('spans in Zipkin’s format have their start in whole microseconds', async () => {
    const path = '/api/v2/spans';
    const { stderr } = await runs.run({
      file,
      env: { OTEL_TRACES_EXPORTER: 'zipkin', OTEL_EXPORTER_ZIPKIN_ENDPOINT: collector.url + path },
    });
    assert.equal(stderr, '');
    const spans = collector.posted.flatMap((request) => (request.path === path ? request.body : []));
    assert.deepEqual(spans.map(({ name }) => name).sort(), ['first', 'given start', 'work']);
    for (const { timestamp } of spans) assert.ok(Number.isInteger(timestamp), String(timestamp));
    assert.equal(spans.find(({ name }) => name === 'given start').timestamp, 1_700_000_000_123_456);
  });

  test('metrics and logs that are refused are reported like spans', async () => {
    const { stderr, code } = await runs.run({ file, env: all(refusing.url) });
    assert.equal(code, 0);
    for (const signal of ['metrics', 'logs'])
      assert.match(
        stderr,
        new RegExp(`^milvus-otel: Collector rejected ${signal} \\(${refusing.url}/v1/${signal}\\): .+$`, 'm'),
      );
  });

  test('metrics and logs to a collector that is unreachable are reported', async () => {
    const { stderr, code } = await runs.run({
      file,
      env: all('http://127.0.0.1:1'),
    });
    assert.equal(code, 0);
    for (const signal of ['metrics', 'logs'])
      assert.match(
        stderr,
        new RegExp(
          `^milvus-otel: (Metrics|Logs) cannot be sent \\(http://127.0.0.1:1/v1/${signal}\\): connect ECONNREFUSED .*$`,
          'm',
        ),
      );
  });

  test('metrics and logs arrive over gRPC, with the headers of their signals', async () => {
    const { service, stderr } = await runs.run({
      file,
      env: {
        ...all(`http://127.0.0.1:${runs.receiver.grpcPort}`),
        OTEL_EXPORTER_OTLP_PROTOCOL: 'GRPC',
        OTEL_EXPORTER_OTLP_HEADERS: 'x-run=over-grpc',
      },
    });
    assert.equal(stderr, '', service);
    const own = runs.receiver.requests().filter(({ headers }) => headers['x-run'] === 'over-grpc');
    for (const signal of ['trace', 'metrics', 'logs']) {
      const request = own.find(({ path }) => path.includes(`.collector.${signal}.`));
      assert.match(request?.headers['user-agent'] ?? '', /^milvus-otel\/\d/, `${signal} in ${own.length}`);
    }
  });

  test('a port for Prometheus that is in use is reported in one line', async () => {
    const { port } = collector.server.address() as AddressInfo;
    const { stderr, code } = await runs.run({
      file,
      env: {
        OTEL_METRICS_EXPORTER: 'prometheus',
        OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
        OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
        OTEL_NODE_FLUSH_TIMEOUT: '20000',
      },
    });
    assert.equal(code, 0);
    assert.match(
      stderr,
      /^milvus-otel: Metrics cannot be scraped: [^\n]*EADDRINUSE[^\n]*OTEL_EXPORTER_PROMETHEUS_PORT[^\n]*\n$/,
    );
  });
});
