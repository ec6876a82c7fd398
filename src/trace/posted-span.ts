/** Spans as messages between threads. Pure: what a structured clone keeps, and a span made of it. */
import { createTraceState, type SpanContext } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';

interface PostedContext extends Omit<SpanContext, 'traceState'> {
  traceState: string | undefined;
}

/** An ended span without its methods and its resource, which all spans of a thread share. */
export interface PostedSpan
  extends Omit<ReadableSpan, 'spanContext' | 'parentSpanContext' | 'links' | 'resource'> {
  context: PostedContext;
  parentContext: PostedContext | undefined;
  links: (Omit<ReadableSpan['links'][number], 'context'> & { context: PostedContext })[];
}

export function postedSpan(span: ReadableSpan): PostedSpan {
  const { name, kind, startTime, endTime, duration, ended, status, attributes, events } = span;
  const { droppedAttributesCount, droppedEventsCount, droppedLinksCount } = span;
  const { name: scopeName, version, schemaUrl } = span.instrumentationScope;
  return {
    name,
    kind,
    startTime,
    endTime,
    duration,
    ended,
    status,
    attributes,
    events,
    droppedAttributesCount,
    droppedEventsCount,
    droppedLinksCount,
    instrumentationScope: { name: scopeName, version, schemaUrl },
    context: postedContext(span.spanContext()),
    parentContext: span.parentSpanContext && postedContext(span.parentSpanContext),
    links: span.links.map((link) => ({ ...link, context: postedContext(link.context) })),
  };
}

/** @param scope equal to the posted one; serializers group spans by this object */
export function receivedSpan(
  posted: PostedSpan,
  resource: Resource,
  instrumentationScope: InstrumentationScope,
): ReadableSpan {
  const { context, parentContext, links, ...fields } = posted;
  const own = receivedContext(context);
  return {
    ...fields,
    spanContext: () => own,
    parentSpanContext: parentContext && receivedContext(parentContext),
    links: links.map((link) => ({ ...link, context: receivedContext(link.context) })),
    resource,
    instrumentationScope,
  };
}

function postedContext({ traceId, spanId, traceFlags, isRemote, traceState }: SpanContext): PostedContext {
  return { traceId, spanId, traceFlags, isRemote, traceState: traceState?.serialize() };
}

function receivedContext({ traceState, ...ids }: PostedContext): SpanContext {
  return { ...ids, traceState: traceState === undefined ? undefined : createTraceState(traceState) };
}
