/** Test runners whose tests call Milvus: the code under test has spans, and the report is unchanged. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { AppName } from '../../tools/docs/tried-apps.ts';
import { startFixture } from '../../tools/processes/run-fixture.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { assertSameRun, assertSeen, installTried } from '../support/tried-app.ts';
import { createDocs } from './docs-collection.ts';

const database = 'frameworks_test_runners';
const register = pathToFileURL(path.join(import.meta.dirname, '../../dist/register.cjs')).href;
const timeoutMs = 120_000;

// Else the report has one more line for a slow test.
const VITEST = ['vitest', 'run', '--slowTestThreshold', '60000', 'vitest.spec.mjs'];

/** Row of the table, name of the run, command with its arguments, and other flags of Node that it needs. */
const RUNS: [AppName, string, string[], string?][] = [
  ['mocha', 'mocha', ['mocha', 'mocha.spec.mjs']],
  ['vitest', 'vitest in its default pool', VITEST],
  ['vitest', 'vitest in threads', [...VITEST, '--pool', 'threads']],
  ['vitest in VM contexts', 'vitest in vmThreads', [...VITEST, '--pool', 'vmThreads']],
  ['vitest in VM contexts', 'vitest in vmForks', [...VITEST, '--pool', 'vmForks']],
  ['jest', 'jest', ['jest', '--testMatch', '**/jest.spec.cjs'], '--experimental-vm-modules'],
  ['tap', 'tap', ['tap', 'run', '--disable-coverage', '--reporter=tap', 'tap.spec.mjs']],
];

/** A report without times and process ids, which differ from run to run. */
const lasting = (report: string): string =>
  report
    .replace(/, estimated \d+ s/g, '')
    .replace(/\d+(\.\d+)?( ?m?s\b|%)/g, '…')
    .replace(/\d\d:\d\d:\d\d/g, '…')
    .replace(/\(node:\d+\)/g, '(node)')
    .replace(/Duration .*/g, 'Duration …')
    .replace(/ \(…\)/g, '');

describe('the code under test is traced, and the report is the same, by', () => {
  let stack: Stack;
  let removeDocs: () => Promise<void>;
  let programs: string;

  before(async () => {
    let folder: string;
    [stack, folder] = await Promise.all([
      useStack(),
      installTried(['mocha', 'vitest', 'jest', 'tap'], {
        vite: '8',
        typescript: '5',
        '@zilliz/milvus2-sdk-node': '3.0.6',
      }),
    ]);
    programs = await mkdtemp(path.join(folder, 'program-'));
    await cp(path.join(import.meta.dirname, '../fixtures/test-runners'), programs, { recursive: true });
    // Else tap finds those of this project in the folders above.
    for (const file of ['package.json', 'tsconfig.json']) await writeFile(path.join(programs, file), '{}');
    removeDocs = await createDocs(stack.milvusAddress, database);
  });
  after(async () => {
    await removeDocs();
    await rm(programs, { recursive: true, force: true });
  });

  for (const [app, title, [command, ...args], flag = ''] of RUNS) {
    test(title, async () => {
      const service = `runners-${title.replaceAll(' ', '-')}`;
      const run = (preload: string) =>
        startFixture({
          file: path.join(programs, '../node_modules/.bin', command as string),
          args,
          cwd: programs,
          timeoutMs,
          env: {
            CI: '1',
            NO_COLOR: '1',
            // With `test`, which some runners set, the SDK logs each call.
            NODE_ENV: 'development',
            MILVUS_ADDRESS: stack.milvusAddress,
            MILVUS_DATABASE: database,
            OTEL_SERVICE_NAME: service,
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
            NODE_OPTIONS: `${preload} ${flag}`,
          },
        }).ended;
      const bare = await run('');
      const traced = await run(`--import ${register}`);
      assert.equal(traced.code, 0, traced.stdout + traced.stderr);
      assertSameRun(traced, bare, lasting);
      // search docs └─ standalone
      const search = await assertSeen(stack, app, service);
      assert.equal(search.attributes['db.response.returned_rows'], 2);
    });
  }
});
