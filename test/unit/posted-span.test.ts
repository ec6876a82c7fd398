/** A span that was posted to another thread is sent like the original. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTraceState, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { type ReadableSpan, TracerProvider } from '@opentelemetry/sdk-trace';
import { postedSpan, receivedSpan } from '../../src/trace/posted-span.ts';

const resource = resourceFromAttributes({ 'service.name': 'worker' });
const ended: ReadableSpan[] = [];
const provider = new TracerProvider({
  resource,
  spanProcessors: [
    {
      onStart() {},
      onEnd: (span) => ended.push(span),
      forceFlush: async () => {},
      shutdown: async () => {},
    },
  ],
});
const tracer = provider.getTracer('milvus-otel', '1.2.3', { schemaUrl: 'https://schema.example/1' });

const REMOTE = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: 1,
  isRemote: true,
  traceState: createTraceState('a=1,b=2'),
};

test('every field of OTLP stays the same, over both serializers', () => {
  ended.length = 0;
  const parent = trace.setSpanContext(ROOT_CONTEXT, REMOTE);
  const attributes = { text: 'é 𠀀', count: 7, ratio: 0.5, ok: true, list: ['a', 'b'] };
  const full = tracer.startSpan('search docs', { kind: SpanKind.CLIENT, attributes }, parent);
  full.addEvent('sent', { bytes: 12 }).addLink({ context: REMOTE, attributes: { why: 'retry' } });
  full.setStatus({ code: SpanStatusCode.ERROR, message: 'collection not found' });
  full.recordException(new Error('broken'));
  full.end();
  tracer.startSpan('ping', {}, ROOT_CONTEXT).end();
  assert.equal(ended.length, 2);
  const [{ instrumentationScope: scope }] = ended as [ReadableSpan];
  const received = ended.map((span) => receivedSpan(structuredClone(postedSpan(span)), resource, scope));
  for (const serializer of [ProtobufTraceSerializer, JsonTraceSerializer]) {
    const [expected, actual] = [ended, received].map((spans) => serializer.serializeRequest(spans));
    assert.ok(expected !== undefined && expected.length > 500);
    assert.deepEqual(actual, expected);
  }
});
