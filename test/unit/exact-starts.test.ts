/** The SDK's spans start at fractions of a millisecond, and a parent contains its children. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { ROOT_CONTEXT, type Span, trace } from '@opentelemetry/api';
import { hrTimeToMilliseconds } from '@opentelemetry/core';
import { type ReadableSpan, TracerProvider } from '@opentelemetry/sdk-trace';
import { Clock } from '../../src/trace/clock.ts';
import { ExactStarts } from '../../src/trace/exact-starts.ts';

let setBackMs = 0;
const { now } = Date;
mock.method(Date, 'now', () => now() - setBackMs);
const clock = new Clock({
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  originMs: performance.timeOrigin,
});
const provider = new TracerProvider({ spanProcessors: [new ExactStarts(clock)] });
const tracer = provider.getTracer('app');
const timesOf = (span: Span) => {
  const { startTime, endTime } = span as unknown as ReadableSpan;
  return { startMs: hrTimeToMilliseconds(startTime), endMs: hrTimeToMilliseconds(endTime) };
};

/** Times are doubles of ms since 1970, made into nanoseconds twice. */
const ROUNDING_MS = 0.001;

test('a span contains its child, whatever fraction of a millisecond they start at', () => {
  for (let pair = 0; pair < 500; pair++) {
    const parent = tracer.startSpan('GET', {}, ROOT_CONTEXT);
    const child = tracer.startSpan('search docs', {}, trace.setSpan(ROOT_CONTEXT, parent));
    child.end();
    parent.end();
    const [outer, inner] = [timesOf(parent), timesOf(child)];
    assert.ok(inner.startMs >= outer.startMs, `starts ${outer.startMs - inner.startMs} ms early`);
    const lateMs = inner.endMs - outer.endMs;
    assert.ok(lateMs <= ROUNDING_MS, `ends ${lateMs} ms late`);
  }
});

test('a child does not start before its parent when the clock is set back in between', (t) => {
  t.after(() => {
    setBackMs = 0;
  });
  const parent = tracer.startSpan('GET', {}, ROOT_CONTEXT);
  setBackMs += 3_600_000;
  const child = tracer.startSpan('search docs', {}, trace.setSpan(ROOT_CONTEXT, parent));
  assert.equal(timesOf(child).startMs, timesOf(parent).startMs);
  assert.ok(timesOf(tracer.startSpan('GET', {}, ROOT_CONTEXT)).startMs < timesOf(parent).startMs - 3_500_000);
});

test('a start time that the app passes is unchanged', () => {
  const span = tracer.startSpan('GET', { startTime: 1_700_000_000_000 });
  assert.equal(timesOf(span).startMs, 1_700_000_000_000);
});

test('an event whose time was read from the monotonic clock lies within its span', () => {
  const span = tracer.startSpan('GET');
  span.addEvent('sent', performance.now());
  span.end();
  const [event] = (span as unknown as ReadableSpan).events;
  const { startMs, endMs } = timesOf(span);
  const atMs = hrTimeToMilliseconds(event?.time ?? [0, 0]);
  assert.ok(atMs >= startMs - ROUNDING_MS && atMs <= endMs + ROUNDING_MS, `${startMs} ${atMs} ${endMs}`);
});
