import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rejectionIn } from '../../src/otlp/partial-success.ts';

const PARTIAL = Buffer.concat([Buffer.from([0x0a, 9, 0x08, 0xac, 2, 0x12, 4]), Buffer.from('nope')]);
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

test('rejected spans and the reason are read from protobuf and from JSON', () => {
  const expected = { count: 300, reason: 'nope' };
  assert.deepEqual(rejectionIn(PARTIAL, false), expected);
  for (const rejectedSpans of [300, '300'])
    assert.deepEqual(
      rejectionIn(json({ partialSuccess: { rejectedSpans, errorMessage: 'nope' } }), true),
      expected,
    );
  assert.deepEqual(rejectionIn(json({ partialSuccess: { rejectedSpans: 1 } }), true), {
    count: 1,
    reason: '',
  });
});

test('the JSON of each signal has its own name for the number', () => {
  for (const name of ['rejectedSpans', 'rejectedDataPoints', 'rejectedLogRecords'])
    assert.equal(rejectionIn(json({ partialSuccess: { [name]: 7 } }), true)?.count, 7);
});

test('an answer without rejected spans is reported only with a warning', () => {
  for (const bytes of [[], [0x0a, 0]]) assert.equal(rejectionIn(Buffer.from(bytes), false), undefined);
  for (const value of [{}, null, { partialSuccess: {} }, 'ok'])
    assert.equal(rejectionIn(json(value), true), undefined);
  const warning = { count: 0, reason: 'nope' };
  assert.deepEqual(rejectionIn(Buffer.from([0x0a, 6, 0x12, 4, 0x6e, 0x6f, 0x70, 0x65]), false), warning);
  assert.deepEqual(rejectionIn(json({ partialSuccess: { errorMessage: 'nope' } }), true), warning);
});

test('any answer of a collector can be read', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.boolean(), (bytes, isJson) => {
      const found = rejectionIn(bytes, isJson);
      assert.ok(found === undefined || (found.count >= 0 && typeof found.reason === 'string'));
    }),
  );
});
