/** A span that cannot be serialized is the only one that is lost. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { useRuns } from './runs.ts';

const runs = useRuns();

describe('a span that cannot be serialized takes no other with it,', { concurrency: 2 }, () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json']) {
    for (const [exit, args] of Object.entries({ 'at a normal exit': [], 'at process.exit()': ['exit'] })) {
      test(`over ${protocol}, ${exit}`, async () => {
        const port = protocol === 'grpc' ? runs.receiver.grpcPort : runs.receiver.httpPort;
        const { service, code, stdout, stderr } = await runs.run({
          file: 'test/fixtures/unserializable-span.mjs',
          args,
          env: {
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
          },
        });
        assert.deepEqual({ code, stdout }, { code: 0, stdout: '' });
        assert.match(
          stderr,
          /^milvus-otel: 1 span was lost \(.*\): a span could not be serialized: no keys\.\n$/,
        );
        const spans = await runs.spans(service, 2);
        assert.deepEqual(
          spans.map(({ name }) => name),
          ['first', 'last'],
        );
      });
    }
  }
});
