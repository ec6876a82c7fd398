import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const root = path.join(import.meta.dirname, '..', '..');

test('the instrumentation for an app with its own SDK loads nothing of the preload’s pipeline', async () => {
  const program = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
    await import('./src/milvus/instrumentation-entry.ts');
    console.log(JSON.stringify(loaded));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
  });
  const folders = (JSON.parse(stdout) as string[])
    .map((url) => /\/src\/([^/]+)\//.exec(url.replace(/.*node_modules.*/, ''))?.[1])
    .filter((folder) => folder !== undefined);
  assert.deepEqual([...new Set(folders)], ['milvus']);
});
