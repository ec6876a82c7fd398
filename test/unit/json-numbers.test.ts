/** Numbers in OTLP/JSON that collectors can read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonTraceSerializer } from '@opentelemetry/otlp-transformer';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { withReadableNumbers } from '../../src/otlp/json-numbers.ts';

/** The attributes of a span as they are sent. */
function sent(attributes: Record<string, unknown>) {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  provider
    .getTracer('app')
    .startSpan('work', { attributes: attributes as never })
    .end();
  const body = JsonTraceSerializer.serializeRequest(exporter.getFinishedSpans()) as Uint8Array;
  const changed = withReadableNumbers(body);
  const request = JSON.parse(Buffer.from(changed).toString());
  const values = request.resourceSpans[0].scopeSpans[0].spans[0].attributes as { key: string; value: any }[];
  return {
    isUnchanged: changed === body,
    values: Object.fromEntries(values.map(({ key, value }) => [key, value])),
  };
}

test('NaN and infinite numbers are "NaN", as protobuf writes it in JSON', () => {
  assert.deepEqual(sent({ a: Number.NaN, b: Number.POSITIVE_INFINITY, c: [1, Number.NaN] }).values, {
    a: { doubleValue: 'NaN' },
    b: { doubleValue: 'NaN' },
    c: { arrayValue: { values: [{ intValue: 1 }, { doubleValue: 'NaN' }] } },
  });
});

test('whole numbers beyond 64 bits are sent as doubles', () => {
  assert.deepEqual(sent({ a: 2 ** 63, b: -(2 ** 70), c: 1e300, d: 2 ** 62 }).values, {
    a: { doubleValue: 2 ** 63 },
    b: { doubleValue: -(2 ** 70) },
    c: { doubleValue: 1e300 },
    d: { intValue: 2 ** 62 },
  });
});

test('texts keep their characters, also those that look like such a number', () => {
  const attributes = { a: '"doubleValue":null', b: '{"intValue":1e+300}', c: 'é 中 😀', d: 0.5, e: 7 };
  const { isUnchanged, values } = sent(attributes);
  assert.ok(isUnchanged);
  assert.deepEqual(values, {
    a: { stringValue: attributes.a },
    b: { stringValue: attributes.b },
    c: { stringValue: attributes.c },
    d: { doubleValue: 0.5 },
    e: { intValue: 7 },
  });
  assert.deepEqual(sent({ ...attributes, f: Number.NaN }).values.c, { stringValue: attributes.c });
});
