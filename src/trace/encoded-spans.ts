/**
 * Spans as OTLP's protobuf, written when they end: what waits for a collector is bytes outside V8's heap, not some
 * twenty objects a span, which the garbage collector would copy again and again. The bytes are those of
 * OpenTelemetry's own serializer; a test compares the two. docs/decisions/span-queue.md has what it brought.
 *
 * Source: opentelemetry/proto/trace/v1/trace.proto, common/v1/common.proto.
 */
import {
  type Attributes,
  type HrTime,
  type SpanContext,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { messages } from '../otlp/protobuf.ts';
import { type EncodedShape, LeanSpan, type SpanShape } from './lean-span.ts';
import { PAIR_BYTES, SPAN_ID_BYTES, TRACE_ID_BYTES } from './random-ids.ts';
import { FULL_BATCH_BYTES, type SpanBatch } from './span-batch.ts';

/** A field's number and wire type, as they stand before each value. */
const tag = (field: number, wireType: 0 | 1 | 2 | 5): number => (field << 3) | wireType;
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** In the ScopeSpans that a group becomes. */
const SPANS = 2;

const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

const FIRST_CAPACITY_BYTES = 4_096;

/** The spans of one scope, each with its tag and length before it. */
interface Group {
  resource: SettledResource;
  scope: InstrumentationScope;
  bytes: Buffer;
  length: number;
  count: number;
  /** Counted, and not yet among the bytes. */
  pending: LeanSpan[];
}

/**
 * Spans that are written together. The code that writes them is in none of the processor's caches when a span ends, and in
 * the first of them for all spans but the first of these; so few at a time that the garbage collector hardly meets them.
 */
const TOGETHER = 64;

/** What is written of a resource. */
export type SettledResource = Pick<Resource, 'attributes' | 'schemaUrl'>;

/** Spans of one scope as they go from one thread to another. */
export interface EncodedPart {
  scope: InstrumentationScope;
  /** Each span with its tag and length before it. */
  bytes: Uint8Array;
  count: number;
}

/** A little more than the last: one that is just too small would be twice as large in the end. */
const ROOM = 9 / 8;

/** How much the last group of each scope held: the next one will probably hold about as much. */
const usualBytes = new WeakMap<InstrumentationScope, number>();

/**
 * A buffer for each use that is free again. V8 counts the buffers of a batch among what is old before it is done with; from then
 * on they are freed with the next full collection only, and until then the process grows by them.
 */
const spares = new WeakMap<object, Buffer>();
/** What an unusual batch took is not kept. */
const LARGEST_SPARE = FULL_BATCH_BYTES;

/** A buffer that is nobody else's. @param least bytes that it has room for */
function takeBuffer(use: object, least: number): Buffer {
  const spare = spares.get(use);
  if (spare === undefined || spare.length < least) return Buffer.allocUnsafe(Math.ceil(least * ROOM));
  spares.delete(use);
  return spare;
}

function giveBack(use: object, buffer: Buffer | undefined): void {
  if (buffer !== undefined && buffer.length <= LARGEST_SPARE) spares.set(use, buffer);
}

/** What the buffers of requests are kept by; those of spans, by their scope. */
const REQUESTS = {};

export class EncodedSpans implements SpanBatch<EncodedSpans> {
  count = 0;
  bytes = 0;
  /** In the order in which they were begun. */
  readonly #groups: Group[] = [];
  #current: Group | undefined;
  /** That of the last request that was made. */
  #request: Buffer | undefined;

  get resource(): SettledResource | undefined {
    return this.#groups[0]?.resource;
  }

  /** A span that cannot be written is left out, and throws. */
  add(span: ReadableSpan): void {
    const group = this.#groupOf(span.resource, span.instrumentationScope);
    if (mayWait(span)) {
      group.pending.push(span);
      if (group.pending.length === TOGETHER) this.#writePending(group);
    } else {
      this.#writePending(group);
      this.#append(group, () => writeSpan(span));
    }
    group.count++;
    this.count++;
  }

  /** @param scope of `part`, but the same object for all parts of one scope: by it they are put together. */
  addPart(resource: SettledResource, scope: InstrumentationScope, { bytes, count }: EncodedPart): void {
    const group = this.#groupOf(resource, scope);
    this.#writePending(group);
    this.#append(group, () => writeBytes(bytes));
    group.count += count;
    this.count += count;
  }

  /** What is in it, in bytes that share no memory with it. It is closed by it. */
  parts(): EncodedPart[] {
    this.close();
    return this.#groups.map(({ scope, bytes, length, count }) => ({
      scope,
      bytes: Uint8Array.prototype.slice.call(bytes, 0, length),
      count,
    }));
  }

  /** The body of an ExportTraceServiceRequest; good until discard(). */
  request(): Uint8Array {
    this.#writeAllPending();
    out = takeBuffer(
      REQUESTS,
      this.#groups.reduce((total, { length }) => total + length + FIRST_CAPACITY_BYTES, 0),
    );
    at = 0;
    for (const resource of new Set(this.#groups.map((group) => group.resource))) {
      delimited(tag(1, BYTES), () => {
        delimited(tag(1, BYTES), () => {
          writeAttributes(resource.attributes, tag(1, BYTES));
          writeCount(tag(2, VARINT), 0);
        });
        for (const group of this.#groups) {
          if (group.resource === resource) delimited(tag(2, BYTES), () => writeGroup(group));
        }
        if (resource.schemaUrl) writeText(tag(3, BYTES), resource.schemaUrl);
      });
    }
    this.#request = out;
    return out.subarray(0, at);
  }

  close(): void {
    this.#writeAllPending();
    for (const { scope, length } of this.#groups) usualBytes.set(scope, length);
  }

  discard(): void {
    for (const { scope, bytes } of this.#groups.splice(0)) giveBack(scope, bytes);
    giveBack(REQUESTS, this.#request);
    this.#request = undefined;
  }

  halves(): [EncodedSpans, EncodedSpans] {
    this.#writeAllPending();
    const halves: [EncodedSpans, EncodedSpans] = [new EncodedSpans(), new EncodedSpans()];
    let room = this.count >>> 1;
    for (const { resource, scope, bytes, length, count } of this.#groups) {
      const first = Math.min(count, room);
      room -= first;
      const last = messages(bytes.subarray(0, length), SPANS)[first - 1];
      const middle = last === undefined ? 0 : last.byteOffset + last.length - bytes.byteOffset;
      const parts = [
        { scope, bytes: bytes.subarray(0, middle), count: first },
        { scope, bytes: bytes.subarray(middle, length), count: count - first },
      ];
      for (const [at, part] of parts.entries())
        if (part.count > 0) halves[at]?.addPart(resource, scope, part);
    }
    return halves;
  }

  #writeAllPending(): void {
    for (const group of this.#groups) this.#writePending(group);
  }

  #writePending(group: Group): void {
    const { pending } = group;
    if (pending.length === 0) return;
    group.pending = [];
    this.#append(group, () => {
      for (const span of pending) writeLeanSpan(span);
    });
  }

  /** What `write` throws leaves the group as it was. */
  #append(group: Group, write: () => void): void {
    out = group.bytes;
    at = group.length;
    write();
    this.bytes += at - group.length;
    group.bytes = out;
    group.length = at;
  }

  #groupOf(resource: SettledResource, scope: InstrumentationScope): Group {
    const current = this.#current;
    if (current !== undefined && current.scope === scope && current.resource === resource) return current;
    let group = this.#groups.find((each) => each.scope === scope && each.resource === resource);
    if (group === undefined) {
      const bytes = takeBuffer(scope, usualBytes.get(scope) ?? FIRST_CAPACITY_BYTES);
      group = { resource, scope, bytes, length: 0, count: 0, pending: [] };
      this.#groups.push(group);
    }
    this.#current = group;
    return group;
  }
}

/**
 * Whether a span may wait to be written with others: nothing changes it any more, nothing in it can refuse to be written, and
 * it is not so large that it has to count for the size of the batch at once.
 */
function mayWait(span: ReadableSpan): span is LeanSpan {
  if (!(span instanceof LeanSpan) || !span.isPlain) return false;
  const { added } = span;
  return added.length === 0 || !added.some(mayBeLarge);
}

const mayBeLarge = (value: unknown): boolean =>
  typeof value === 'string' ? value.length > LONGEST_TO_WAIT : typeof value === 'object';

const LONGEST_TO_WAIT = 1_024;

function writeGroup({ scope, bytes, length }: Group): void {
  delimited(tag(1, BYTES), () => {
    writeText(tag(1, BYTES), scope.name);
    if (scope.version) writeText(tag(2, BYTES), scope.version);
  });
  reserve(length);
  bytes.copy(out, at, 0, length);
  at += length;
  if (scope.schemaUrl) writeText(tag(3, BYTES), scope.schemaUrl);
}

// Where the next byte goes. Not fields of an object, since all of a span is written by them; and loops over bytes take
// them into variables of their own, since these are read and written in memory each time.
let out: Buffer = Buffer.alloc(0);
let at = 0;

/** Makes room for `bytes` more. */
function reserve(bytes: number): void {
  if (at + bytes <= out.length) return;
  const larger = Buffer.allocUnsafe(Math.max(out.length * 2, at + bytes));
  out.copy(larger, 0, 0, at);
  out = larger;
}

/** Most of what a span holds is shorter than 128 bytes: one byte for the length. */
function begin(fieldTag: number): number {
  reserve(4);
  writeVarint(fieldTag);
  return at++;
}

function finish(lengthAt: number): void {
  const length = at - lengthAt - 1;
  if (length < 0x80) {
    out[lengthAt] = length;
    return;
  }
  let more = 1;
  for (let rest = length >>> 14; rest > 0; rest >>>= 7) more++;
  reserve(more);
  out.copyWithin(lengthAt + 1 + more, lengthAt + 1, at);
  const end = at + more;
  at = lengthAt;
  writeVarint(length);
  at = end;
}

function delimited(fieldTag: number, write: () => void): void {
  const lengthAt = begin(fieldTag);
  write();
  finish(lengthAt);
}

/** A whole number of at most 32 bits, at a place that is reserved. */
function writeVarint(value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at++] = rest;
}

function writeCount(fieldTag: number, value: number): void {
  reserve(7);
  writeVarint(fieldTag);
  writeVarint(value);
}

function writeText(fieldTag: number, text: string): void {
  const { length } = text;
  reserve(7 + length * 3);
  writeVarint(fieldTag);
  if (length < 0x80) {
    const target = out;
    const from = at + 1;
    let index = 0;
    for (; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) break;
      target[from + index] = code;
    }
    if (index === length) {
      target[at] = length;
      at = from + length;
      return;
    }
  }
  const bytes = Buffer.byteLength(text);
  writeVarint(bytes);
  at += out.write(text, at);
}

/** The value of a hexadecimal digit, in lower or upper case. */
const digit = (code: number): number => (code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57);

function writeId(fieldTag: number, hex: string): void {
  const bytes = hex.length >>> 1;
  reserve(4 + bytes);
  writeVarint(fieldTag);
  writeVarint(bytes);
  putId(at, hex, bytes);
  at += bytes;
}

function putId(place: number, hex: string, bytes: number): void {
  const target = out;
  for (let index = 0; index < bytes; index++)
    target[place + index] = (digit(hex.charCodeAt(index * 2)) << 4) | digit(hex.charCodeAt(index * 2 + 1));
}

function writeFixed32(value: number): void {
  const target = out;
  const from = at;
  target[from] = value & 0xff;
  target[from + 1] = (value >>> 8) & 0xff;
  target[from + 2] = (value >>> 16) & 0xff;
  target[from + 3] = value >>> 24;
  at = from + 4;
}

/** Seconds and nanoseconds as nanoseconds in 64 bits: products of halves, since the whole is beyond 53 bits. */
function writeTime(fieldTag: number, [seconds, nanos]: HrTime): void {
  reserve(10);
  writeVarint(fieldTag);
  putNanoseconds(at, seconds, nanos);
  at += 8;
}

function putNanoseconds(place: number, seconds: number, nanos: number): void {
  const upper = Math.floor(seconds / 0x10000) * 1e9;
  const lower = (seconds % 0x10000) * 1e9 + nanos;
  const low = (lower % 0x100000000) + (upper % 0x10000) * 0x10000;
  const high = Math.floor(lower / 0x100000000) + Math.floor(upper / 0x10000) + Math.floor(low / 0x100000000);
  const target = out;
  for (let index = 0; index < 4; index++) {
    target[place + index] = (low >>> (index * 8)) & 0xff;
    target[place + 4 + index] = (high >>> (index * 8)) & 0xff;
  }
}

/** A whole number of up to 64 bits, negative ones in two's complement. */
function writeInteger(value: number): void {
  reserve(10);
  if (value >= 0 && value <= 0xffffffff) {
    writeVarint(value);
    return;
  }
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    out[at++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  out[at++] = Number(rest);
}

function writeAttributes(attributes: Attributes, fieldTag: number): void {
  for (const key in attributes) {
    if (Object.hasOwn(attributes, key)) writeKeyValue(fieldTag, key, attributes[key]);
  }
}

function writeKeyValue(fieldTag: number, key: string, value: unknown): void {
  const pairAt = begin(fieldTag);
  writeText(tag(1, BYTES), key);
  const valueAt = begin(tag(2, BYTES));
  writeValue(value);
  finish(valueAt);
  finish(pairAt);
}

/** An AnyValue. What has no form in it is written as an empty one. No closures in here: it runs for each attribute. */
function writeValue(value: unknown): void {
  if (typeof value === 'string') {
    writeText(tag(1, BYTES), value);
  } else if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= -(2 ** 63) && value < 2 ** 63) {
      reserve(1);
      writeVarint(tag(3, VARINT));
      writeInteger(value);
    } else {
      reserve(9);
      writeVarint(tag(4, FIXED64));
      at = out.writeDoubleLE(value, at);
    }
  } else if (typeof value === 'boolean') {
    writeCount(tag(2, VARINT), value ? 1 : 0);
  } else if (value instanceof Uint8Array) {
    writeBytesField(tag(7, BYTES), value);
  } else if (Array.isArray(value)) {
    writeArray(value);
  } else if (typeof value === 'object' && value !== null) {
    writeObject(value as Attributes);
  }
}

function writeArray(items: unknown[]): void {
  delimited(tag(5, BYTES), () => {
    for (const item of items) delimited(tag(1, BYTES), () => writeValue(item));
  });
}

function writeObject(attributes: Attributes): void {
  delimited(tag(6, BYTES), () => writeAttributes(attributes, tag(1, BYTES)));
}

function writeFlags(fieldTag: number, traceFlags: number, isRemote: boolean | undefined): void {
  reserve(6);
  writeVarint(fieldTag);
  writeFixed32((traceFlags & 0xff) | HAS_IS_REMOTE | (isRemote ? IS_REMOTE : 0));
}

function writeTraceState(fieldTag: number, { traceState }: SpanContext): void {
  const text = traceState?.serialize();
  if (text) writeText(fieldTag, text);
}

/**
 * Most spans are like one that was written before, but for their ids and times: that one is copied, and these are put in their
 * places. It is a fraction of the work, and of the functions that V8 has to compile.
 */
function writeLeanSpan(span: LeanSpan): void {
  const { shape, pool, parentSpanContext: parent } = span;
  const { traceId, traceFlags, traceState } = span.spanContext();
  if (
    shape.encoded === undefined ||
    pool === undefined ||
    span.added.length > 0 ||
    traceFlags !== TraceFlags.SAMPLED ||
    traceState !== undefined ||
    (parent !== undefined &&
      (parent.spanId.length !== SPAN_ID_BYTES * 2 || traceId.length !== TRACE_ID_BYTES * 2))
  ) {
    writeSpan(span);
    return;
  }
  const { patterns } = shape.encoded;
  const kind = parent === undefined ? 0 : parent.isRemote ? 2 : 1;
  const pattern = patterns[kind];
  if (pattern === undefined) {
    const from = at;
    writeSpan(span);
    patterns[kind] = Uint8Array.prototype.slice.call(out, from, at);
    return;
  }
  reserve(pattern.length);
  const target = out;
  target.set(pattern, at);
  let place = at + 2;
  // The length of the span is a varint.
  while ((target[place - 1] as number) > 0x7f) place++;
  // Each id has its tag and its length before it.
  place += 2;
  const pair = span.pair * PAIR_BYTES - place;
  if (parent !== undefined) putId(place, traceId, TRACE_ID_BYTES);
  else
    for (let end = place + TRACE_ID_BYTES, to = place; to < end; to++)
      target[to] = pool.bytes[pair + to] as number;
  for (let end = place + PAIR_BYTES, to = place + TRACE_ID_BYTES; to < end; to++)
    target[to + 2] = pool.bytes[pair + to] as number;
  place += 2 + PAIR_BYTES;
  if (parent !== undefined) {
    putId(place + 2, parent.spanId, SPAN_ID_BYTES);
    place += 2 + SPAN_ID_BYTES;
  }
  // Each time has its tag before it.
  putTimes(place + shape.encoded.head.length + 1, span);
  at += pattern.length;
}

/** Start and end, with room between them for the tag of the latter. As the SDK adds up its pairs, without making them. */
function putTimes(place: number, { startMs, durationMs }: LeanSpan): void {
  const seconds = Math.trunc(startMs / 1e3);
  const nanos = Math.round((startMs % 1e3) * 1e6);
  putNanoseconds(place, seconds, nanos);
  // That nanoseconds may be more than a second does not matter here.
  const more = Math.round((durationMs % 1e3) * 1e6);
  putNanoseconds(place + 9, seconds + Math.trunc(durationMs / 1e3), nanos + more);
}

function writeSpan(span: ReadableSpan): void {
  const spanAt = begin(tag(SPANS, BYTES));
  const lean = span instanceof LeanSpan ? span : undefined;
  const own = span.spanContext();
  const parent = span.parentSpanContext;
  const pool = lean?.pool;
  if (lean === undefined || pool === undefined) {
    writeId(tag(1, BYTES), own.traceId);
    writeId(tag(2, BYTES), own.spanId);
  } else {
    const traceIdAt = lean.pair * PAIR_BYTES;
    const spanIdAt = traceIdAt + TRACE_ID_BYTES;
    if (parent === undefined) writeBytesField(tag(1, BYTES), pool.bytes, traceIdAt, spanIdAt);
    else writeId(tag(1, BYTES), own.traceId);
    writeBytesField(tag(2, BYTES), pool.bytes, spanIdAt, traceIdAt + PAIR_BYTES);
  }
  writeTraceState(tag(3, BYTES), own);
  if (parent?.spanId) writeId(tag(4, BYTES), parent.spanId);
  if (lean === undefined) {
    writeHead(span);
    writeTime(tag(7, FIXED64), span.startTime);
    writeTime(tag(8, FIXED64), span.endTime);
    writeAttributes(span.attributes, tag(9, BYTES));
  } else {
    writeLeanPart(lean);
  }
  if (lean?.isPlain) writeBytes(PLAIN_TAIL);
  else writeTail(span);
  writeFlags(tag(16, FIXED32), own.traceFlags, parent?.isRemote);
  finish(spanAt);
}

/** Of a span without events and links, of which nothing was dropped, and whose status was not set: see writeTail. */
const PLAIN_TAIL = Uint8Array.of(
  tag(10, VARINT),
  0,
  tag(12, VARINT),
  0,
  tag(14, VARINT),
  0,
  tag(15, BYTES),
  2,
  tag(3, VARINT),
  SpanStatusCode.UNSET,
);

function writeTail(span: ReadableSpan): void {
  writeCount(tag(10, VARINT), span.droppedAttributesCount);
  for (const event of span.events) writeEvent(event);
  writeCount(tag(12, VARINT), span.droppedEventsCount);
  for (const link of span.links) writeLink(link);
  writeCount(tag(14, VARINT), span.droppedLinksCount);
  const statusAt = begin(tag(15, BYTES));
  if (span.status.message) writeText(tag(2, BYTES), span.status.message);
  writeCount(tag(3, VARINT), span.status.code);
  finish(statusAt);
}

function writeHead({ name, kind }: Pick<ReadableSpan, 'name' | 'kind'>): void {
  writeText(tag(5, BYTES), name);
  // OTLP's kinds have one more, for "not said", before the API's.
  if (kind !== undefined) writeCount(tag(6, VARINT), kind + 1);
}

/** From the name to the attributes: what is the same for all spans of a shape is written once, and copied. */
function writeLeanPart(span: LeanSpan): void {
  const { shape, added } = span;
  shape.encoded ??= encodeShape(shape);
  const { head, attributes } = shape.encoded;
  writeBytes(head);
  if (span.givenEnd !== undefined) {
    writeTime(tag(7, FIXED64), span.startTime);
    writeTime(tag(8, FIXED64), span.endTime);
  } else {
    reserve(18);
    writeVarint(tag(7, FIXED64));
    putTimes(at, span);
    at += 8;
    writeVarint(tag(8, FIXED64));
    at += 8;
  }
  writeBytes(attributes);
  for (let index = 0; index < added.length; index += 2)
    writeKeyValue(tag(9, BYTES), added[index] as string, added[index + 1]);
}

/** In the middle of a span that is being written. */
function encodeShape(shape: SpanShape): EncodedShape {
  const [outBefore, atBefore] = [out, at];
  const bytesOf = (write: () => void): Uint8Array => {
    out = Buffer.allocUnsafe(FIRST_CAPACITY_BYTES);
    at = 0;
    write();
    return Uint8Array.prototype.slice.call(out, 0, at);
  };
  try {
    return {
      head: bytesOf(() => writeHead(shape)),
      attributes: bytesOf(() => writeAttributes(shape.attributes, tag(9, BYTES))),
      patterns: [undefined, undefined, undefined],
    };
  } finally {
    out = outBefore;
    at = atBefore;
  }
}

function writeBytesField(fieldTag: number, bytes: Uint8Array, from = 0, to = bytes.length): void {
  reserve(6);
  writeVarint(fieldTag);
  writeVarint(to - from);
  writeBytes(bytes, from, to);
}

function writeBytes(bytes: Uint8Array, from = 0, to = bytes.length): void {
  const length = to - from;
  reserve(length);
  if (length > FEW_BYTES) {
    out.set(length === bytes.length ? bytes : bytes.subarray(from, to), at);
  } else {
    const target = out;
    const start = at - from;
    for (let index = from; index < to; index++) target[start + index] = bytes[index] as number;
  }
  at += length;
}

/** As many are written sooner than a function of V8's is called for them. */
const FEW_BYTES = 32;

function writeEvent(event: ReadableSpan['events'][number]): void {
  const eventAt = begin(tag(11, BYTES));
  writeTime(tag(1, FIXED64), event.time);
  writeText(tag(2, BYTES), event.name);
  if (event.attributes) writeAttributes(event.attributes, tag(3, BYTES));
  writeCount(tag(4, VARINT), event.droppedAttributesCount ?? 0);
  finish(eventAt);
}

function writeLink(link: ReadableSpan['links'][number]): void {
  const linkAt = begin(tag(13, BYTES));
  writeId(tag(1, BYTES), link.context.traceId);
  writeId(tag(2, BYTES), link.context.spanId);
  writeTraceState(tag(3, BYTES), link.context);
  if (link.attributes) writeAttributes(link.attributes, tag(4, BYTES));
  writeCount(tag(5, VARINT), link.droppedAttributesCount ?? 0);
  writeFlags(tag(6, FIXED32), link.context.traceFlags, link.context.isRemote);
  finish(linkAt);
}
