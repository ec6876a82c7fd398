/**
 * Spans as OTLP's protobuf. The bytes are those of OpenTelemetry's own serializer; a test compares the two.
 *
 * Source: opentelemetry/proto/trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
 */
import type { Attributes, SpanContext } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { ProtobufWriter } from './protobuf-writer.ts';

/** The encoded parts of a resource. */
export type SettledResource = Pick<Resource, 'attributes' | 'schemaUrl'>;

/** The field of ScopeSpans that a span is. */
export const SPANS = 2;

/** In the flags of spans and links, above the W3C flags. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/**
 * ScopeSpans.spans, a Span:
 *  1 trace_id        7 start_time          11 events                    15 status
 *  2 span_id         8 end_time            12 dropped_events_count      16 flags
 *  3 trace_state     9 attributes          13 links
 *  4 parent_span_id 10 dropped_attributes  14 dropped_links_count
 *  5 name
 *  6 kind
 */
export function writeSpan(writer: ProtobufWriter, span: ReadableSpan): void {
  const message = writer.begin(SPANS);
  const own = span.spanContext();
  const parent = span.parentSpanContext;
  writer.hexField(1, own.traceId);
  writer.hexField(2, own.spanId);
  writeTraceState(writer, 3, own);
  if (parent?.spanId) writer.hexField(4, parent.spanId);
  writer.text(5, span.name);
  // OTLP has one kind more than the API, "unspecified", before all others.
  if (span.kind !== undefined) writer.varint(6, span.kind + 1);
  writer.nanoseconds(7, span.startTime);
  writer.nanoseconds(8, span.endTime);
  writeAttributes(writer, 9, span.attributes);
  writer.varint(10, span.droppedAttributesCount);
  for (const event of span.events) writeEvent(writer, event);
  writer.varint(12, span.droppedEventsCount);
  for (const link of span.links) writeLink(writer, link);
  writer.varint(14, span.droppedLinksCount);
  writeStatus(writer, span.status);
  writeFlags(writer, 16, own.traceFlags, parent?.isRemote);
  writer.end(message);
}

/** Span.events, an Event: 1 time, 2 name, 3 attributes, 4 dropped_attributes_count */
function writeEvent(writer: ProtobufWriter, event: ReadableSpan['events'][number]): void {
  const message = writer.begin(11);
  writer.nanoseconds(1, event.time);
  writer.text(2, event.name);
  if (event.attributes) writeAttributes(writer, 3, event.attributes);
  writer.varint(4, event.droppedAttributesCount ?? 0);
  writer.end(message);
}

/** Span.links, a Link: 1 trace_id, 2 span_id, 3 trace_state, 4 attributes, 5 dropped_attributes_count, 6 flags */
function writeLink(writer: ProtobufWriter, link: ReadableSpan['links'][number]): void {
  const message = writer.begin(13);
  writer.hexField(1, link.context.traceId);
  writer.hexField(2, link.context.spanId);
  writeTraceState(writer, 3, link.context);
  if (link.attributes) writeAttributes(writer, 4, link.attributes);
  writer.varint(5, link.droppedAttributesCount ?? 0);
  writeFlags(writer, 6, link.context.traceFlags, link.context.isRemote);
  writer.end(message);
}

/** Span.status, a Status: 2 message, 3 code */
function writeStatus(writer: ProtobufWriter, { code, message: text }: ReadableSpan['status']): void {
  const message = writer.begin(15);
  if (text) writer.text(2, text);
  writer.varint(3, code);
  writer.end(message);
}

function writeTraceState(writer: ProtobufWriter, field: number, { traceState }: SpanContext): void {
  const text = traceState?.serialize();
  if (text) writer.text(field, text);
}

function writeFlags(
  writer: ProtobufWriter,
  field: number,
  traceFlags: number,
  isRemote: boolean | undefined,
): void {
  writer.fixed32(field, (traceFlags & 0xff) | HAS_IS_REMOTE | (isRemote ? IS_REMOTE : 0));
}

/** ResourceSpans.resource, a Resource: 1 attributes, 2 dropped_attributes_count */
export function writeResource(writer: ProtobufWriter, { attributes }: SettledResource): void {
  const message = writer.begin(1);
  writeAttributes(writer, 1, attributes);
  writer.varint(2, 0);
  writer.end(message);
}

/** ScopeSpans.scope, an InstrumentationScope: 1 name, 2 version */
export function writeScope(writer: ProtobufWriter, { name, version }: InstrumentationScope): void {
  const message = writer.begin(1);
  writer.text(1, name);
  if (version) writer.text(2, version);
  writer.end(message);
}

/** A repeated KeyValue: 1 key, 2 value */
function writeAttributes(writer: ProtobufWriter, field: number, attributes: Attributes): void {
  for (const key in attributes) {
    if (!Object.hasOwn(attributes, key)) continue;
    const message = writer.begin(field);
    writer.text(1, key);
    writeAnyValue(writer, 2, attributes[key]);
    writer.end(message);
  }
}

/**
 * An AnyValue: 1 string, 2 bool, 3 int, 4 double, 5 array (1 values), 6 kvlist (1 values), 7 bytes. Any other value is an
 * empty AnyValue.
 */
function writeAnyValue(writer: ProtobufWriter, field: number, value: unknown): void {
  const message = writer.begin(field);
  if (typeof value === 'string') {
    writer.text(1, value);
  } else if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63) writer.varint(3, value);
    else writer.double(4, value);
  } else if (typeof value === 'boolean') {
    writer.varint(2, value ? 1 : 0);
  } else if (value instanceof Uint8Array) {
    writer.bytesField(7, value);
  } else if (Array.isArray(value)) {
    const list = writer.begin(5);
    for (const item of value) writeAnyValue(writer, 1, item);
    writer.end(list);
  } else if (typeof value === 'object' && value !== null) {
    const list = writer.begin(6);
    writeAttributes(writer, 1, value as Attributes);
    writer.end(list);
  }
  writer.end(message);
}
