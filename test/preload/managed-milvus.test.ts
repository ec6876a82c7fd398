/** docs/deployments.md, managed Milvus: TLS and a token in front of a stub Milvus. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { createServer, type Server } from 'node:tls';
import { useRuns } from './runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '..', '..');
const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-managed-'));
const token = 'db_admin:PlantedSecret123';
let proxy: Server;

before(async () => {
  execFileSync('sh', [path.join(root, 'compose', 'production', 'certificates.sh'), scratch], {
    stdio: 'pipe',
  });
  const [key, cert] = ['key', 'crt'].map((kind) => readFileSync(path.join(scratch, `collector.${kind}`)));
  proxy = createServer({ key, cert, ALPNProtocols: ['h2'] }, (client) => {
    const [host, port] = runs.milvus.address.split(':');
    const milvus = connect(Number(port), host);
    client.pipe(milvus).pipe(client);
    for (const [end, other] of [
      [client, milvus],
      [milvus, client],
    ] as const) {
      end.on('error', () => {});
      end.on('close', () => other.destroy());
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => proxy.once('listening', resolve));
});

after(() => {
  proxy?.close();
  rmSync(scratch, { recursive: true });
});

test('over TLS with a token: the same spans, the context in each call, and the token is not shown', async () => {
  const { port } = proxy.address() as { port: number };
  const { service, stdout, stderr, code } = await runs.run({
    file: 'test/fixtures/managed.mjs',
    env: {
      MILVUS_ADDRESS: `https://localhost:${port}`,
      MILVUS_TOKEN: token,
      // Like a public authority: known to Node, not to the SDK.
      NODE_EXTRA_CA_CERTS: path.join(scratch, 'ca.crt'),
      OTEL_LOG_LEVEL: 'info',
    },
  });
  assert.deepEqual({ stdout, code }, { stdout: 'found 5\n', code: 0 });

  // connect default
  // search quick_setup
  const spans = await runs.spans(service, 2);
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['connect default', 'search quick_setup'],
  );
  for (const { attributes } of spans) {
    assert.equal(attributes['server.address'], 'localhost');
    assert.equal(Number(attributes['server.port']), port);
  }
  const search = runs.milvus.calls().findLast(({ method }) => method === 'Search');
  assert.deepEqual(
    search?.metadata.traceparent?.map((value) => value.split('-')[2]),
    [spans[1]?.spanId],
  );
  const secret = /PlantedSecret123|Bearer/;
  assert.doesNotMatch(JSON.stringify(spans), secret);
  assert.doesNotMatch(JSON.stringify(spans), new RegExp(Buffer.from(token).toString('base64')));
  assert.doesNotMatch(stderr, secret);
});
