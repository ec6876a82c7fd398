/** If process.execPath is no plain Node, or no process can start, a thread sends, and the app runs once. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { singleExecutable } from '../../tools/processes/single-executable.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const run = promisify(execFile);
const root = path.join(import.meta.dirname, '../..');
const entry = path.join(root, 'dist/register.cjs');
const program = path.join(root, 'test/fixtures/packaged.cjs');

let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-packaged-'));
});
after(() => rm(folder, { recursive: true, force: true }));

let count = 0;

/**
 * Runs packaged.cjs by `executable`; gives its own exit, how often it was started, and the names of its
 * spans.
 */
async function outcomeOf(executable: string, args: string[], env: Record<string, string> = {}) {
  const service = `packaged-${++count}`;
  const starts = path.join(folder, `${service}.log`);
  const { stdout, stderr, code } = await run(executable, args, {
    timeout: 60_000,
    env: {
      PATH: process.env.PATH,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
      OTEL_NODE_FLUSH_TIMEOUT: '15000',
      STARTS_FILE: starts,
      PACKAGES_OF: path.join(root, 'package.json'),
      ...env,
    },
  }).catch((error) => error);
  const spans = await runs.spans(service, 2);
  return {
    own: { stdout, stderr, code },
    starts: (await readFile(starts, 'utf8')).split('\n').length - 1,
    names: spans.map(({ name }) => name).sort(),
  };
}

const ONCE = {
  own: { stdout: 'done\n', stderr: '', code: 5 },
  starts: 1,
  names: ['early', 'late'],
};

describe('spans that are pending at process.exit() arrive, and the app is started once:', {
  concurrency: 2,
}, () => {
  test('a single executable application that is called node, the preload in its own configuration', async () => {
    const executable = await singleExecutable(program, {
      folder,
      name: 'node',
      execArgv: ['--require', entry],
    });
    assert.deepEqual(await outcomeOf(executable, []), ONCE);
  });

  test('a Node of another name, with flags that a thread cannot be given', async () => {
    const launcher = path.join(folder, 'launcher');
    await copyFile(process.execPath, launcher);
    const flags = ['--require', entry, '--use-bundled-ca', '--tls-min-v1.2'];
    assert.deepEqual(await outcomeOf(launcher, [...flags, program]), ONCE);
  });

  test('--permission that allows threads and no processes', async () => {
    const flags = ['--permission', '--allow-fs-read=*', `--allow-fs-write=${folder}/*`, '--allow-worker'];
    assert.deepEqual(await outcomeOf(process.execPath, [...flags, '--require', entry, program]), ONCE);
  });
});

test('in the environment of a sending process, the preload does nothing', async () => {
  const { service: _, ...result } = await runs.run({
    file: 'test/fixtures/own-span.mjs',
    // No collector listens there: lost spans would be logged.
    env: { MILVUS_OTEL_SENDING: '1', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
  });
  assert.deepEqual(result, { stdout: 'done\n', stderr: '', code: 0, signal: null });
});
