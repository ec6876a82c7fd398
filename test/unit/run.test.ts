import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/**
 * A project with run.mjs, one task, and the running Node as its dev Node: the package `node` is a folder in
 * it, so that the real `npm ci` installs it without a network.
 */
function newProject(taskSource: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'run-task-'));
  folders.push(folder);
  const write = (file: string, content: unknown) =>
    writeFileSync(path.join(folder, file), typeof content === 'string' ? content : JSON.stringify(content));
  for (const name of ['scripts', 'brought/bin']) mkdirSync(path.join(folder, name), { recursive: true });
  cpSync(path.join(import.meta.dirname, '../../scripts/run.mjs'), path.join(folder, 'scripts/run.mjs'));
  write('scripts/show.ts', taskSource);
  write('brought/package.json', { name: 'node', version: '1.0.0' });
  symlinkSync(process.execPath, path.join(folder, 'brought/bin/node'));
  const root = { name: 'project', version: '1.0.0', devDependencies: { node: 'file:brought' } };
  write('package.json', { ...root, scripts: { look: 'node scripts/run.mjs show', other: 'echo' } });
  write('package-lock.json', {
    name: 'project',
    version: '1.0.0',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': root,
      brought: { name: 'node', version: '1.0.0', dev: true },
      'node_modules/node': { resolved: 'brought', link: true },
    },
  });
  return folder;
}

interface Ended {
  stdout: string;
  stderr: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

function start(folder: string, args: string[]) {
  const child = spawn(process.execPath, ['scripts/run.mjs', ...args], { cwd: folder });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]): Ended => ({ stdout, stderr, code, signal }));
  return { child, ended };
}

test('a task runs with its arguments after npm ci, which is not repeated', async () => {
  const folder = newProject('const args: string[] = process.argv.slice(2); console.log(args.join("|"));');
  const first = await start(folder, ['show', 'a b', '--flag']).ended;
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^a b\|--flag$/m);
  assert.match(first.stderr, /Installing the dependencies that package-lock\.json names/);
  assert.ok(existsSync(path.join(folder, 'node_modules/.package-lock.json')));

  const second = await start(folder, ['show', 'x']).ended;
  assert.deepEqual(second, { stdout: 'x\n', stderr: '', code: 0, signal: null });
});

let installed: string | undefined;

/** A project whose dependencies are installed, with one task; the tests share it. */
async function installedProject(taskSource: string): Promise<string> {
  if (installed === undefined) {
    installed = newProject('');
    await start(installed, ['show']).ended;
  }
  writeFileSync(path.join(installed, 'scripts/show.ts'), taskSource);
  return installed;
}

test('a task keeps its exit code', async () => {
  const folder = await installedProject('process.exit(37);');
  assert.equal((await start(folder, ['show']).ended).code, 37);
});

test('a signal reaches the task, which chooses its exit', async () => {
  const folder = await installedProject(
    `process.on('SIGTERM', () => { console.log('cleaned up'); process.exit(5); });
     setInterval(() => {}, 1_000);
     console.log('ready');`,
  );
  const { child, ended } = start(folder, ['show']);
  for await (const chunk of child.stdout) if (String(chunk).includes('ready')) break;
  child.kill('SIGTERM');
  assert.equal((await ended).code, 5);
});

test('a task that a signal kills takes its runner with it by the same signal', async () => {
  const folder = await installedProject(
    `process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1_000);`,
  );
  const { code, signal } = await start(folder, ['show']).ended;
  assert.deepEqual([code, signal], [null, 'SIGKILL']);
});

test('an unknown task is named, with those that exist', async () => {
  const folder = newProject('');
  const { code, stderr } = await start(folder, ['shwo']).ended;
  assert.equal(code, 2);
  assert.match(stderr, /There is no task "shwo"\.\n(.*\n)*.*npm run look/);
  assert.doesNotMatch(stderr, /other/);
});

test('when npm ci fails, its exit code is kept and the fix is printed', async () => {
  const folder = newProject('');
  writeFileSync(path.join(folder, 'package-lock.json'), '{"lockfileVersion": 3, "packages": {}}');
  rmSync(path.join(folder, 'brought'), { recursive: true });
  const { code, stderr } = await start(folder, ['show']).ended;
  assert.equal(code, 1);
  assert.match(stderr, /npm ci ended with code 1: see its message above/);
});
