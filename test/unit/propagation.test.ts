/** The trace context that Milvus gets, with the propagators of this package and of Sentry. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { defaultTextMapSetter, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { suppressTracing, TraceState, W3CTraceContextPropagator } from '@opentelemetry/core';
import { sendContext } from '../../src/milvus/propagation.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const sent = (traceFlags: number, traceState?: TraceState) =>
  trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, traceState });

const headers = (context = sent(1)) => {
  const carrier: Record<string, string> = {};
  sendContext(context, carrier, defaultTextMapSetter);
  return carrier;
};

/** Like Sentry's, which writes no traceparent unless asked to. */
function registerSentrys(): void {
  Reflect.set(globalThis, '__SENTRY__', {});
  propagation.setGlobalPropagator({
    inject: (_context, carrier, { set }) => set(carrier, 'sentry-trace', `${traceId}-${spanId}-1`),
    extract: (context) => context,
    fields: () => ['sentry-trace', 'baggage', 'traceparent'],
  });
}

beforeEach(() => propagation.disable());
afterEach(() => {
  propagation.disable();
  Reflect.deleteProperty(globalThis, '__SENTRY__');
});

test('the registered propagator writes the context', () => {
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const state = new TraceState('vendor=1');
  assert.deepEqual(headers(sent(1, state)), {
    traceparent: `00-${traceId}-${spanId}-01`,
    tracestate: 'vendor=1',
  });
});

test('without a propagator, no context is sent, also with Sentry loaded', () => {
  assert.deepEqual(headers(), {});
  Reflect.set(globalThis, '__SENTRY__', {});
  assert.deepEqual(headers(), {});
});

for (const [flags, what] of [
  [1, 'sampled'],
  [0, 'unsampled'],
] as const)
  test(`with Sentry's propagator, the context of a ${what} span is a traceparent`, () => {
    registerSentrys();
    const state = new TraceState('sentry.dsc=a');
    assert.deepEqual(headers(sent(flags, state)), { traceparent: `00-${traceId}-${spanId}-0${flags}` });
  });

test("with Sentry's propagator, no context is sent where tracing is suppressed", () => {
  registerSentrys();
  assert.deepEqual(headers(suppressTracing(sent(1))), {});
});
