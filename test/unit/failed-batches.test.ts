/** Retries, splits and the loss of a batch that failed although the collector was reachable. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FailedBatches } from '../../src/trace/failed-batches.ts';
import type { Later } from '../../src/trace/outcome.ts';
import { SpanBatch } from '../../src/trace/span-batch.ts';
import { endedSpans } from '../support/ended-spans.ts';

const BUSY: Later = { kind: 'later', reason: 'busy' };
const EXHAUSTED: Later = { ...BUSY, mayBeTooLarge: true };
const UNREACHABLE: Later = { ...EXHAUSTED, isUnreachable: true };

const batchOf = (count: number) => new SpanBatch(endedSpans(count));

/** A batch with this number of failures, each followed by the acceptance of another batch. */
function failedTimes(times: number, outcome = BUSY, batch = batchOf(2)) {
  const failed = new FailedBatches();
  for (let time = 0; time < times; time++) {
    failed.failed(batch, outcome);
    failed.accepted++;
  }
  return { failed, batch };
}

test('a failed batch is due again after another batch was accepted', () => {
  const failed = new FailedBatches();
  const batch = batchOf(1);
  assert.equal(failed.isDue(batch), true);
  failed.failed(batch, BUSY);
  assert.equal(failed.isDue(batch), false);
  failed.accepted++;
  assert.equal(failed.isDue(batch), true);
});

describe('splitting', () => {
  test('starts at the fourth failure while other batches are accepted', () => {
    for (const [times, isWorth] of [
      [1, false],
      [2, false],
      [3, true],
    ] as const) {
      const { failed, batch } = failedTimes(times);
      assert.equal(failed.isWorthSplitting(batch, BUSY, false), isWorth, `${times} failures before`);
    }
  });

  test('requires that another batch was accepted since the last failure', () => {
    const { failed, batch } = failedTimes(3);
    failed.failed(batch, BUSY);
    assert.equal(failed.isWorthSplitting(batch, BUSY, false), false);
  });

  test('starts at the second failure when the size may be the cause, and at the first in a flush', () => {
    const failed = new FailedBatches();
    const batch = batchOf(2);
    assert.equal(failed.isWorthSplitting(batch, EXHAUSTED, false), false);
    assert.equal(failed.isWorthSplitting(batch, EXHAUSTED, true), true);
    failed.failed(batch, EXHAUSTED);
    assert.equal(failed.isWorthSplitting(batch, EXHAUSTED, false), true);
  });

  test('continues with a part only after another batch was accepted', () => {
    const { failed, batch } = failedTimes(1, EXHAUSTED, batchOf(4));
    const [part] = batch.split();
    failed.splitInto([part], batch);
    assert.equal(failed.isWorthSplitting(part, EXHAUSTED, true), false);
    failed.accepted++;
    assert.equal(failed.isWorthSplitting(part, EXHAUSTED, false), true);
  });

  test('does not happen to a single span, or while the collector is unreachable', () => {
    const single = failedTimes(5, BUSY, batchOf(1));
    assert.equal(single.failed.isWorthSplitting(single.batch, BUSY, false), false);
    const { failed, batch } = failedTimes(5);
    assert.equal(failed.isWorthSplitting(batch, UNREACHABLE, true), false);
  });
});

describe('a batch is dropped', () => {
  test('at its ninth failure: the first one does not count, since other batches may have failed too', () => {
    const { failed, batch } = failedTimes(8);
    assert.equal(failed.failed(batch, BUSY), undefined);
    const before = failedTimes(7);
    assert.deepEqual(before.failed.failed(before.batch, BUSY), { failures: 7, othersWereAccepted: true });
  });

  test('at no failure while no other batch is accepted', () => {
    const failed = new FailedBatches();
    const batch = batchOf(1);
    for (let time = 0; time < 100; time++)
      assert.deepEqual(failed.failed(batch, BUSY), { failures: 0, othersWereAccepted: false });
  });

  test('at its eighth failure with a status that may be permanent, even when no other batch is accepted', () => {
    const failed = new FailedBatches();
    const batch = batchOf(1);
    for (let time = 1; time < 8; time++) assert.equal(failed.failed(batch, EXHAUSTED)?.failures, time);
    assert.equal(failed.failed(batch, EXHAUSTED), undefined);
  });

  test('at a failure count that includes the failures before a split', () => {
    const { failed, batch } = failedTimes(7);
    const [part, other] = batch.split();
    failed.splitInto([part, other], batch);
    assert.equal(failed.failed(part, BUSY)?.failures, 6);
    failed.accepted++;
    failed.failed(part, BUSY);
    failed.accepted++;
    assert.equal(failed.failed(part, BUSY), undefined);
  });

  test('at once when it is a part that is still too large and other batches are accepted', () => {
    const { failed, batch } = failedTimes(1, EXHAUSTED);
    const [part] = batch.split();
    failed.splitInto([part], batch);
    assert.ok(failed.failed(part, EXHAUSTED));
    failed.accepted++;
    assert.equal(failed.failed(part, EXHAUSTED), undefined);
  });
});

describe('a pause', () => {
  test('resumes its batch once, after its time, and takePaused() no longer returns it', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const failed = new FailedBatches();
    let resumed = 0;
    failed.pause(batchOf(1), 1_000, () => resumed++);
    t.mock.timers.tick(999);
    assert.equal(resumed, 0);
    t.mock.timers.tick(60_000);
    assert.equal(resumed, 1);
    assert.deepEqual(failed.takePaused(), []);
  });

  test('is cancelled when its batch is taken', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const failed = new FailedBatches();
    const batch = batchOf(1);
    failed.pause(batch, 1_000, () => assert.fail('it was taken'));
    assert.deepEqual(failed.takePaused(), [batch]);
    assert.deepEqual(failed.takePaused(), []);
    t.mock.timers.tick(60_000);
  });
});
