/** The trace context that a call carries to Milvus, which reads only W3C's traceparent. */
import { type Context, propagation, type TextMapSetter, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { hasSentry } from '../sentry.ts';

const w3c = new W3CTraceContextPropagator();

/**
 * Writes the context with the registered propagator. Sentry's writes no traceparent by default, so it is
 * written here; Sentry's tracestate is left out, since it does not follow the format.
 */
export function sendContext<Carrier>(sent: Context, carrier: Carrier, setter: TextMapSetter<Carrier>): void {
  const spanContext = isSentrys() ? trace.getSpanContext(sent) : undefined;
  if (spanContext === undefined) propagation.inject(sent, carrier, setter);
  else {
    const { traceId, spanId, traceFlags } = spanContext;
    w3c.inject(trace.setSpanContext(sent, { traceId, spanId, traceFlags }), carrier, setter);
  }
}

/** Whether the registered propagator is Sentry's. Where Sentry is not loaded, this costs one look-up. */
const isSentrys = (): boolean => hasSentry() && propagation.fields().includes('sentry-trace');
