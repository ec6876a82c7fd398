/** Resolving and mocking of modules that are instrumented: as without the preload. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { ensureBuilt } from '../../tools/build/build-package.ts';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { placeProgram } from '../support/traced-app.ts';

const packages = { express: '5', mysql2: '3', openai: '6', pg: '8', pino: '10' };
let resolving: string;
let mocking: string;

before(async () => {
  await ensureBuilt();
  const folder = await installed(packages);
  resolving = await placeProgram('apps/modules/resolve.mjs', folder);
  mocking = await placeProgram('apps/modules/mock.mjs', folder);
});

/** The program's output without the preload and with it. */
async function both(version: string | null, file: string, args: string[] = [], nodeArgs: string[] = []) {
  const nodePath = version === null ? process.execPath : await nodeBinary(version);
  const run = (preload: boolean) =>
    runFixture({
      file,
      args,
      nodeArgs: ['--no-warnings', ...nodeArgs],
      preload,
      nodePath,
      cwd: path.dirname(file),
      env: { OTEL_TRACES_EXPORTER: 'none' },
    });
  return { bare: await run(false), traced: await run(true) };
}

describe('module resolution', { concurrency: 2 }, () => {
  for (const version of [null, '22.15.0', '22', '26']) {
    test(`is the same on Node ${version ?? process.versions.node}`, async () => {
      const { bare, traced } = await both(version, resolving);
      assert.match(bare.stdout, /^express …\/express\/index\.js …\/express\/index\.js/);
      assert.deepEqual(traced, bare);
    });
  }
});

describe('mock.module', { concurrency: 2 }, () => {
  for (const version of [null, '26']) {
    for (const name of Object.keys(packages)) {
      for (const by of ['import', 'require']) {
        test(`mocks ${name} by ${by}, before and after it is loaded, and restores it, on Node ${version ?? process.versions.node}`, async () => {
          for (const when of ['before', 'after']) {
            const { bare, traced } = await both(
              version,
              mocking,
              [name, by, when],
              ['--experimental-test-module-mocks'],
            );
            assert.match(bare.stdout, /^1 undefined\n/, when);
            assert.deepEqual(traced, bare, when);
          }
        });
      }
    }
  }
});
