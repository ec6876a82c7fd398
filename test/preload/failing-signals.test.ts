/** A collector that accepts no signal: one line each with the fix, and a bounded exit. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/three-signals.mjs';

const FLUSH_TIMEOUT_MS = 1_000;
// For a busy machine; less than the 10 s for which the exporters would retry.
const SLACK_MS = 6_000;
/** Where each attempt fails at once. */
const AMPLE = { OTEL_NODE_FLUSH_TIMEOUT: '20000' };

const sockets = new Set<net.Socket>();
const servers = {
  /** Accepts connections and never answers. */
  silent: net.createServer((socket) => sockets.add(socket.on('error', () => {}))),
  /** Asks for credentials. */
  refusing: http.createServer((request, response) => {
    request.resume();
    response.writeHead(401).end();
  }),
  /** Closed before the tests. */
  absent: net.createServer(),
};
type Server = keyof typeof servers;
const urls = {} as Record<Server, string>;
before(async () => {
  for (const [name, server] of Object.entries(servers)) {
    await once(server.listen(0, '127.0.0.1'), 'listening');
    urls[name as Server] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  servers.absent.close();
});
after(() => {
  for (const socket of sockets) socket.destroy();
  servers.silent.close();
  servers.refusing.close();
});

async function run(
  endpoint: string,
  protocol: string,
  way: 'end' | 'exit',
  env: Record<string, string> = {},
) {
  const fixture = runs.start({
    file,
    args: [way],
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_LOGS_EXPORTER: 'otlp',
      OTEL_NODE_FLUSH_TIMEOUT: String(FLUSH_TIMEOUT_MS),
      ...env,
    },
  });
  await fixture.waitForStdout(/ready/);
  const beganMs = performance.now();
  const { stdout, stderr, code } = await fixture.ended;
  const endMs = performance.now() - beganMs;
  assert.deepEqual({ stdout, code }, { stdout: 'ready\n', code: way === 'exit' ? 3 : 0 });
  assert.ok(endMs < FLUSH_TIMEOUT_MS + SLACK_MS, `${endMs} ms`);
  return stderr.trimEnd().split('\n').sort();
}

const name = (signal: string) => (signal === 'logs' ? 'Logs' : 'Metrics');
const NO_ANSWER =
  'no answer within 1000 ms (OTEL_NODE_FLUSH_TIMEOUT). Check that a collector listens there, or run npx milvus-otel doctor.';

describe('at the exit of an app whose collector is', { concurrency: 2 }, () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json']) {
    const isGrpc = protocol === 'grpc';
    const path = (signal: string) => (isGrpc ? '' : `/v1/${signal}`);

    test(`unreachable by ${protocol}: each signal has its line`, async () => {
      const [logs, metrics, spans, ...others] = await run(urls.absent, protocol, 'end', AMPLE).then(inOrder);
      assert.deepEqual(others, []);
      const refused = `connect ECONNREFUSED ${urls.absent.slice('http://'.length)}. Check that a collector listens there, or run npx milvus-otel doctor.`;
      assert.equal(spans, `milvus-otel: 1 span was lost (${urls.absent}): ${refused}`);
      for (const [signal, line] of Object.entries({ logs, metrics }))
        assert.equal(
          line,
          `milvus-otel: ${name(signal)} cannot be sent (${urls.absent}${path(signal)}): ${refused}`,
        );
    });

    test(`silent to ${protocol}: each signal has its line`, async () => {
      const [logs, metrics, spans, ...others] = await run(urls.silent, protocol, 'end').then(inOrder);
      assert.deepEqual(others, []);
      assert.equal(spans, `milvus-otel: 1 span was lost (${urls.silent}): ${NO_ANSWER}`);
      for (const [signal, line] of Object.entries({ logs, metrics }))
        assert.equal(
          line,
          `milvus-otel: ${name(signal)} cannot be sent (${urls.silent}${path(signal)}): ${NO_ANSWER}`,
        );
    });
  }

  for (const endpoint of ['absent', 'silent'] as const)
    for (const protocol of ['grpc', 'http/protobuf'])
      test(`${endpoint} by ${protocol}, process.exit() waits no longer, and its code stays`, async () => {
        const lines = await run(urls[endpoint], protocol, 'exit');
        assert.ok(lines.some((line) => line.startsWith('milvus-otel: 1 span was lost')));
        assert.ok(lines.length <= 3, lines.join('\n'));
      });

  test('one that asks for credentials: each line names the variable of its signal', async () => {
    const [logs, metrics, spans] = await run(urls.refusing, 'http/protobuf', 'end', {
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'authorization=Basic%20none',
    }).then(inOrder);
    const advice = 'HTTP status 401. Check';
    assert.match(spans ?? '', new RegExp(`: ${advice} OTEL_EXPORTER_OTLP_HEADERS\\.$`));
    assert.equal(
      logs,
      `milvus-otel: Collector rejected logs (${urls.refusing}/v1/logs): ${advice} OTEL_EXPORTER_OTLP_HEADERS.`,
    );
    assert.equal(
      metrics,
      `milvus-otel: Collector rejected metrics (${urls.refusing}/v1/metrics): ${advice} OTEL_EXPORTER_OTLP_METRICS_HEADERS.`,
    );
  });

  test('one with another protocol: each line names the protocol and its variable', async () => {
    const lines = await run(urls.refusing, 'grpc', 'end', AMPLE);
    assert.equal(lines.length, 3);
    const port = new URL(urls.refusing).port;
    for (const line of lines)
      assert.match(
        line,
        new RegExp(`: port ${port} does not use gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use`),
      );
  });
});

test('while an app runs, a signal that fails again and again has one line', async () => {
  const { stderr } = await runs.run({
    file: 'test/fixtures/metrics-for-a-while.mjs',
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: urls.absent,
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_LOGS_EXPORTER: 'otlp',
      OTEL_METRIC_EXPORT_INTERVAL: '100',
      OTEL_BLRP_SCHEDULE_DELAY: '100',
    },
  });
  const lines = stderr.trimEnd().split('\n').sort();
  assert.equal(lines.length, 2, stderr);
  assert.match(lines[0] ?? '', /^milvus-otel: Logs cannot be sent \(/);
  assert.match(lines[1] ?? '', /^milvus-otel: Metrics cannot be sent \(/);
});

describe('an app that exports metrics every 100 ms exits as usual when its collector is', {
  concurrency: 2,
}, () => {
  for (const endpoint of ['absent', 'silent'] as const)
    for (const protocol of ['grpc', 'http/protobuf'])
      test(`${endpoint} by ${protocol}`, async () => {
        const startedMs = performance.now();
        const { code, stderr } = await runs.run({
          file: 'test/fixtures/metrics-for-a-while.mjs',
          env: {
            OTEL_EXPORTER_OTLP_ENDPOINT: urls[endpoint],
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_TRACES_EXPORTER: 'none',
            OTEL_METRICS_EXPORTER: 'otlp',
            OTEL_METRIC_EXPORT_INTERVAL: '100',
            OTEL_NODE_FLUSH_TIMEOUT: String(FLUSH_TIMEOUT_MS),
          },
        });
        const tookMs = performance.now() - startedMs;
        assert.equal(code, 0);
        assert.match(stderr, /^milvus-otel: Metrics cannot be sent [^\n]*\n$/);
        assert.ok(tookMs < 1_000 + FLUSH_TIMEOUT_MS + SLACK_MS, `${tookMs} ms`);
      });
});

test('a top-level await that never settles keeps its exit code when no answer arrives in time', async () => {
  const { code } = await runs.run({
    file: 'test/fixtures/exits.mjs',
    args: ['never-settle'],
    env: {
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: urls.silent,
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_NODE_FLUSH_TIMEOUT: String(FLUSH_TIMEOUT_MS),
    },
  });
  assert.equal(code, 13);
});

/** Lines of logs, metrics and spans. */
const inOrder = (lines: string[]): string[] =>
  [/^[^(]* logs /i, /^[^(]* metrics /i, /: \d+ spans? /]
    .map((pattern) => {
      const found = lines.find((line) => pattern.test(line));
      assert.ok(found !== undefined, lines.join('\n'));
      lines.splice(lines.indexOf(found), 1);
      return found;
    })
    .concat(lines);
