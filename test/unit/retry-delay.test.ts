import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RetryDelay } from '../../src/trace/retry-delay.ts';

/** Without jitter. */
const newDelay = () => new RetryDelay(() => 0.5);

test('the pause doubles from 1 s to 30 s, and restarts at 1 s after an accepted batch', () => {
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

test('concurrent requests count as one attempt', () => {
  const delay = newDelay();
  const beforeMs = delay.currentMs;
  for (let request = 0; request < 10; request++) delay.failed(beforeMs);
  assert.equal(delay.pauseMs, 1_000);
});

test('the pause is at least the time that the collector requests, which does not affect the next pause', () => {
  const delay = newDelay();
  delay.failed(0, 45_000);
  assert.equal(delay.pauseMs, 45_000);
  delay.failed(delay.currentMs, 10);
  assert.equal(delay.pauseMs, 2_000);
});

test('the pause does not exceed the longest timer, whatever time the collector requests', () => {
  for (const atLeastMs of [1e13, Number.POSITIVE_INFINITY]) {
    const delay = newDelay();
    delay.failed(0, atLeastMs);
    assert.equal(delay.pauseMs, 2 ** 31 - 1);
  }
});

test('jitter adds or subtracts up to a fifth', () => {
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

test('the pause of a single batch doubles with each failure, up to 30 s', () => {
  const delay = newDelay();
  assert.deepEqual(
    [0, 1, 2, 4, 5, 7].map((failures) => delay.ofBatch(failures)),
    [1_000, 2_000, 4_000, 16_000, 30_000, 30_000],
  );
  assert.equal(delay.currentMs, 0, 'other batches do not wait');
});
