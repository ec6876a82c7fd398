import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSpanContextValid, TraceFlags } from '@opentelemetry/api';
import {
  PAIR_BYTES,
  RandomIds,
  SPAN_ID_BYTES,
  spanIdIn,
  TRACE_ID_BYTES,
  traceIdIn,
  traceparentIn,
} from '../../src/trace/random-ids.ts';

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

test('the smallest of random numbers make no id of zeros, which would be an invalid one', (t) => {
  t.mock.method(Math, 'random', () => 0);
  const ids = new RandomIds();
  const [traceId, spanId] = [ids.generateTraceId(), ids.generateSpanId()];
  assert.ok(isSpanContextValid({ traceId, spanId, traceFlags: TraceFlags.NONE }), `${traceId} ${spanId}`);
});

test('each id is the text of its bytes, and both are in the header that is made with them', () => {
  const ids = new RandomIds();
  const seen = new Set<string>();
  for (let count = 0; count < 1_000; count++) {
    const pair = ids.take();
    const { pool } = ids;
    const at = pair * PAIR_BYTES;
    const hex = (from: number, length: number) =>
      Buffer.from(pool.bytes).toString('hex', from, from + length);
    const [traceId, spanId] = [traceIdIn(pool, pair), spanIdIn(pool, pair)];
    assert.equal(traceId, hex(at, TRACE_ID_BYTES));
    assert.equal(spanId, hex(at + TRACE_ID_BYTES, SPAN_ID_BYTES));
    assert.equal(traceparentIn(pool, pair), `00-${traceId}-${spanId}-01`);
    seen.add(traceId).add(spanId);
    // Other ids come between.
    if (count % 3 === 0) seen.add(ids.generateSpanId()).add(ids.generateTraceId());
  }
  assert.equal(seen.size, 2_668);
});

test('ids that were taken stay what they are when others are made', () => {
  const ids = new RandomIds();
  const pair = ids.take();
  const { pool } = ids;
  const [header, bytes] = [traceparentIn(pool, pair), pool.bytes.slice()];
  while (ids.pool === pool) ids.take();
  assert.equal(traceparentIn(pool, pair), header);
  assert.deepEqual(pool.bytes, bytes);
});
