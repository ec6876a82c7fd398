/** After process.exit(), the sender trusts and reaches the collector as the running app does. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startTls } from '../../tools/reliability/collectors.ts';
import { type Keys, makeKeys } from '../../tools/reliability/faults.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/exit-spans.mjs';

let keys: Keys;
before(async () => {
  keys = await makeKeys();
});
after(() => keys.remove());

interface Trust {
  nodeArgs?: string[];
  env?: (authority: string) => Record<string, string>;
  /** The way of exit-spans.mjs; 'exit' when not given. */
  way?: string;
  /** Only grpc-js reads it. */
  grpcOnly?: true;
}

const fromFile = (authority: string) => ({ SSL_CERT_FILE: authority });

const TRUSTS: Record<string, Trust> = {
  '--use-system-ca': { nodeArgs: ['--use-system-ca'], env: fromFile },
  'NODE_OPTIONS=--use-system-ca': { env: (file) => ({ ...fromFile(file), NODE_OPTIONS: '--use-system-ca' }) },
  '--use-openssl-ca': { nodeArgs: ['--use-openssl-ca'], env: fromFile },
  'NODE_TLS_REJECT_UNAUTHORIZED=0': { env: () => ({ NODE_TLS_REJECT_UNAUTHORIZED: '0' }) },
  GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: {
    env: (file) => ({ GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: file }),
    grpcOnly: true,
  },
  'tls.setDefaultCACertificates()': { way: 'trusts-and-exits' },
};

for (const protocol of ['grpc', 'http/protobuf']) {
  describe(`over ${protocol}, process.exit() keeps the spans of an app that trusts its collector by`, {
    concurrency: 2,
  }, () => {
    for (const [what, { nodeArgs = [], env, way = 'exit', grpcOnly }] of Object.entries(TRUSTS)) {
      if (grpcOnly && protocol !== 'grpc') continue;
      test(what, async (t) => {
        const { authority } = keys.files;
        const { grpcPort, httpPort } = runs.receiver;
        const collector = await startTls(protocol === 'grpc' ? grpcPort : httpPort, keys.server);
        t.after(() => collector.stop());
        const { service, code, stderr } = await runs.run({
          file,
          args: [way, authority],
          nodeArgs,
          env: {
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${collector.port}`,
            OTEL_NODE_FLUSH_TIMEOUT: '15000',
            ...env?.(authority),
          },
          timeoutMs: 60_000,
        });
        assert.equal(code, 3);
        assert.doesNotMatch(stderr, /milvus-otel/);
        await runs.spans(service, 3);
      });
    }
  });
}
