/** A lean span is what the SDK's own span would be, whatever is done to it, and so are its bytes. */
import assert from 'node:assert/strict';
import { afterEach, describe, mock, test } from 'node:test';
import {
  type Attributes,
  type AttributeValue,
  type Context,
  DiagLogLevel,
  defaultTextMapSetter,
  diag,
  type HrTime,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { TraceState, W3CTraceContextPropagator } from '@opentelemetry/core';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  type SpanLimits,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { Clock } from '../../src/trace/clock.ts';
import { EncodedSpans } from '../../src/trace/encoded-spans.ts';
import { ExactStarts } from '../../src/trace/exact-starts.ts';
import {
  type KeptShapes,
  LeanSpan,
  MAX_FOLLOWERS,
  type ShapeTracer,
  SpanShape,
  withLeanSpans,
} from '../../src/trace/lean-span.ts';
import { RandomIds } from '../../src/trace/random-ids.ts';

const SCOPE = 'lean';
const START_MS = 1_800_000_000_123;
const ATTRIBUTES: Attributes = { 'db.system.name': 'milvus', 'server.port': 19_531, yes: true };
/** One for all, so that spans also have shapes that were made for others before them. */
const SHAPE = new SpanShape('search docs', SpanKind.CLIENT, ATTRIBUTES, { count: 0 });

/** A processor that does nothing else. */
const IDLE: SpanProcessor = {
  onStart() {},
  onEnd() {},
  forceFlush: async () => {},
  shutdown: async () => {},
};

interface Given {
  sampler?: Sampler;
  spanLimits?: SpanLimits;
  parent?: Context;
  more?: SpanProcessor[];
}

/** Both kinds of span, made and treated alike by the same provider at the same times, with ids that repeat. */
function both({ sampler, spanLimits, parent = ROOT_CONTEXT, more = [] }: Given, treat: (span: Span) => void) {
  const ended: ReadableSpan[] = [];
  const started: Context[] = [];
  let made = 0;
  const provider = new TracerProvider({
    ...(sampler === undefined ? {} : { sampler }),
    ...(spanLimits === undefined ? {} : { spanLimits }),
    resource: resourceFromAttributes({ 'service.name': 'test' }),
    idGenerator: {
      generateSpanId: () => `${(made++ % 2) + 1}`.padStart(16, '0'),
      generateTraceId: () => `${(made++ % 2) + 1}`.padStart(32, '0'),
    },
    spanProcessors: [
      new ExactStarts(clock),
      {
        ...IDLE,
        onStart: (_span, context) => started.push(context),
        onEnd: (span) => ended.push(span),
      },
      ...more,
    ],
  });
  const options = { kind: SpanKind.CLIENT, attributes: ATTRIBUTES };
  const makers = [
    () => provider.getTracer(SCOPE, '1').startSpan('search docs', options, parent),
    () => leanTracer(provider).startShape(SHAPE, parent),
  ];
  const spans = makers.map((make) => {
    made = 0;
    atMs = 0;
    const span = make();
    treat(span);
    return span;
  });
  assert.deepEqual(started, ended.length > 0 ? [parent, parent] : started);
  return { spans: spans as [Span, Span], ended };
}

function leanTracer(provider: TracerProvider): ShapeTracer {
  const tracer = withLeanSpans(provider, SCOPE, clock).getTracer(SCOPE, '1');
  assert.ok('startShape' in tracer, 'the SDK is one that lean spans are written for');
  return tracer as ShapeTracer;
}

/** Milliseconds since a span began. */
let atMs = 0;
mock.method(Date, 'now', () => START_MS + Math.floor(atMs));
mock.method(performance, 'now', () => 5_000.25 + atMs);
const clock = new Clock({
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  originMs: START_MS - 5_000.25,
});

const fieldsOf = (span: ReadableSpan) => ({
  name: span.name,
  kind: span.kind,
  context: span.spanContext(),
  parent: span.parentSpanContext,
  start: span.startTime,
  end: span.endTime,
  duration: span.duration,
  ended: span.ended,
  status: span.status,
  attributes: Object.entries(span.attributes),
  events: span.events,
  links: span.links,
  dropped: [span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount],
  scope: span.instrumentationScope,
  resource: span.resource.attributes,
});

function assertAlike(given: Given, treat: (span: Span) => void): void {
  const { spans, ended } = both(given, treat);
  assert.deepEqual(spans[1].spanContext(), spans[0].spanContext());
  assert.equal(spans[1].isRecording(), spans[0].isRecording());
  const [theirs, ours] = ended;
  assert.equal(ended.length % 2, 0);
  if (theirs === undefined || ours === undefined) return;
  assert.ok(ours instanceof LeanSpan && !(theirs instanceof LeanSpan));
  assert.deepEqual(fieldsOf(ours), fieldsOf(theirs));
  assertBytes(ours, theirs);
}

/** The bytes of `ours` are those that OpenTelemetry makes of `expected`. */
function assertBytes(ours: ReadableSpan, expected: ReadableSpan): void {
  const batch = new EncodedSpans();
  batch.add(ours);
  const theirs = ProtobufTraceSerializer.serializeRequest([expected]) ?? [];
  assert.equal(Buffer.from(batch.request()).toString('hex'), Buffer.from(theirs).toString('hex'));
}

const REMOTE: SpanContext = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  traceFlags: TraceFlags.SAMPLED,
  isRemote: true,
  traceState: new TraceState('a=1'),
};
const under = (parent: Partial<SpanContext>): Context =>
  trace.setSpanContext(ROOT_CONTEXT, { ...REMOTE, ...parent });

const later = (ms: number) => {
  atMs += ms;
};

describe('a lean span is what the SDK’s is:', () => {
  afterEach(() => diag.disable());

  test('with the attributes, status and duration of an operation', () => {
    assertAlike({}, (span) => {
      span.setAttribute('milvus.search.nq', 1).setAttributes({ list: ['a', 'b'], half: 0.5, no: undefined });
      later(12.345_678);
      span.setStatus({ code: SpanStatusCode.ERROR, message: 'reason' }).end();
    });
  });

  test('when the end is in the next second', () => {
    assertAlike({}, (span) => {
      later(876.999_999);
      span.end();
    });
    assertAlike({}, (span) => {
      later(3_600_999.5);
      span.end();
    });
  });

  for (const [what, parent] of Object.entries({
    sampled: under({}),
    'not sampled': under({ traceFlags: TraceFlags.NONE }),
    'of this process': trace.setSpanContext(ROOT_CONTEXT, { ...REMOTE, isRemote: false }),
    invalid: under({ traceId: '0'.repeat(32) }),
  }))
    test(`under a parent: ${what}`, () => assertAlike({ parent }, (span) => span.end()));

  for (const [what, sampler] of Object.entries({
    'never samples': { shouldSample: () => ({ decision: SamplingDecision.NOT_RECORD }) },
    'records without sampling': { shouldSample: () => ({ decision: SamplingDecision.RECORD }) },
    'adds attributes and state': {
      shouldSample: () => ({
        decision: SamplingDecision.RECORD_AND_SAMPLED,
        attributes: { 'sampler.reason': 'why', 'server.port': 1 },
        traceState: new TraceState('b=2'),
      }),
    },
    'samples by ratio': new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0.5) }),
  } satisfies Record<string, Sampler>))
    test(`with a sampler that ${what}`, () => assertAlike({ sampler }, (span) => span.end()));

  test('a sampler is asked the same', () => {
    const asked: unknown[][] = [];
    const sampler: Sampler = {
      shouldSample: (...given) => {
        asked.push(structuredClone(given.slice(1)));
        return { decision: SamplingDecision.RECORD_AND_SAMPLED };
      },
    };
    assertAlike({ sampler }, (span) => span.end());
    assert.deepEqual(asked[1], asked[0]);
  });

  test('whatever times are given for its events and its end', () => {
    const times = [
      new Date(START_MS + 50),
      START_MS + 60,
      // Of performance.now(); and long before the start.
      5_001,
      [1_800_000_000, 500_000_000] as HrTime,
      new Date(0),
    ];
    for (const time of times) {
      assertAlike({}, (span) => {
        later(3);
        span.addEvent('now').addEvent('given', time).addEvent('with attributes', { a: 1 }, time);
        span.end(time);
      });
    }
  });

  test('with exceptions of each kind', () => {
    const error = Object.assign(new TypeError('broken'), { stack: 'TypeError: broken\n    at app.js:1:1' });
    for (const exception of [error, 'text', { code: 5, message: 'm' }, { name: 'only' }, {}])
      assertAlike({}, (span) => {
        span.recordException(exception as Error);
        span.end();
      });
  });

  test('beyond the limits of attributes, events and links', () => {
    const spanLimits = {
      attributeCountLimit: 40,
      eventCountLimit: 2,
      linkCountLimit: 2,
      attributePerEventCountLimit: 1,
      attributePerLinkCountLimit: 1,
    };
    assertAlike({ spanLimits }, (span) => {
      for (let index = 0; index < 50; index++) span.setAttribute(`key ${index}`, index);
      // What is there already may change all the same.
      span.setAttribute('key 1', 'new').setAttribute('yes', false);
      for (const id of ['a', 'b', 'c']) {
        span.addEvent(id, { a: 1, b: 2 });
        span.addLink({ context: { ...REMOTE, spanId: id.repeat(16) }, attributes: { a: 1, b: 2 } });
      }
      span.end();
    });
  });

  test('nothing changes it after its end, and it is said at the level of a warning', () => {
    const warnings: string[] = [];
    const silent = () => {};
    diag.setLogger(
      { error: silent, warn: (text) => warnings.push(text), info: silent, debug: silent, verbose: silent },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    );
    assertAlike({}, (span) => {
      span.end();
      later(1);
      span.setAttribute('late', 1).setStatus({ code: SpanStatusCode.OK }).updateName('late').addEvent('late');
      span.addLink({ context: REMOTE });
      span.end();
    });
    assert.ok(warnings.some((text) => /ended Span/.test(text)));
  });

  test('whatever is done to it', () => {
    const value = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.array(fc.string()),
      fc.constantFrom(undefined, null, new Uint8Array([1]), { a: 1 }, Symbol('s'), () => {}),
    ) as fc.Arbitrary<AttributeValue>;
    // Not numbers: objects have those before other keys, whenever they came.
    const key = fc.oneof(
      fc.constantFrom('', 'yes', 'db.system.name', 'same'),
      fc.string().map((text) => `key ${text}`),
    );
    const deed: fc.Arbitrary<(span: Span) => void> = fc.oneof(
      fc.tuple(key, value).map(
        ([name, what]) =>
          (span: Span) =>
            void span.setAttribute(name, what),
      ),
      fc.dictionary(key, value).map((all) => (span: Span) => void span.setAttributes(all)),
      fc.string().map((name) => (span: Span) => void span.updateName(name)),
      fc
        .record({ code: fc.constantFrom(0, 1, 2), message: fc.option(fc.string(), { nil: undefined }) })
        .map((status) => (span: Span) => void span.setStatus(status as Parameters<Span['setStatus']>[0])),
      fc.dictionary(key, value).map((all) => (span: Span) => void span.addEvent('event', all)),
      fc
        .dictionary(key, value)
        .map((attributes) => (span: Span) => void span.addLinks([{ context: REMOTE, attributes }])),
      fc.double({ min: 0, max: 5_000, noNaN: true }).map((ms) => () => later(ms)),
    );
    fc.assert(
      fc.property(fc.array(deed, { maxLength: 12 }), (deeds) =>
        assertAlike({}, (span) => {
          for (const each of deeds) each(span);
          span.end();
        }),
      ),
      { numRuns: 500 },
    );
  });

  test('before all processors, those that act while it ends included', () => {
    const ending: SpanProcessor = {
      ...IDLE,
      onStart: (span) => span.setAttribute('at start', 1),
      onEnding: (span) => span.setAttribute('while ending', span.isRecording()),
    };
    assertAlike({ more: [ending] }, (span) => span.end());
  });
});

/** Of a provider as the preload makes it, with the spans that have ended. */
function collecting() {
  const ended: ReadableSpan[] = [];
  const provider = new TracerProvider({
    idGenerator: new RandomIds(),
    resource: resourceFromAttributes({ 'service.name': 'test' }),
    spanProcessors: [{ ...IDLE, onEnd: (span) => ended.push(span) }],
  });
  return { tracer: leanTracer(provider), ended };
}

test('with ids that are known as bytes, its own bytes are those of its fields', () => {
  const { tracer, ended } = collecting();
  // More than were made at a time.
  for (let count = 0; count < 200; count++) {
    const parent = count % 3 === 0 ? under({ traceState: new TraceState('a=1') }) : ROOT_CONTEXT;
    tracer.startShape(SHAPE, parent).setAttribute('milvus.search.nq', 1).end();
  }
  assert.equal(new Set(ended.map((span) => span.spanContext().spanId)).size, 200);
  for (const span of ended) assertBytes(span, span);
});

test('the header that was made with the ids is what the propagator writes; a child, and what is not sampled, has none', () => {
  const written = (span: Span): unknown => {
    const carrier: Record<string, string> = {};
    new W3CTraceContextPropagator().inject(trace.setSpan(ROOT_CONTEXT, span), carrier, defaultTextMapSetter);
    return carrier.traceparent;
  };
  const { tracer } = collecting();
  for (let count = 0; count < 100; count++) {
    const span = tracer.startShape(SHAPE, ROOT_CONTEXT);
    assert.ok(span instanceof LeanSpan);
    assert.equal(span.traceparent, written(span));
  }
  const child = tracer.startShape(SHAPE, under({}));
  assert.ok(child instanceof LeanSpan && child.traceparent === undefined);
  const recorded = leanTracer(
    new TracerProvider({
      idGenerator: new RandomIds(),
      sampler: {
        shouldSample: () => ({ decision: SamplingDecision.RECORD }),
        toString: () => 'records',
      },
    }),
  ).startShape(SHAPE, ROOT_CONTEXT);
  assert.ok(recorded instanceof LeanSpan && recorded.traceparent === undefined);
});

test('spans that wait to be written together keep their place among others', () => {
  const { tracer, ended } = collecting();
  const batch = new EncodedSpans();
  const there = new EncodedSpans();
  const assertSame = () => {
    const expected = Buffer.from(ProtobufTraceSerializer.serializeRequest(ended) ?? []).toString('hex');
    assert.equal(Buffer.from(batch.request()).toString('hex'), expected);
    assert.equal(Buffer.from(batch.request()).toString('hex'), expected, 'asked for again');
    assert.equal(batch.count, ended.length);
    for (const part of batch.parts()) assert.equal(part.count, ended.length);
  };
  for (let count = 0; count < 400; count++) {
    const span = tracer.startShape(SHAPE, ROOT_CONTEXT);
    if (count % 100 === 99) span.setStatus({ code: SpanStatusCode.ERROR, message: 'reason' });
    if (count % 70 === 69) tracer.startSpan('ordinary', {}, ROOT_CONTEXT).end();
    span.end();
    while (batch.count < ended.length) batch.add(ended[batch.count] as ReadableSpan);
    if ([0, 1, 63, 64, 150, 399].includes(count)) assertSame();
    const here = new EncodedSpans();
    here.add(span as LeanSpan);
    for (const part of here.parts()) there.addPart((span as LeanSpan).resource, part.scope, part);
  }
  assert.equal(there.count, 400);
  assert.deepEqual(
    Buffer.from(there.request()),
    Buffer.from(
      ProtobufTraceSerializer.serializeRequest(ended.filter((span) => span instanceof LeanSpan)) ?? [],
    ),
  );
});

test('spans like others before them have the bytes of their own fields, whatever they are below and however long', () => {
  const parents = {
    none: ROOT_CONTEXT,
    'in this process': under({ isRemote: false, traceState: undefined }),
    elsewhere: under({ traceState: undefined }),
    'with a trace state': under({}),
    'with ids in capitals': under({ traceId: REMOTE.traceId.toUpperCase(), traceState: undefined }),
  };
  // The length of the span takes one byte, two and three.
  for (const length of [0, 200, 20_000]) {
    const shape = new SpanShape('s', SpanKind.CLIENT, length === 0 ? {} : { text: 'x'.repeat(length) });
    const { tracer, ended } = collecting();
    const batch = new EncodedSpans();
    for (let count = 0; count < 500; count++) {
      const [name, parent] = Object.entries(parents)[count % 5] as [keyof typeof parents, Context];
      atMs = count * 7.1;
      const span = tracer.startShape(shape, parent);
      atMs += count * 3.3;
      if (count % 11 === 10) span.setAttributes({ name });
      span.end();
      batch.add(ended.at(-1) as ReadableSpan);
    }
    assert.deepEqual(
      shape.encoded?.patterns.map((pattern) => (pattern?.length ?? 0) > length),
      [true, true, true],
    );
    const expected = Buffer.from(ProtobufTraceSerializer.serializeRequest(ended) ?? []).toString('hex');
    assert.equal(Buffer.from(batch.request()).toString('hex'), expected);
  }
  atMs = 0;
});

test('a span that may be large counts for the size of its batch at once', () => {
  const { tracer, ended } = collecting();
  for (const value of ['x'.repeat(10_000), new Array(100).fill('x'.repeat(100))]) {
    const batch = new EncodedSpans();
    tracer.startShape(SHAPE, ROOT_CONTEXT).setAttributes({ filter: value }).end();
    batch.add(ended.at(-1) as ReadableSpan);
    assert.ok(batch.bytes > 10_000, `${batch.bytes}`);
  }
});

test('spans of one shape share its attributes, and what is set on one is not on the other', () => {
  const { tracer, ended } = collecting();
  const [first, second] = [tracer.startShape(SHAPE, ROOT_CONTEXT), tracer.startShape(SHAPE, ROOT_CONTEXT)];
  first.setAttribute('yes', false).setAttribute('own', 1).updateName('other').end();
  second.end();
  assert.deepEqual(
    ended.map(({ name, attributes }) => [name, attributes]),
    [
      ['other', { ...ATTRIBUTES, yes: false, own: 1 }],
      ['search docs', ATTRIBUTES],
    ],
  );
  assert.notEqual(ended[0]?.spanContext().spanId, ended[1]?.spanContext().spanId);
});

describe('a shape', () => {
  const shape = (kept?: KeptShapes) => new SpanShape('search docs', SpanKind.CLIENT, ATTRIBUTES, kept);

  test('leads to one other for each attribute that comes to it', () => {
    const first = shape({ count: 0 });
    const [one, two, text] = [first.with('nq', 1), first.with('nq', 2), first.with('nq', '1')];
    assert.deepEqual(one?.attributes, { ...ATTRIBUTES, nq: 1 });
    assert.deepEqual([two?.attributes.nq, text?.attributes.nq], [2, '1']);
    assert.equal(first.with('nq', 1), one);
    assert.equal(first.with('nq', 1), one, 'when it was asked for last, too');
    assert.equal(one?.with('limit', 5), one?.with('limit', 5));
    assert.equal(first.with('yes', false), undefined, 'it has another one of that name');
  });

  test('keeps no more than it can use', () => {
    const kept = { count: 0 };
    const first = shape(kept);
    const all = Array.from({ length: 100 }, (_, value) => first.with('nq', value)).filter(Boolean);
    assert.deepEqual([all.length, kept.count], [16, 16]);
    assert.equal(shape({ count: MAX_FOLLOWERS }).with('nq', 1), undefined);
    assert.equal(shape().with('nq', 1), undefined);
  });

  test('is not kept for values that hardly come again, and not for what a caller says is its own', () => {
    const kept = { count: 0 };
    const { tracer, ended } = collecting();
    const long = 'x'.repeat(65);
    for (const value of [0.5, -0, Number.NaN, 2 ** 40, long, ['a']])
      tracer.startShape(shape(kept), ROOT_CONTEXT).setAttribute('value', value).end();
    tracer.startShape(shape(kept), ROOT_CONTEXT).setAttributes({ 'db.query.text': 'id > 0' }).end();
    assert.equal(kept.count, 0);
    const values = ended.map(({ attributes }) => attributes.value ?? attributes['db.query.text']);
    assert.deepEqual(values, [0.5, -0, Number.NaN, 2 ** 40, long, ['a'], 'id > 0']);
  });
});

test('other tracers of the provider, other SDKs and limited attributes keep their own spans', () => {
  const provider = new TracerProvider();
  assert.ok(!('startShape' in withLeanSpans(provider, SCOPE, clock).getTracer('other')));
  const limited = new TracerProvider({ spanLimits: { attributeValueLengthLimit: 10 } });
  assert.ok(!('startShape' in withLeanSpans(limited, SCOPE, clock).getTracer(SCOPE)));
  const foreign = { getTracer: () => trace.getTracer('the API’s own') };
  assert.ok(!('startShape' in withLeanSpans(foreign, SCOPE, clock).getTracer(SCOPE)));
});

test('a tracer of lean spans makes ordinary ones too, as for an RPC', () => {
  const tracer = leanTracer(new TracerProvider());
  assert.ok(!(tracer.startSpan('rpc') instanceof LeanSpan));
  assert.equal(
    tracer.startActiveSpan('active', (span) => span.isRecording()),
    true,
  );
});
