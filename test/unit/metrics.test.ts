import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { type Attributes, createNoopMeter, metrics, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import { hrTimeToMilliseconds } from '@opentelemetry/core';
import {
  AggregationTemporality,
  DataPointType,
  type HistogramMetricData,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  SamplingDecision,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { ATTR } from '../../src/milvus/attributes.ts';
import { readGrpcClient } from '../../src/milvus/client-facts.ts';
import { createMetrics } from '../../src/milvus/metrics.ts';
import { OperationSpan } from '../../src/milvus/operation-span.ts';
import { OPERATIONS } from '../../src/milvus/operations.ts';

const metricExporter = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const meterProvider = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })],
});
const record = createMetrics(meterProvider.getMeter('test'));

const spanExporter = new InMemorySpanExporter();
let decision = SamplingDecision.RECORD_AND_SAMPLED;
const tracer = new TracerProvider({
  sampler: { shouldSample: () => ({ decision }) },
  spanProcessors: [new SimpleSpanProcessor({ exporter: spanExporter })],
}).getTracer('test');

afterEach(async () => {
  decision = SamplingDecision.RECORD_AND_SAMPLED;
  await collect();
  spanExporter.reset();
});

/** What was recorded since the last time. */
async function collect(name = 'db.client.operation.duration'): Promise<HistogramMetricData | undefined> {
  await meterProvider.forceFlush();
  const found = metricExporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap((scope) => scope.metrics);
  metricExporter.reset();
  const metric = found.find(({ descriptor }) => descriptor.name === name);
  if (metric === undefined) return undefined;
  assert.ok(metric.dataPointType === DataPointType.HISTOGRAM);
  return metric;
}

async function recorded(): Promise<HistogramMetricData> {
  const metric = await collect();
  assert.ok(metric !== undefined, 'nothing was recorded');
  return metric;
}

const client = { config: { address: 'db.example:19531' }, metadata: new Map([['dbname', 'sales']]) };

function start(request: unknown, startedBy: Tracer = tracer, method = 'search'): OperationSpan {
  assert.ok(record !== undefined);
  const options = { tracer: startedBy, captureFilter: true, record };
  return new OperationSpan(options, method, OPERATIONS[method] ?? {}, readGrpcClient, client, request);
}

/** Attributes of a search in docs when it starts. */
const CREATION: Attributes = {
  [ATTR.system]: 'milvus',
  [ATTR.operation]: 'search',
  [ATTR.collection]: 'docs',
  [ATTR.namespace]: 'sales',
  [ATTR.serverAddress]: 'db.example',
  [ATTR.serverPort]: 19531,
};

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('the metric is the histogram of the conventions, in seconds, with the boundaries that they advise', async () => {
  start({}).end({});
  const { descriptor, dataPoints } = await recorded();
  assert.equal(descriptor.name, 'db.client.operation.duration');
  assert.equal(descriptor.unit, 's');
  assert.equal(descriptor.description, 'Duration of database client operations.');
  assert.deepEqual(dataPoints[0]?.value.buckets.boundaries, [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]);
});

test("what is recorded is the span's own duration, to the nanosecond", async () => {
  const operation = start({ collection_name: 'docs' });
  await sleep(12);
  operation.end({ status: { code: 0 } });
  const [span] = spanExporter.getFinishedSpans();
  assert.ok(span !== undefined);
  const [point, ...others] = (await recorded()).dataPoints;
  assert.equal(others.length, 0);
  assert.equal(point?.value.count, 1);
  assert.equal(point.value.sum, span.duration[0] + span.duration[1] / 1e9);
  assert.ok(hrTimeToMilliseconds(span.duration) >= 10, `${span.duration}`);
  // (0.01, 0.05] when the machine is not very busy; always the bucket that the duration belongs to.
  const { boundaries, counts } = point.value.buckets;
  const bucket = boundaries.findIndex((boundary) => (point.value.sum ?? 0) <= boundary);
  assert.equal(counts[bucket === -1 ? boundaries.length : bucket], 1);
});

test('an operation that succeeded is recorded with what was known when it started', async () => {
  start({ collection_name: 'docs', data: [[1]], limit: 3, filter: 'a > 1', partition_names: ['p'] }).end({
    status: { code: 0, extra_info: { report_value: '21' } },
    results: [{}],
  });
  assert.deepEqual((await recorded()).dataPoints[0]?.attributes, CREATION);
});

test('the rows that a search returns are a histogram of the conventions, whether it is sampled or not', async () => {
  for (decision of [SamplingDecision.RECORD_AND_SAMPLED, SamplingDecision.NOT_RECORD]) {
    start({ collection_name: 'docs' }).end({ status: { code: 0 }, results: [{}, {}, {}] });
    start({ collection_name: 'docs' }).end({ status: { code: 100, reason: 'not found' } });
    start({ collection_name: 'docs' }, tracer, 'flush').end({ status: { code: 0 } });
    const metric = await collect('db.client.response.returned_rows');
    assert.equal(metric?.descriptor.unit, '{row}');
    const [point, ...others] = metric.dataPoints;
    assert.equal(others.length, 0);
    assert.deepEqual(point?.attributes, CREATION);
    assert.deepEqual([point.value.count, point.value.sum], [1, 3]);
    assert.deepEqual(
      point.value.buckets.boundaries,
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000],
    );
  }
});

test('an operation that failed is recorded with its code and type beside them, whether it returned or threw', async () => {
  const status = { error_code: 'CollectionNotExists', code: 100, reason: 'not found' };
  const failed = { ...CREATION, [ATTR.statusCode]: '100', [ATTR.errorType]: 'CollectionNotFound' };
  start({ collection_name: 'docs' }).end({ status });
  start({ collection_name: 'docs' }).endThrown(status);
  const { dataPoints } = await recorded();
  assert.deepEqual(
    dataPoints.map(({ attributes, value }) => [attributes, value.count]),
    [[failed, 2]],
  );

  start({ collection_name: 'docs' }).endThrown(new RangeError('limit'));
  assert.deepEqual((await recorded()).dataPoints[0]?.attributes, {
    ...CREATION,
    [ATTR.errorType]: 'RangeError',
  });
});

test('many operations of one kind are one point, and another collection is another', async () => {
  for (const collection_name of ['docs', 'docs', 'others', 'docs']) start({ collection_name }).end({});
  const counts = (await recorded()).dataPoints.map(({ attributes, value }) => [
    attributes[ATTR.collection],
    value.count,
  ]);
  assert.deepEqual(counts, [
    ['docs', 3],
    ['others', 1],
  ]);
});

for (const [what, notSampled] of [
  ['not recorded', SamplingDecision.NOT_RECORD],
  ['recorded but not sampled', SamplingDecision.RECORD],
] as const) {
  test(`an operation whose span is ${what} is measured all the same, with its failure`, async () => {
    decision = notSampled;
    const operation = start({ collection_name: 'docs' });
    const before = performance.now();
    await sleep(12);
    operation.end({ status: { error_code: 'UnexpectedError', code: 1, reason: 'no' } });
    const leastS = 0.01;
    const mostS = (performance.now() - before) / 1_000 + 0.01;
    const [point] = (await recorded()).dataPoints;
    assert.equal(point?.attributes[ATTR.errorType], 'ServiceNotReady');
    const seconds = point?.value.sum ?? 0;
    assert.ok(seconds >= leastS && seconds <= mostS, `${seconds} s, not ${leastS} to ${mostS} s`);
  });
}

test('a tracer that is not of the SDK, whose spans know no duration, is measured by the clock', async () => {
  const span = {
    spanContext: () => ({ traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: 0 }),
    isRecording: () => false,
    setAttribute: () => span,
    setAttributes: () => span,
    setStatus: (status: { code: SpanStatusCode }) => {
      assert.equal(status.code, SpanStatusCode.ERROR);
      return span;
    },
    end: () => {},
  };
  start({}, { startSpan: () => span } as unknown as Tracer).endThrown(new Error('no'));
  const seconds = (await recorded()).dataPoints[0]?.value.sum ?? -1;
  assert.ok(seconds >= 0 && seconds < 60, `${seconds} s`);
});

test('while nothing measures, there is no metric to prepare anything for', () => {
  assert.equal(createMetrics(createNoopMeter()), undefined);
  assert.equal(createMetrics(metrics.getMeter('milvus-otel')), undefined);
  assert.notEqual(record, undefined);
});
