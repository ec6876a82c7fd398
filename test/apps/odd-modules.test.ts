/** Unusual modules: one that cannot be patched does not fail the app, and a renamed one is patched. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();
let folder: string;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-odd-'));
  const koa = path.join(folder, 'node_modules', 'koa');
  await mkdir(koa, { recursive: true });
  await writeFile(path.join(koa, 'package.json'), '{ "name": "koa", "version": "3.0.0" }');
  // A stub without the prototype that is patched.
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
      test(`reaches ${file} unchanged on Node ${version ?? process.versions.node}`, async () => {
        const { service: _, ...result } = await runs.run({
          file: path.join(folder, file),
          ...(version === null ? {} : { nodePath: await nodeBinary(version) }),
        });
        assert.deepEqual(result, { stdout: 'in in\n', stderr: '', code: 0, signal: null });
      });
    }

    test(`is logged at OTEL_LOG_LEVEL=error, for ${file}`, async () => {
      const { stderr } = await runs.run({ file: path.join(folder, file), env: { OTEL_LOG_LEVEL: 'error' } });
      assert.match(stderr, /^milvus-otel: \[error\] koa could not be patched/);
    });
  }
});

/** Turbopack links external packages under a name with a hash. */
describe('a package that is imported by the name that Turbopack has given it is instrumented', () => {
  const hash = '23a6225d8f1c0b74';
  const patched = `console.log(
  '__original' in Redis.prototype.sendCommand, '__original' in OpenAI.Chat.Completions.prototype.create);\n`;
  const programs = {
    'renamed.cjs': `const Redis = require('ioredis-${hash}');\nconst { OpenAI } = require('openai-${hash}');\n${patched}`,
    'renamed.mjs': `import Redis from 'ioredis-${hash}';\nimport OpenAI from 'openai-${hash}';\n${patched}`,
  };
  for (const [name, program] of Object.entries(programs)) {
    test(name, async () => {
      const packages = await installed({ ioredis: '5', openai: '6' });
      const app = await mkdtemp(path.join(packages, '.app-'));
      try {
        await mkdir(path.join(app, 'node_modules'));
        for (const original of ['ioredis', 'openai'])
          await symlink(
            path.join(packages, 'node_modules', original),
            path.join(app, 'node_modules', `${original}-${hash}`),
          );
        await writeFile(path.join(app, name), program);
        const { stdout, stderr } = await runs.run({ file: path.join(app, name) });
        assert.deepEqual({ stdout, stderr }, { stdout: 'true true\n', stderr: '' });
      } finally {
        await rm(app, { recursive: true, force: true });
      }
    });
  }
});
