/**
 * Spans as OTLP's protobuf. The bytes are those of OpenTelemetry's own serializer; a test compares the two.
 *
 * Source: opentelemetry/proto/trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
 */
import type { Attributes, HrTime, Link, SpanContext, SpanStatus } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan, TimedEvent } from '@opentelemetry/sdk-trace';
import type { PbfWriter } from 'pbf';

/** The encoded parts of a resource. */
export type SettledResource = Pick<Resource, 'attributes' | 'schemaUrl'>;

/** The field of ScopeSpans that a span is. */
export const SPANS = 2;

/** In the flags of spans and links, above the W3C flags. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** Wire type of a value of 8 bytes. */
const FIXED64 = 1;

/**
 * ScopeSpans.spans, a Span:
 *  1 trace_id        7 start_time          11 events                    15 status
 *  2 span_id         8 end_time            12 dropped_events_count      16 flags
 *  3 trace_state     9 attributes          13 links
 *  4 parent_span_id 10 dropped_attributes  14 dropped_links_count
 *  5 name
 *  6 kind
 */
export function writeSpan(span: ReadableSpan, writer: PbfWriter): void {
  const own = span.spanContext();
  const parent = span.parentSpanContext;
  writeHex(writer, 1, own.traceId);
  writeHex(writer, 2, own.spanId);
  writeTraceState(writer, 3, own);
  if (parent?.spanId) writeHex(writer, 4, parent.spanId);
  writeText(writer, 5, span.name);
  // OTLP has one kind more than the API, "unspecified", before all others.
  if (span.kind !== undefined) writer.writeVarintField(6, span.kind + 1);
  writeNanoseconds(writer, 7, span.startTime);
  writeNanoseconds(writer, 8, span.endTime);
  writeAttributes(writer, 9, span.attributes);
  writer.writeVarintField(10, span.droppedAttributesCount);
  for (const event of span.events) writer.writeMessage(11, writeEvent, event);
  writer.writeVarintField(12, span.droppedEventsCount);
  for (const link of span.links) writer.writeMessage(13, writeLink, link);
  writer.writeVarintField(14, span.droppedLinksCount);
  writer.writeMessage(15, writeStatus, span.status);
  writeFlags(writer, 16, own.traceFlags, parent?.isRemote);
}

/** Span.events, an Event: 1 time, 2 name, 3 attributes, 4 dropped_attributes_count */
function writeEvent(event: TimedEvent, writer: PbfWriter): void {
  writeNanoseconds(writer, 1, event.time);
  writeText(writer, 2, event.name);
  if (event.attributes) writeAttributes(writer, 3, event.attributes);
  writer.writeVarintField(4, event.droppedAttributesCount ?? 0);
}

/**
 * Span.links, a Link: 1 trace_id, 2 span_id, 3 trace_state, 4 attributes, 5 dropped_attributes_count, 6 flags
 */
function writeLink(link: Link, writer: PbfWriter): void {
  writeHex(writer, 1, link.context.traceId);
  writeHex(writer, 2, link.context.spanId);
  writeTraceState(writer, 3, link.context);
  if (link.attributes) writeAttributes(writer, 4, link.attributes);
  writer.writeVarintField(5, link.droppedAttributesCount ?? 0);
  writeFlags(writer, 6, link.context.traceFlags, link.context.isRemote);
}

/** Span.status, a Status: 2 message, 3 code */
function writeStatus({ code, message }: SpanStatus, writer: PbfWriter): void {
  if (message) writeText(writer, 2, message);
  writer.writeVarintField(3, code);
}

/** ResourceSpans.resource, a Resource: 1 attributes, 2 dropped_attributes_count */
export function writeResource({ attributes }: SettledResource, writer: PbfWriter): void {
  writeAttributes(writer, 1, attributes);
  writer.writeVarintField(2, 0);
}

/** ScopeSpans.scope, an InstrumentationScope: 1 name, 2 version */
export function writeScope({ name, version }: InstrumentationScope, writer: PbfWriter): void {
  writeText(writer, 1, name);
  if (version) writeText(writer, 2, version);
}

function writeAttributes(writer: PbfWriter, field: number, attributes: Attributes): void {
  for (const attribute of Object.entries(attributes)) writer.writeMessage(field, writeKeyValue, attribute);
}

/** A KeyValue: 1 key, 2 value */
function writeKeyValue([key, value]: [key: string, value: unknown], writer: PbfWriter): void {
  writeText(writer, 1, key);
  writer.writeMessage(2, writeAnyValue, value);
}

/**
 * An AnyValue: 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist, 7 bytes. Any other value is an empty
 * AnyValue.
 */
function writeAnyValue(value: unknown, writer: PbfWriter): void {
  if (typeof value === 'string') writeText(writer, 1, value);
  else if (typeof value === 'boolean') writer.writeBooleanField(2, value);
  else if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63) writer.writeVarintField(3, value);
    else writer.writeDoubleField(4, value);
  } else if (value instanceof Uint8Array) writer.writeBytesField(7, value);
  else if (Array.isArray(value)) writer.writeMessage(5, writeArray, value);
  else if (typeof value === 'object' && value !== null) writer.writeMessage(6, writeKeyValues, value);
}

/** An ArrayValue: 1 values */
function writeArray(values: unknown[], writer: PbfWriter): void {
  for (const value of values) writer.writeMessage(1, writeAnyValue, value);
}

/** A KeyValueList: 1 values */
const writeKeyValues = (values: object, writer: PbfWriter): void =>
  writeAttributes(writer, 1, values as Attributes);

function writeTraceState(writer: PbfWriter, field: number, { traceState }: SpanContext): void {
  const text = traceState?.serialize();
  if (text) writeText(writer, field, text);
}

function writeFlags(
  writer: PbfWriter,
  field: number,
  traceFlags: number,
  isRemote: boolean | undefined,
): void {
  writer.writeFixed32Field(field, (traceFlags & 0xff) | HAS_IS_REMOTE | (isRemote ? IS_REMOTE : 0));
}

const SURROGATE = /[\ud800-\udfff]/;

/** pbf 5.1.2 writes wrong bytes for most characters above U+1FFFF. */
export function writeText(writer: PbfWriter, field: number, text: string): void {
  if (SURROGATE.test(text)) writer.writeBytesField(field, Buffer.from(text));
  else writer.writeStringField(field, text);
}

/** @param hex two digits for each byte, in lower or upper case. */
function writeHex(writer: PbfWriter, field: number, hex: string): void {
  writer.writeBytesField(field, Buffer.from(hex, 'hex'));
}

/**
 * Seconds and nanoseconds as nanoseconds in 64 bits, computed in two parts, since a number has 53 bits only.
 */
function writeNanoseconds(writer: PbfWriter, field: number, [seconds, nanos]: HrTime): void {
  const upper = Math.floor(seconds / 0x10000) * 1e9;
  const lower = (seconds % 0x10000) * 1e9 + nanos;
  const low = (lower % 0x100000000) + (upper % 0x10000) * 0x10000;
  writer.writeTag(field, FIXED64);
  writer.writeFixed32(low);
  writer.writeFixed32(
    Math.floor(lower / 0x100000000) + Math.floor(upper / 0x10000) + Math.floor(low / 0x100000000),
  );
}
