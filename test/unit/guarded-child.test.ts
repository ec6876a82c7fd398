import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnGuarded } from '../../tools/processes/guarded-child.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'guarded-child-'));
after(() => rmSync(folder, { recursive: true }));

function newDataFolder(): string {
  const data = path.join(folder, `${Math.random()}`);
  mkdirSync(data);
  return data;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 5_000;
  while (!condition()) {
    assert.ok(performance.now() < deadlineMs, `not within 5 s: ${what}`);
    await sleep(10);
  }
}

/** Ignores every signal that can be ignored, and has a separate child. Prints both process ids. */
const stubborn = ['-c', `trap '' INT TERM HUP; sleep 60 & echo "$$ $!"; wait`];

async function printedPids(stdout: NodeJS.ReadableStream | null): Promise<number[]> {
  const [chunk] = await once(stdout as NodeJS.ReadableStream, 'data');
  return String(chunk).trim().split(' ').map(Number);
}

// Concurrent: most of their time is a wait for the end of processes.
describe('a guarded child', { concurrency: true }, () => {
  test('a command that exits by itself gives its exit code, and its folder stays', async () => {
    const data = newDataFolder();
    const child = spawnGuarded('/bin/sh', ['-c', 'exit 7'], {
      stdout: 'ignore',
      stderr: 'ignore',
      removeAtStop: data,
    });
    assert.equal(await child.ended, 7);
    await child.stop();
    assert.ok(existsSync(data));
  });

  test('processes that a command leaves behind end with it', async () => {
    const child = spawnGuarded('/bin/sh', ['-c', 'sleep 60 & echo "$!"'], {
      stdout: 'pipe',
      stderr: 'ignore',
    });
    const [pid] = await printedPids(child.process.stdout);
    assert.equal(await child.ended, 0);
    await eventually(() => !isAlive(pid as number), 'the process left behind has ended');
  });

  test('a command that does not exist exits with code 127', async () => {
    const child = spawnGuarded('no-such-command-here', [], { stdout: 'ignore', stderr: 'ignore' });
    assert.equal(await child.ended, 127);
  });

  test('stop kills a command that ignores signals, its own children, and removes the folder', async () => {
    const data = newDataFolder();
    const child = spawnGuarded('/bin/sh', stubborn, { stdout: 'pipe', stderr: 'ignore', removeAtStop: data });
    const pids = await printedPids(child.process.stdout);
    assert.ok(pids.length === 2 && pids.every(isAlive));

    await child.stop();
    assert.equal(await child.ended, null);
    assert.ok(!existsSync(data));
    await eventually(() => !pids.some(isAlive), 'both processes have ended');
  });

  for (const signal of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
    test(`the command exits when its parent dies by ${signal}`, async () => {
      const data = newDataFolder();
      const parent = spawn(
        process.execPath,
        [
          '--input-type=module-typescript',
          '--eval',
          `import { spawnGuarded } from ${JSON.stringify(import.meta.resolve('../../tools/processes/guarded-child.ts'))};
         spawnGuarded('/bin/sh', ${JSON.stringify(stubborn)},
           { stdout: 'inherit', stderr: 'ignore', removeAtStop: ${JSON.stringify(data)} });`,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const pids = await printedPids(parent.stdout);
      assert.ok(pids.length === 2 && pids.every(isAlive));

      parent.kill(signal);
      await once(parent, 'exit');
      await eventually(() => !pids.some(isAlive) && !existsSync(data), 'processes and folder are gone');
    });
  }
});
