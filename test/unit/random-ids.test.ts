import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSpanContextValid, TraceFlags } from '@opentelemetry/api';
import { RandomIds, SPAN_ID_BYTES, TRACE_ID_BYTES } from '../../src/random-ids.ts';

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

test('each id is the text of its bytes, and that of a trace lies behind that of the span before it', () => {
  const ids = new RandomIds();
  const hex = (from: number, length: number) => Buffer.from(ids.bytes).toString('hex', from, from + length);
  for (let count = 0; count < 1_000; count++) {
    const spanId = ids.generateSpanId();
    const at = ids.at - SPAN_ID_BYTES;
    assert.equal(spanId, hex(at, SPAN_ID_BYTES));
    // Not every span begins a trace.
    if (count % 3 === 0) continue;
    assert.equal(ids.generateTraceId(), hex(at + SPAN_ID_BYTES, TRACE_ID_BYTES));
  }
});
