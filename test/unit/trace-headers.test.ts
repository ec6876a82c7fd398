/** What is written without asking the propagator is what it would have written. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  type TextMapPropagator,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import {
  CompositePropagator,
  TraceState,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from '@opentelemetry/core';
import { type Carrier, writeHeaders, writeHeadersOf } from '../../src/milvus/trace-headers.ts';

const SPAN: SpanContext = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: TraceFlags.SAMPLED,
};
const defaultPropagator = () =>
  new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] });

/** Counts how often a propagator is asked. */
function counting(propagator: TextMapPropagator): () => number {
  let asked = 0;
  const inject = propagator.inject.bind(propagator);
  propagator.inject = (...given) => {
    asked++;
    inject(...given);
  };
  return () => asked;
}

function written(write: (carrier: Carrier, wire: Context) => void, wire: Context): Record<string, string> {
  const [headers, metadata] = [{} as Record<string, string>, new Map<string, string>()];
  write(headers, wire);
  write(metadata as unknown as Carrier, wire);
  assert.deepEqual(Object.fromEntries(metadata), headers);
  return headers;
}

afterEach(() => propagation.disable());

describe('headers of a span', () => {
  const baggage = propagation.createBaggage({ tenant: { value: 'a' } });
  for (const [what, span, wire] of [
    ['sampled', SPAN, ROOT_CONTEXT],
    ['not sampled', { ...SPAN, traceFlags: TraceFlags.NONE }, ROOT_CONTEXT],
    ['with a flag that is not known yet', { ...SPAN, traceFlags: 3 }, ROOT_CONTEXT],
    ['with a state of the trace', { ...SPAN, traceState: new TraceState('a=1,b=2') }, ROOT_CONTEXT],
    ['with baggage', SPAN, propagation.setBaggage(ROOT_CONTEXT, baggage)],
  ] as const)
    test(what, () => {
      const context = trace.setSpanContext(wire, span);
      for (const propagator of [
        defaultPropagator(),
        new W3CTraceContextPropagator(),
        new CompositePropagator({ propagators: [new W3CBaggagePropagator()] }),
        new CompositePropagator({
          propagators: [new W3CBaggagePropagator(), new W3CTraceContextPropagator()],
        }),
      ]) {
        propagation.setGlobalPropagator(propagator);
        assert.deepEqual(
          written((carrier, wire) => writeHeadersOf(span, carrier, wire), context),
          written(writeHeaders, context),
        );
        propagation.disable();
      }
      assert.deepEqual(
        written((carrier, wire) => writeHeadersOf(span, carrier, wire), context),
        {},
        'no propagator, no headers',
      );
    });
});

test('the default propagator is not asked; any other is, also when it comes later', () => {
  const context = trace.setSpanContext(ROOT_CONTEXT, SPAN);
  const usual = defaultPropagator();
  const askedUsual = counting(usual);
  propagation.setGlobalPropagator(usual);
  writeHeadersOf(SPAN, {}, context);
  assert.equal(askedUsual(), 0);
  writeHeaders({}, context);
  assert.equal(askedUsual(), 1);
  propagation.disable();
  const other = new CompositePropagator({
    propagators: [new W3CTraceContextPropagator(), new W3CTraceContextPropagator()],
  });
  const askedOther = counting(other);
  propagation.setGlobalPropagator(other);
  writeHeadersOf(SPAN, {}, context);
  assert.equal(askedOther(), 1);
});
