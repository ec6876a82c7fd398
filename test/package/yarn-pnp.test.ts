/** An app installed by Yarn without node_modules (Plug'n'Play): only this package is not in an archive. */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { packInto } from '../../tools/processes/published.ts';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { yarnApp } from '../../tools/processes/yarn.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';

const root = path.join(import.meta.dirname, '..', '..');

let folder: string;
let receiver: Receiver;
before(async () => {
  await ensureDist();
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-yarn-'));
  receiver = await startReceiver();
});
after(async () => {
  await receiver?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('spans that are pending at process.exit() arrive', async () => {
  const { tarball } = await packInto(folder);
  const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const api = dependencies['@opentelemetry/api'];
  const app = await yarnApp(path.join(folder, 'app'), {
    '@opentelemetry/api': api,
    'milvus-otel': `file:${tarball}`,
  });
  const program = path.join(app.folder, 'exit-spans.mjs');
  await copyFile(path.join(root, 'test/fixtures/exit-spans.mjs'), program);

  const { code, stderr } = await runFixture({
    file: program,
    args: ['exit'],
    cwd: app.folder,
    env: {
      NODE_OPTIONS: `${app.nodeOptions} --import milvus-otel/register`,
      OTEL_SERVICE_NAME: 'yarn',
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
      OTEL_NODE_FLUSH_TIMEOUT: '15000',
    },
  });
  assert.equal(code, 3);
  assert.doesNotMatch(stderr, /milvus-otel/);
  const spans = await receiver.waitForSpans(
    (received) => received.filter(({ service }) => service === 'yarn').length >= 3,
    10_000,
  );
  assert.deepEqual(spans.map(({ name }) => name).sort(), ['early', 'late', 'root']);
});
