/** Metrics are off by default; when on, they go where spans go, and a bad setting costs no span. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startReceiver } from '../../tools/servers/receiver.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/search-then-exit.mjs';

describe('metrics', { concurrency: 2 }, () => {
  const wire = {
    grpc: ['/opentelemetry.proto.collector.metrics.v1.MetricsService/Export'],
    'http/protobuf': ['/v1/metrics'],
    'http/json': ['/v1/metrics'],
    'off by default': [],
  };
  for (const [protocol, paths] of Object.entries(wire)) {
    test(protocol, async (t) => {
      const receiver = await startReceiver();
      t.after(() => receiver.stop());
      const port = protocol.startsWith('http') ? receiver.httpPort : receiver.grpcPort;
      const { stdout, stderr, code } = await runs.run({
        file,
        args: ['exit-code'],
        env: {
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
          ...(paths.length === 0
            ? {}
            : { OTEL_METRICS_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: protocol }),
        },
      });
      assert.deepEqual({ stdout, stderr, code }, { stdout: 'found 5\nready\n', stderr: '', code: 3 });
      await receiver.waitForSpans(({ length }) => length === 2, 5_000);
      const sent = receiver.requests().map(({ path }) => path);
      assert.deepEqual([...new Set(sent.filter((path) => /metrics/.test(path)))], paths);
    });
  }

  for (const variable of ['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT']) {
    test(`an unusable ${variable} costs one line, and spans arrive`, async () => {
      const { service, stdout, stderr, code } = await runs.run({
        file,
        args: ['exit-code'],
        env: {
          OTEL_METRICS_EXPORTER: 'otlp',
          OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
          [variable]: 'nowhere at all',
        },
      });
      assert.deepEqual({ stdout, code }, { stdout: 'found 5\nready\n', code: 3 });
      const [problem = '', ...others] = stderr.trimEnd().split('\n');
      assert.match(problem, new RegExp(`^milvus-otel: ${variable}=nowhere at all `));
      // The default endpoint has no listener, or one of another program.
      for (const line of others)
        assert.match(line, /^milvus-otel: (Metrics cannot be sent|Collector rejected metrics) \(http:/);
      await runs.spans(service, 2);
    });
  }
});
