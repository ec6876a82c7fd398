/**
 * An app that Yarn has installed without node_modules (Plug'n'Play): packages stay in archives, this one is
 * unpacked.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { installed } from '../../tools/processes/installed.ts';
import { npm } from '../../tools/processes/npm.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';
import { packInto } from '../support/published.ts';

const run = promisify(execFile);
const root = path.join(import.meta.dirname, '..', '..');

let folder: string;
let app: string;
let yarn: string;
let registry: string;
let receiver: Receiver;
before(async () => {
  await ensureDist();
  const cli = await installed({ '@yarnpkg/cli-dist': '4' });
  yarn = path.join(cli, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js');
  registry = (await npm(['config', 'get', 'registry'])).trim().replace(/\/$/, '');
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-yarn-'));
  app = path.join(folder, 'app');
  await mkdir(app);
  receiver = await startReceiver();
});
after(async () => {
  await receiver?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Runs yarn in the app's folder. */
const runYarn = (args: string[], env: Record<string, string> = {}) =>
  run(process.execPath, [yarn, ...args], {
    cwd: app,
    timeout: 240_000,
    env: {
      PATH: process.env.PATH,
      ...(process.env.NODE_EXTRA_CA_CERTS && { NODE_EXTRA_CA_CERTS: process.env.NODE_EXTRA_CA_CERTS }),
      HOME: folder,
      YARN_NPM_REGISTRY_SERVER: registry,
      YARN_ENABLE_TELEMETRY: '0',
      YARN_ENABLE_SCRIPTS: '0',
      ...env,
    },
  });

test('the spans that process.exit() leaves arrive', async () => {
  const { tarball } = await packInto(folder);
  const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const api = dependencies['@opentelemetry/api'];
  await writeFile(
    path.join(app, 'package.json'),
    JSON.stringify({
      name: 'app',
      dependencies: { '@opentelemetry/api': api, 'milvus-otel': `file:${tarball}` },
    }),
  );
  await copyFile(path.join(root, 'test/fixtures/exit-spans.mjs'), path.join(app, 'exit-spans.mjs'));
  // Or Yarn takes the folder for a part of a project above it.
  await writeFile(path.join(app, 'yarn.lock'), '');
  await runYarn(['install', '--no-immutable']);

  const args = ['node', '--import', 'milvus-otel/register', 'exit-spans.mjs', 'exit'];
  const { code, stderr } = await runYarn(args, {
    OTEL_SERVICE_NAME: 'yarn',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
    OTEL_NODE_FLUSH_TIMEOUT: '15000',
  }).catch((error) => error);
  assert.equal(code, 3);
  assert.doesNotMatch(stderr, /milvus-otel/);
  const spans = await receiver.waitForSpans(
    (received) => received.filter(({ service }) => service === 'yarn').length >= 3,
    10_000,
  );
  assert.deepEqual(spans.map(({ name }) => name).sort(), ['early', 'late', 'root']);
});
