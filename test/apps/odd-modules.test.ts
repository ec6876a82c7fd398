/** Modules that are not what their name and version promise: patching fails, the app does not. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();
let folder: string;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-odd-'));
  const koa = path.join(folder, 'node_modules', 'koa');
  await mkdir(koa, { recursive: true });
  await writeFile(path.join(koa, 'package.json'), '{ "name": "koa", "version": "3.0.0" }');
  // Somebody's stand-in, without the prototype that is patched.
  await writeFile(path.join(koa, 'index.js'), 'module.exports = Object.freeze({ stand: "in" });\n');
  await writeFile(path.join(folder, 'app.cjs'), "console.log(require('koa').stand, require('koa').stand);\n");
  await writeFile(
    path.join(folder, 'app.mjs'),
    "import koa from 'koa';\nconsole.log(koa.stand, koa.stand);\n",
  );
});
after(() => rm(folder, { recursive: true, force: true }));

describe('a module that cannot be patched', { concurrency: 2 }, () => {
  for (const file of ['app.cjs', 'app.mjs']) {
    for (const version of [null, '22.15.0', '26']) {
      test(`reaches ${file} as it is on Node ${version ?? process.versions.node}`, async () => {
        const { service: _, ...result } = await runs.run({
          file: path.join(folder, file),
          ...(version === null ? {} : { nodePath: await nodeBinary(version) }),
        });
        assert.deepEqual(result, { stdout: 'in in\n', stderr: '', code: 0, signal: null });
      });
    }

    test(`is named to whoever asks, for ${file}`, async () => {
      const { stderr } = await runs.run({ file: path.join(folder, file), env: { OTEL_LOG_LEVEL: 'error' } });
      assert.match(stderr, /^milvus-otel: \[error\] koa could not be patched/);
    });
  }
});
