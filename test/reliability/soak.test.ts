/**
 * The short form of the soak: 24 s at 500 operations a second. The long one is `npm run reliability --
 * --soak`.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { problemsOf, SHORT, soak } from '../../tools/reliability/soak.ts';
import { ensureDist } from '../support/dist.ts';

before(ensureDist);

test('heap, descriptors and listeners stay as they are, and every operation has its span', async () => {
  assert.deepEqual(problemsOf(await soak(SHORT)), []);
});

test('deviations are reported', () => {
  const sample = { failed: 0, slowestMs: 1, rss: 1, descriptors: 20, listeners: 9 };
  const samples = Array.from({ length: 13 }, (_, index) => ({
    ...sample,
    begun: index === 12 ? 12_000 : index,
    heapUsed: (20 + index) * 2 ** 20,
    descriptors: 20 + index,
  }));
  const run = {
    plan: SHORT,
    samples,
    operations: 12_000,
    received: 11_999,
    stderr: '',
    code: 0,
    signal: null,
  };
  assert.deepEqual(problemsOf(run), [
    '11999 spans of 12000 operations arrived',
    'the heap grew from 25.5 to 29.5 MiB',
    'file descriptors grew from 25.5 to 29.5',
  ]);
});
