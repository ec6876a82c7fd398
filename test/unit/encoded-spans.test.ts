/** What EncodedSpans writes is, byte for byte, what OpenTelemetry's serializer makes of the same spans. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Attributes, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { TraceState } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { type ReadableSpan, TracerProvider } from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { EncodedSpans } from '../../src/trace/encoded-spans.ts';

function encode(spans: readonly ReadableSpan[]): Uint8Array {
  const batch = new EncodedSpans();
  for (const span of spans) batch.add(span);
  assert.equal(batch.count, spans.length);
  return batch.request();
}

function assertSameBytes(spans: ReadableSpan[]): void {
  const expected = ProtobufTraceSerializer.serializeRequest(spans);
  assert.ok(expected !== undefined);
  assert.equal(Buffer.from(encode(spans)).toString('hex'), Buffer.from(expected).toString('hex'));
}

/** A provider whose ended spans are collected. */
function makeProvider(resource: Attributes = {}, schemaUrl?: string) {
  const spans: ReadableSpan[] = [];
  const provider = new TracerProvider({
    resource: resourceFromAttributes(resource, schemaUrl === undefined ? {} : { schemaUrl }),
    spanProcessors: [
      {
        onStart() {},
        onEnd: (span) => spans.push(span),
        forceFlush: async () => {},
        shutdown: async () => {},
      },
    ],
  });
  return { provider, spans };
}

/** A span as the SDK makes them, with these fields in the place of its own. */
function makeSpan(fields: Partial<ReadableSpan>): ReadableSpan {
  const { provider, spans } = makeProvider({ 'service.name': 'test' });
  provider.getTracer('test').startSpan('span', {}, ROOT_CONTEXT).end();
  return Object.assign(Object.create(spans[0] as ReadableSpan), fields);
}

const withField = <K extends keyof ReadableSpan>(field: K, value: unknown): ReadableSpan => {
  const span = makeSpan({});
  Object.defineProperty(span, field, { value });
  return span;
};

describe('the bytes are those of OpenTelemetry’s serializer:', () => {
  test('spans with children, events, links, status, several scopes and resources', () => {
    const first = makeProvider({ 'service.name': 'one', 'process.pid': 7 });
    const second = makeProvider({ 'service.name': 'two', list: ['a', 'b'] }, 'https://schema.example/1');
    const spans: ReadableSpan[] = [];
    for (const { provider, spans: ended } of [first, second]) {
      for (const scope of [
        provider.getTracer('plain'),
        provider.getTracer('with version', '1.2.3', { schemaUrl: 'https://schema.example/2' }),
      ]) {
        const parent = scope.startSpan('parent', { kind: SpanKind.CLIENT, attributes: { a: 1, b: 'é' } });
        const context = trace.setSpan(ROOT_CONTEXT, parent);
        const child = scope.startSpan('child', { links: [{ context: parent.spanContext() }] }, context);
        child.addEvent('event', { x: 1.5 });
        child.recordException(new Error('broken'));
        child.setStatus({ code: SpanStatusCode.ERROR, message: 'it broke ✗' });
        child.end();
        parent.end();
      }
      spans.push(...ended);
    }
    assert.equal(spans.length, 8);
    // One after the other, and mixed: batches group them in the order in which they came.
    assertSameBytes(spans);
    assertSameBytes([0, 4, 2, 6, 1, 5, 3, 7].map((index) => spans[index] as ReadableSpan));
  });

  test('a parent from elsewhere, with trace state', () => {
    const { provider, spans } = makeProvider();
    const remote = {
      traceId: '0af7651916cd43dd8448eb211c80319c',
      spanId: 'B7AD6B7169203331',
      traceFlags: 1,
      isRemote: true,
      traceState: new TraceState('a=1,b=2'),
    };
    const context = trace.setSpanContext(ROOT_CONTEXT, remote);
    provider
      .getTracer('t')
      .startSpan('s', { links: [{ context: remote }] }, context)
      .end();
    assertSameBytes(spans);
  });

  for (const [what, value] of Object.entries({
    integers: [
      0,
      -0,
      1,
      127,
      128,
      300,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 53,
      2 ** 62,
      -1,
      -300,
      -(2 ** 63),
    ],
    'numbers that are no 64-bit integers': [0.1, -2.5, Number.NaN, Infinity, -Infinity, 2 ** 63, 1e300],
    texts: [
      '',
      'a',
      'é',
      '✗',
      '😀',
      '\u{20000}',
      '\u{40000}',
      '\ud800',
      'x'.repeat(127),
      'x'.repeat(128),
      'é'.repeat(100_000),
    ],
    'lists with gaps': [[null, 'a', undefined, null]],
    bytes: [new Uint8Array([0, 1, 255]), new Uint8Array(300)],
    maps: [{ a: { b: [1, 'x', { c: true }] }, ['long key'.repeat(40)]: 1 }],
    nothing: [null, undefined, () => {}, Symbol('s')],
  })) {
    test(`attributes: ${what}`, () => {
      for (const each of value) assertSameBytes([makeSpan({ attributes: { key: each } as Attributes })]);
    });
  }

  test('an attribute that the object only inherits is left out', () => {
    const attributes = Object.assign(Object.create({ inherited: 1 }), { own: 2 });
    assertSameBytes([makeSpan({ attributes })]);
  });

  test('times: the first, the last that 32 bits of seconds hold, and each carry between the halves', () => {
    for (const seconds of [0, 1, 4, 5, 65_535, 65_536, 1_800_000_000, 2 ** 32 - 1]) {
      for (const nanos of [0, 1, 294_967_295, 294_967_296, 999_999_999]) {
        assertSameBytes([makeSpan({ startTime: [seconds, nanos], endTime: [seconds, nanos] })]);
      }
    }
  });

  test('dropped attributes, events and links are counted', () => {
    const span = withField('droppedAttributesCount', 300);
    Object.defineProperty(span, 'droppedEventsCount', { value: 2 });
    Object.defineProperty(span, 'droppedLinksCount', { value: 200_000 });
    assertSameBytes([span]);
  });

  test('a span of any size: each length field grows from one byte to several', () => {
    for (const size of [1, 60, 100, 110, 120, 127, 128, 200, 16_200, 16_383, 16_384, 70_000, 3_000_000]) {
      assertSameBytes([makeSpan({ name: 'n'.repeat(size), attributes: { list: ['v'.repeat(size), 'w'] } })]);
    }
  });

  test('whatever the attributes, names and status are', () => {
    const leaf = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.maxSafeInteger(),
      fc.double(),
      fc.boolean(),
      fc.uint8Array(),
      fc.constant(null),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    const attributes = fc.dictionary(fc.string({ unit: 'binary' }), value as fc.Arbitrary<never>, {
      maxKeys: 8,
      noNullPrototype: true,
    });
    const time = fc.tuple(fc.nat(2 ** 31 - 1), fc.nat(999_999_999));
    const span = fc.record({
      name: fc.string({ unit: 'binary' }),
      kind: fc.constantFrom(0, 1, 2, 3, 4),
      attributes,
      startTime: time,
      endTime: time,
      events: fc.array(fc.record({ name: fc.string(), time, attributes, droppedAttributesCount: fc.nat() }), {
        maxLength: 2,
      }),
      status: fc.record({
        code: fc.constantFrom(0, 1, 2),
        message: fc.option(fc.string(), { nil: undefined }),
      }),
    });
    fc.assert(
      fc.property(fc.array(span, { minLength: 1, maxLength: 5 }), (all) =>
        assertSameBytes(all.map((fields) => makeSpan(fields as Partial<ReadableSpan>))),
      ),
      { numRuns: 500 },
    );
  });
});

test('a batch of thousands of spans grows as it must', () => {
  const { provider, spans } = makeProvider({ 'service.name': 'many' });
  const tracer = provider.getTracer('t');
  for (let index = 0; index < 5_000; index++)
    tracer.startSpan(`search ${index}`, { attributes: { index } }).end();
  assertSameBytes(spans);
});

test('a request can be made again, as after an attempt in vain, and with more spans in it', () => {
  const batch = new EncodedSpans();
  const one = makeSpan({ name: 'one' });
  const two = Object.assign(Object.create(one), { name: 'two' });
  batch.add(one);
  const before = Buffer.from(batch.request());
  assert.deepEqual(Buffer.from(batch.request()), before);
  batch.add(two);
  assert.deepEqual(
    Buffer.from(batch.request()),
    Buffer.from(ProtobufTraceSerializer.serializeRequest([one, two]) ?? []),
  );
});

test('what goes from one thread to another in parts is the same request there', () => {
  const { provider, spans } = makeProvider({ 'service.name': 'worker' }, 'https://schema.example/1');
  for (const scope of ['one', 'two', 'one'])
    provider.getTracer(scope, '1.0').startSpan(scope, { attributes: { scope } }).end();
  const there = new EncodedSpans();
  const scopes = new Map(spans.map(({ instrumentationScope: scope }) => [scope.name, scope]));
  // One by one, as a worker posts them, and as copies, as the main thread gets them.
  for (const span of spans) {
    const here = new EncodedSpans();
    here.add(span);
    for (const part of structuredClone(here.parts())) {
      const scope = scopes.get(part.scope.name);
      assert.ok(scope !== undefined);
      there.addPart((spans[0] as ReadableSpan).resource, scope, part);
    }
  }
  assert.equal(there.count, 3);
  assert.deepEqual(
    Buffer.from(there.request()),
    Buffer.from(ProtobufTraceSerializer.serializeRequest(spans) ?? []),
  );
});

test('halves have the same spans in the same order, whatever scopes and sizes they have', () => {
  const { provider, spans } = makeProvider({ 'service.name': 'cut' });
  // Lengths of one byte to three.
  for (const [index, length] of [1, 90, 200, 40_000, 3, 20_000, 7].entries())
    provider
      .getTracer(index < 4 ? 'one' : 'two', '1.0')
      .startSpan(`span ${index}`, { attributes: { text: 'x'.repeat(length) } })
      .end();
  for (let count = 2; count <= spans.length; count++) {
    const some = spans.slice(0, count);
    const batch = new EncodedSpans();
    for (const span of some) batch.add(span);
    const before = Buffer.from(batch.request());
    const middle = count >>> 1;
    for (const [half, expected] of [
      [batch.split()[0], some.slice(0, middle)],
      [batch.split()[1], some.slice(middle)],
    ] as const) {
      assert.equal(half.count, expected.length);
      assert.deepEqual(
        Buffer.from(half.request()),
        Buffer.from(ProtobufTraceSerializer.serializeRequest(expected) ?? []),
      );
    }
    assert.deepEqual(Buffer.from(batch.request()), before, 'and it is not changed by it');
  }
});

test('a batch knows how large it is', () => {
  const batch = new EncodedSpans();
  assert.equal(batch.bytes, 0);
  batch.add(makeSpan({ attributes: { text: 'x'.repeat(10_000) } }));
  assert.ok(batch.bytes > 10_000 && batch.bytes <= batch.request().length, `${batch.bytes}`);
  const there = new EncodedSpans();
  const [part] = batch.parts();
  assert.ok(part !== undefined);
  there.addPart(makeSpan({}).resource, part.scope, part);
  assert.equal(there.bytes, batch.bytes);
});

test('a part shares no memory with the batch that it comes from', () => {
  const batch = new EncodedSpans();
  batch.add(makeSpan({ name: 'one' }));
  const [part] = batch.parts();
  assert.ok(part !== undefined);
  assert.equal(part.bytes.byteLength, part.bytes.buffer.byteLength);
});

test('a batch that was discarded has no spans, and its memory may serve the next one', () => {
  const { provider, spans } = makeProvider({ 'service.name': 'again' });
  const tracer = provider.getTracer('again');
  for (const length of [90_000, 10, 80_000])
    tracer.startSpan(`of ${length}`, { attributes: { text: 'x'.repeat(length) } }).end();
  const expected = spans.map((span) =>
    Buffer.from(ProtobufTraceSerializer.serializeRequest([span]) ?? []).toString('hex'),
  );
  const [long, short, shorter] = spans as [ReadableSpan, ReadableSpan, ReadableSpan];
  const fill = (span: ReadableSpan) => {
    const batch = new EncodedSpans();
    batch.add(span);
    batch.close();
    return batch;
  };
  const hex = (body: Uint8Array) => Buffer.from(body).toString('hex');

  const done = fill(long);
  assert.equal(hex(done.request()), expected[0]);
  done.discard();
  const first = fill(short);
  const firstBody = first.request();
  const second = fill(shorter);
  const secondBody = second.request();
  assert.equal(hex(firstBody), expected[1]);
  assert.equal(hex(secondBody), expected[2]);
  first.discard();
  assert.equal(hex(fill(long).request()), expected[0]);
  assert.equal(hex(secondBody), expected[2], 'what is on its way is not written over');
  assert.equal(first.request().length, 0, 'what is done with has no spans');
});

test('what changes after a span has ended does not change what is sent', () => {
  const attributes: Attributes = { key: 'before' };
  const span = makeSpan({ attributes });
  const batch = new EncodedSpans();
  batch.add(span);
  const expected = Buffer.from(ProtobufTraceSerializer.serializeRequest([span]) ?? []);
  attributes.key = 'after';
  assert.deepEqual(Buffer.from(batch.request()), expected);
});

test('a span that cannot be written leaves the others as they are', () => {
  const good = makeSpan({ name: 'good' });
  const bad = Object.assign(Object.create(good), {
    name: 'x'.repeat(10_000),
    attributes: {
      get key(): string {
        throw new Error('not readable');
      },
    },
  });
  const batch = new EncodedSpans();
  batch.add(good);
  assert.throws(() => batch.add(bad), /not readable/);
  batch.add(good);
  assert.equal(batch.count, 2);
  assert.deepEqual(
    Buffer.from(batch.request()),
    Buffer.from(ProtobufTraceSerializer.serializeRequest([good, good]) ?? []),
  );
});
