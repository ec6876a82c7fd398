import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSpanContextValid, TraceFlags } from '@opentelemetry/api';
import { RandomIds } from '../../src/random-ids.ts';

test('ids are valid, and none comes twice, however many texts they are cut out of', () => {
  const ids = new RandomIds();
  const seen = new Set<string>();
  for (let count = 0; count < 10_000; count++) {
    const [traceId, spanId] = [ids.generateTraceId(), ids.generateSpanId()];
    assert.ok(isSpanContextValid({ traceId, spanId, traceFlags: TraceFlags.NONE }), `${traceId} ${spanId}`);
    seen.add(traceId).add(spanId);
  }
  assert.equal(seen.size, 20_000);
});

test('an id of zeros, which would be an invalid one, is passed over', (t) => {
  const random = Math.random;
  let zeros = 12;
  t.mock.method(Math, 'random', () => (zeros-- > 0 ? 0 : random()));
  const ids = new RandomIds();
  assert.notEqual(ids.generateSpanId(), '0'.repeat(16));
  assert.notEqual(ids.generateTraceId(), '0'.repeat(32));
});
