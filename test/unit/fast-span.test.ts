/** A fast span is what the SDK's own span would be, whatever is done to it, and so are its bytes. */
import assert from 'node:assert/strict';
import { afterEach, describe, mock, test } from 'node:test';
import {
  type Attributes,
  type AttributeValue,
  type Context,
  DiagLogLevel,
  diag,
  type HrTime,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { suppressTracing, TraceState } from '@opentelemetry/core';
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
import { FastSpan } from '../../src/trace/fast-span.ts';
import { withFastSpans } from '../../src/trace/fast-tracer.ts';

const SCOPE = 'fast';
const START_MS = 1_800_000_000_123;
const ATTRIBUTES: Attributes = { 'db.system.name': 'milvus', 'server.port': 19_531, yes: true };

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

/**
 * Both kinds of span, made and treated alike by the same provider at the same times, with ids that repeat.
 */
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
    () =>
      fastTracer(provider).startSpan('search docs', { ...options, attributes: { ...ATTRIBUTES } }, parent),
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

const fastTracer = (provider: TracerProvider): Tracer =>
  withFastSpans(provider, SCOPE, clock).getTracer(SCOPE, '1');

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
  assert.ok(ours instanceof FastSpan && !(theirs instanceof FastSpan));
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

describe('a fast span is what the SDK’s is:', () => {
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

  test('nothing changes it after its end, and a warning is logged', () => {
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

const isFast = (tracer: Tracer): boolean => tracer.startSpan('search docs') instanceof FastSpan;

test('other tracers of the provider, other SDKs and limited attributes keep their own spans', () => {
  const provider = new TracerProvider();
  assert.ok(isFast(fastTracer(provider)), 'the SDK is one that fast spans are written for');
  assert.ok(!isFast(withFastSpans(provider, SCOPE, clock).getTracer('other')));
  assert.ok(!isFast(fastTracer(new TracerProvider({ spanLimits: { attributeValueLengthLimit: 10 } }))));
  const foreign = { getTracer: () => trace.getTracer('the API’s own') };
  assert.ok(!isFast(withFastSpans(foreign, SCOPE, clock).getTracer(SCOPE)));
});

test('what a fast span does not do, the SDK’s does: links, a given start, no parent, suppression', () => {
  const tracer = fastTracer(new TracerProvider());
  const parent = under({});
  const [linked, started, root] = [
    tracer.startSpan('s', { links: [{ context: REMOTE }] }) as unknown as ReadableSpan,
    tracer.startSpan('s', { startTime: 1_700_000_000_000 }) as unknown as ReadableSpan,
    tracer.startSpan('s', { root: true }, parent) as unknown as ReadableSpan,
  ];
  assert.equal(linked?.links.length, 1);
  assert.deepEqual(started?.startTime, [1_700_000_000, 0]);
  assert.equal(root?.parentSpanContext, undefined);
  assert.equal(tracer.startSpan('s', {}, suppressTracing(parent)).isRecording(), false);
  assert.equal(
    tracer.startActiveSpan('active', (span) => span.isRecording()),
    true,
  );
});

test('what is set on one span is not on the next', () => {
  const tracer = fastTracer(new TracerProvider());
  const start = () => tracer.startSpan('search docs', { attributes: { ...ATTRIBUTES } });
  start().setAttribute('yes', false).setAttribute('own', 1).updateName('other').end();
  const { name, attributes } = start() as unknown as ReadableSpan;
  assert.deepEqual([name, attributes], ['search docs', ATTRIBUTES]);
});
