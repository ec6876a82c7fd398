import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { startTimeLimit } from '../../src/otlp/time-limit.ts';

const block = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test('a limit expires once, after its time', async () => {
  let calls = 0;
  const startedAt = performance.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  startTimeLimit(50, () => {
    calls++;
    resolve();
  });
  // A limit does not keep the process alive.
  const alive = setInterval(() => {}, 1_000);
  await promise;
  assert.ok(performance.now() - startedAt > 40);
  await sleep(30);
  clearInterval(alive);
  assert.equal(calls, 1);
});

test('time for which the event loop is blocked does not count', async () => {
  let isOver = false;
  const stop = startTimeLimit(200, () => {
    isOver = true;
  });
  block(400);
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  stop();
  assert.equal(isOver, false);
});

test('a stopped limit does not expire, also when it is stopped in the turn of its expiry', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  for (const passedMs of [0, 50, 99, 100]) {
    const stop = startTimeLimit(100, () => assert.fail(`after ${passedMs} ms`));
    t.mock.timers.tick(passedMs);
    stop();
    t.mock.timers.tick(1_000);
    await nextTurn();
  }
});

test('an infinite limit does not expire', async () => {
  startTimeLimit(Number.POSITIVE_INFINITY, () => assert.fail());
  await sleep(30);
});
