/** The metrics of the span queue: each ended span is counted in exactly one of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { TracerProvider } from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import type { Outcome } from '../../src/trace/outcome.ts';
import { type ObservedQueue, observeQueues } from '../../src/trace/queue-metrics.ts';
import { SpanQueue } from '../../src/trace/span-queue.ts';

const LIMITS = { maxQueueSize: 10, maxExportBatchSize: 4, scheduleDelayMs: 60_000 };
const OTLP = { capacity: 10, exporter: 'otlp_grpc_span_exporter', url: 'http://collector:4317' };

/** A queue whose batches wait for `answer`, its tracer, and its metrics. */
function started(of: Partial<ObservedQueue> = {}) {
  const waiting: { spans: number; answer: (outcome: Outcome) => void }[] = [];
  const queue = new SpanQueue(
    ({ count }) => new Promise<Outcome>((answer) => waiting.push({ spans: count, answer })),
    LIMITS,
  );
  const tracer = new TracerProvider({ spanProcessors: [queue] }).getTracer('test');
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  });
  observeQueues(provider.getMeter('test'), [{ queue, ...OTLP, ...of }]);
  const points = async () => {
    exporter.reset();
    await provider.forceFlush();
    return exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
      .flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => ({
          name: descriptor.name.replace('otel.sdk.', '').replace('.span.', ' '),
          attributes,
          value: value as number,
        })),
      );
  };
  return {
    queue,
    end(count: number) {
      for (let n = 0; n < count; n++) tracer.startSpan('s', {}, ROOT_CONTEXT).end();
    },
    /** Answers the oldest batch that is being sent. */
    async answer(outcome: Outcome) {
      waiting.shift()?.answer(outcome);
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    },
    /** Spans of that batch. */
    sending: () => waiting[0]?.spans ?? 0,
    points,
    /** Name, and error.type if any → value. */
    async read(): Promise<Record<string, number>> {
      const all = await points();
      return Object.fromEntries(
        all.map(({ name, attributes, value }) => [
          [name, attributes['error.type']].filter(Boolean).join(' '),
          value,
        ]),
      );
    },
  };
}

test('a span is queued, then in flight, then exported', async () => {
  const { end, answer, read } = started();
  const ZEROS = {
    'processor queue.capacity': 10,
    'processor processed queue_full': 0,
    'exporter exported rejected': 0,
  };
  end(3);
  assert.deepEqual(await read(), {
    ...ZEROS,
    'processor queue.size': 3,
    'processor processed': 0,
    'exporter inflight': 0,
    'exporter exported': 0,
  });
  end(1);
  assert.deepEqual(await read(), {
    ...ZEROS,
    'processor queue.size': 0,
    'processor processed': 4,
    'exporter inflight': 4,
    'exporter exported': 0,
  });
  await answer({ kind: 'accepted' });
  assert.deepEqual(await read(), {
    ...ZEROS,
    'processor queue.size': 0,
    'processor processed': 4,
    'exporter inflight': 0,
    'exporter exported': 4,
  });
});

test('a span that is lost is counted with its cause: a full queue, rejected in part, refused with a status', async () => {
  const { end, answer, read } = started();
  end(13);
  assert.equal((await read())['processor processed queue_full'], 3);
  await answer({ kind: 'accepted', rejected: { count: 1, reason: 'one is too old' } });
  await answer({ kind: 'refused', reason: 'HTTP status 400', errorType: '400' });
  const after = await read();
  assert.equal(after['exporter exported'], 3);
  assert.equal(after['exporter exported rejected'], 1);
  assert.equal(after['exporter exported 400'], 4);
});

test('a batch that is sent again and again stays in flight, and counts as processed once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, answer, read } = started();
  end(4);
  for (let attempt = 0; attempt < 5; attempt++) {
    await answer({ kind: 'later', reason: 'connect ECONNREFUSED', isUnreachable: true });
    t.mock.timers.tick(60_000);
  }
  t.mock.timers.reset();
  const after = await read();
  assert.equal(after['processor processed'], 4);
  assert.equal(after['exporter inflight'], 4);
  assert.equal(after['exporter exported'], 0);
});

test('the component is named as the conventions name it, with the server of its collector', async () => {
  const servers: [url: string, server: object][] = [
    ['http://collector:4317', { 'server.address': 'collector', 'server.port': 4317 }],
    ['https://collector.example/v1/traces', { 'server.address': 'collector.example', 'server.port': 443 }],
    ['http://[::1]:4318/v1/traces', { 'server.address': '::1', 'server.port': 4318 }],
    ['unix:///run/collector.sock', { 'server.address': '/run/collector.sock' }],
  ];
  for (const [url, server] of servers) {
    const points = await started({ url }).points();
    for (const { name, attributes } of points) {
      const { 'error.type': _, ...others } = attributes;
      const type = name.startsWith('processor') ? 'batching_span_processor' : 'otlp_grpc_span_exporter';
      const component = { 'otel.component.type': type, 'otel.component.name': `${type}/0` };
      assert.deepEqual(others, name.startsWith('processor') ? component : { ...component, ...server });
    }
  }
});

test('each ended span is counted in exactly one metric, whatever the collector answers', async () => {
  const outcome: fc.Arbitrary<Outcome> = fc.oneof(
    fc.constant<Outcome>({ kind: 'accepted' }),
    fc.constant<Outcome>({ kind: 'accepted', rejected: { count: 1, reason: 'r' } }),
    fc.constant<Outcome>({ kind: 'too large' }),
    fc.constant<Outcome>({ kind: 'refused', reason: 'r', errorType: 'INTERNAL' }),
    fc.constant<Outcome>({ kind: 'later', reason: 'r', isUnreachable: true }),
    fc.constant<Outcome>({ kind: 'later', reason: 'r', mayBeTooLarge: true }),
    fc.constant<Outcome>({ kind: 'later', reason: 'r', errorType: 'UNAVAILABLE' }),
  );
  const step = fc.oneof(fc.integer({ min: 1, max: 6 }), outcome, fc.constant('flush' as const));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { queue, end, answer, sending, read } = started();
      let ended = 0;
      for (const next of steps) {
        if (typeof next === 'number') {
          end(next);
          ended += next;
        } else if (next === 'flush') void queue.forceFlush();
        else if (sending() > (next.kind === 'too large' ? 1 : 0)) await answer(next);
      }
      const {
        'processor queue.size': queued = 0,
        'exporter inflight': inFlight = 0,
        'processor queue.capacity': _,
        'processor processed': processed = 0,
        ...finished
      } = await read();
      assert.equal(queued + inFlight, queue.unsent);
      const done = Object.values(finished).reduce((sum, value) => sum + value, 0);
      assert.equal(queued + inFlight + done, ended);
      assert.equal(processed, ended - queued - (finished['processor processed queue_full'] ?? 0));
      queue.takeUnsent();
    }),
    { numRuns: 200 },
  );
});
