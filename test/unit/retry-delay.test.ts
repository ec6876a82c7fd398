import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RetryDelay } from '../../src/trace/retry-delay.ts';

/** Without jitter. */
const newDelay = () => new RetryDelay(() => 0.5);

test('the pause doubles from a second to half a minute, and begins anew after an acceptance', () => {
  const delay = newDelay();
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 7; attempt++) {
    delay.failed(delay.currentMs);
    pauses.push(delay.pauseMs);
  }
  assert.deepEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  delay.accepted();
  assert.equal(delay.currentMs, 0);
  delay.failed(delay.currentMs);
  assert.equal(delay.pauseMs, 1_000);
});

test('requests that began at the same time count as one attempt', () => {
  const delay = newDelay();
  const beforeMs = delay.currentMs;
  for (let request = 0; request < 10; request++) delay.failed(beforeMs);
  assert.equal(delay.pauseMs, 1_000);
});

test('the pause is at least what the collector asks for, and the next one is not longer for it', () => {
  const delay = newDelay();
  delay.failed(0, 45_000);
  assert.equal(delay.pauseMs, 45_000);
  delay.failed(delay.currentMs, 10);
  assert.equal(delay.pauseMs, 2_000);
});

test('the pause is never longer than a timer can be, whatever the collector asks for', () => {
  for (const atLeastMs of [1e13, Number.POSITIVE_INFINITY]) {
    const delay = newDelay();
    delay.failed(0, atLeastMs);
    assert.equal(delay.pauseMs, 2 ** 31 - 1);
  }
});

test('jitter is a fifth, in both directions', () => {
  for (const [random, pauseMs] of [
    [0, 800],
    [1, 1_200],
  ] as const) {
    const delay = new RetryDelay(() => random);
    delay.failed(0);
    assert.deepEqual([delay.pauseMs, delay.currentMs], [pauseMs, 1_000]);
    assert.equal(delay.ofBatch(0), pauseMs);
  }
});

test('a single batch pauses longer with each failure, for half a minute at most', () => {
  const delay = newDelay();
  assert.deepEqual(
    [0, 1, 2, 4, 5, 7].map((failures) => delay.ofBatch(failures)),
    [1_000, 2_000, 4_000, 16_000, 30_000, 30_000],
  );
  assert.equal(delay.currentMs, 0, 'the others do not wait');
});
