/** What tells the server of the trace: by OpenTelemetry's own propagator, or as that would. */
import {
  type Context,
  propagation,
  type SpanContext,
  type TextMapPropagator,
  type TextMapSetter,
  TraceFlags,
} from '@opentelemetry/api';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';

/** gRPC's Metadata, or the headers of a REST call. */
export type Carrier = { set(key: string, value: string): void } | Record<string, string>;

// set, not add: whatever else wrote a traceparent before, exactly one goes out.
function set(carrier: Carrier, key: string, value: string): void {
  if (typeof carrier.set === 'function') carrier.set(key, value);
  else (carrier as Record<string, string>)[key] = value;
}

const SETTER: TextMapSetter<Carrier> = { set };

/** By the propagator that is registered. */
export function writeHeaders(carrier: Carrier, wire: Context): void {
  propagation.inject(wire, carrier, SETTER);
}

/**
 * The same for a span that is known to be valid, in a context in which tracing is not suppressed. The default propagator
 * would look at each digit of both ids again, and ask for what is not there.
 *
 * @param traceparent if it is there already
 */
export function writeHeadersOf(
  span: SpanContext,
  carrier: Carrier,
  wire: Context,
  traceparent?: string,
): void {
  if (!isDefault(registered()) || propagation.getBaggage(wire) !== undefined) {
    writeHeaders(carrier, wire);
    return;
  }
  set(carrier, 'traceparent', traceparent ?? traceparentOf(span));
  if (span.traceState !== undefined) set(carrier, 'tracestate', span.traceState.serialize());
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  const flags = traceFlags === TraceFlags.SAMPLED ? '1' : traceFlags.toString(16);
  return `00-${traceId}-${spanId}-0${flags}`;
}

/** Source: PropagationAPI, @opentelemetry/api 1.9. Undefined where it has another form. */
const registered = (): TextMapPropagator | undefined =>
  (propagation as unknown as { _getGlobalPropagator?(): TextMapPropagator })._getGlobalPropagator?.();

let lastAsked: TextMapPropagator | undefined;
let lastAnswer = false;

/** Whether it is what an SDK registers unless it is told otherwise. Of another copy of the SDK it is none that is known here. */
function isDefault(propagator: TextMapPropagator | undefined): boolean {
  if (propagator !== lastAsked) {
    const parts = propagator instanceof CompositePropagator ? partsOf(propagator) : [];
    lastAsked = propagator;
    lastAnswer =
      parts.length === 2 &&
      parts[0] instanceof W3CTraceContextPropagator &&
      parts[1] instanceof W3CBaggagePropagator;
  }
  return lastAnswer;
}

/** Private in TypeScript only. Source: CompositePropagator, @opentelemetry/core 3.0. */
const partsOf = (propagator: CompositePropagator): unknown[] =>
  (propagator as unknown as { _propagators?: unknown[] })._propagators ?? [];
