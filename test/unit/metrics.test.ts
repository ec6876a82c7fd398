import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import {
  type Attributes,
  createNoopMeter,
  metrics,
  ROOT_CONTEXT,
  SpanStatusCode,
  type Tracer,
} from '@opentelemetry/api';
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
import { operationMetrics } from '../../src/milvus/metrics.ts';
import { OperationSpan } from '../../src/milvus/operation-span.ts';
import { OPERATIONS } from '../../src/milvus/operations.ts';

const metricExporter = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const meterProvider = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })],
});
const measured = operationMetrics(meterProvider.getMeter('test'));

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

/** Data recorded since the last call. */
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
  assert.ok(measured !== undefined);
  const options = { tracer: startedBy, captureFilter: true, metrics: measured };
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

test('the recorded duration is that of the span, to the nanosecond', async () => {
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

test('an operation that succeeded is recorded with the attributes known at its start', async () => {
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

test('an operation that failed is recorded with its code and type next to them, whether it returned or threw', async () => {
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

test('operations of one kind and collection share a data point', async () => {
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
  test(`an operation whose span is ${what} is still measured, with its failure`, async () => {
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

test('operations are timed by the clock when the tracer’s spans have no duration', async () => {
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

test('without a meter provider, there are no metrics', () => {
  assert.equal(operationMetrics(createNoopMeter()), undefined);
  assert.equal(operationMetrics(metrics.getMeter('milvus-otel')), undefined);
  assert.notEqual(measured, undefined);
});

const cumulative = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);

/** Operations with metrics that no other test has recorded in. */
function startedApart() {
  cumulative.reset();
  const provider = new MeterProvider({
    readers: [new PeriodicExportingMetricReader({ exporter: cumulative, exportIntervalMillis: 3_600_000 })],
  });
  const metrics = operationMetrics(provider.getMeter('apart'));
  const start = (request: unknown, method = 'search') =>
    new OperationSpan(
      { tracer, captureFilter: true, metrics },
      method,
      OPERATIONS[method] ?? {},
      readGrpcClient,
      client,
      request,
    );
  /** Data points of a metric: its attributes, and its value or count. */
  const read = async (name: string): Promise<[Attributes, number][]> => {
    cumulative.reset();
    await provider.forceFlush();
    return cumulative
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics))
      .filter(({ descriptor }) => descriptor.name === name)
      .flatMap(({ dataPoints }) =>
        dataPoints.map(({ attributes, value }): [Attributes, number] => [
          attributes,
          typeof value === 'number' ? value : value.count,
        ]),
      );
  };
  return { provider, start, read };
}

test('calls in flight are counted until they have succeeded, failed or thrown', async () => {
  const { start, read } = startedApart();
  const [first, second, third] = [1, 2, 3].map(() => start({ collection_name: 'docs' }));
  const other = start({ collection_name: 'others' });
  const elsewhere = { ...CREATION, [ATTR.collection]: 'others' };
  assert.deepEqual(await read('milvus.client.active_operations'), [
    [CREATION, 3],
    [elsewhere, 1],
  ]);
  first?.end({ status: { code: 0 } });
  second?.end({ status: { code: 100 } });
  third?.endThrown(new Error('no'));
  assert.deepEqual(await read('milvus.client.active_operations'), [
    [CREATION, 0],
    [elsewhere, 1],
  ]);
  other.end({});
});

test('a call stays in the series in which it was counted, also when its database changes', async () => {
  const { start, read } = startedApart();
  const operation = start({ collection_name: 'docs' });
  operation.inject({}, ROOT_CONTEXT, 'archive');
  operation.rpcRetried();
  operation.end({});
  assert.deepEqual(await read('milvus.client.active_operations'), [[CREATION, 0]]);
  assert.deepEqual(await read('db.client.operation.duration'), [
    [{ ...CREATION, [ATTR.namespace]: 'archive' }, 1],
  ]);
});

test('retries are counted when they are sent, starting at zero', async () => {
  const { start, read } = startedApart();
  const operation = start({ collection_name: 'docs' });
  assert.deepEqual(await read('milvus.client.operation.retries'), [[CREATION, 0]]);
  operation.rpcRetried();
  operation.rpcRetried();
  assert.deepEqual(await read('milvus.client.operation.retries'), [[CREATION, 2]]);
  operation.end({});
  assert.deepEqual(await read('milvus.client.operation.retries'), [[CREATION, 2]]);
});

const METRIC_NAMES = [
  'db.client.operation.duration',
  'db.client.response.returned_rows',
  'milvus.client.active_operations',
  'milvus.client.operation.retries',
];

test('10,000 different requests make as many series as there are operations, collections and failures', async () => {
  const { start, read } = startedApart();
  const methods = ['search', 'query', 'insert', 'delete'];
  const collections = Array.from({ length: 5 }, (_, n) => `collection_${n}`);
  const FAILURES = 3;
  for (let n = 0; n < 10_000; n++) {
    const operation = start(
      {
        collection_name: collections[n % 5],
        partition_names: [`partition_${n}`],
        partition_name: `partition_${n}`,
        data: [[n, n + 1, Math.random()]],
        fields_data: Array.from({ length: n % 20 }, () => ({ id: n })),
        ids: [n, `key-${n}`],
        filter: `id > ${n} and name == "name-${n}"`,
        exprValues: { name: `value-${n}` },
        limit: n,
        offset: n,
        anns_field: `field_${n}`,
        output_fields: [`output_${n}`],
        consistency_level: n % 4,
        client_request_id: `request-${n}`,
        search_params: { ef: n },
        timeout: n,
      },
      methods[n % 4],
    );
    operation.rpcSent({ expr: `id in [${n}]` });
    if (n % 7 === 0) operation.rpcRetried();
    if (n % 11 === 0) operation.end({ status: { code: 100, reason: `collection ${n} not found` } });
    else if (n % 13 === 0) operation.endThrown(Object.assign(new Error(`text ${n}`), { detail: `${n}` }));
    else if (n % 17 === 0)
      operation.endThrown(Object.assign(new Error(`${n} UNAVAILABLE`), { code: 14, details: `port ${n}` }));
    else {
      const rows = Array.from({ length: n % 9 }, () => ({ id: n }));
      operation.end({ status: { code: 0 }, results: rows, data: rows });
    }
  }
  const perOutcome = methods.length * collections.length;
  const counts = Object.fromEntries(
    await Promise.all(METRIC_NAMES.map(async (name) => [name, await read(name)] as const)),
  );
  assert.equal(counts['db.client.operation.duration']?.length, perOutcome * (1 + FAILURES));
  assert.equal(counts['db.client.response.returned_rows']?.length, 2 * collections.length);
  assert.equal(counts['milvus.client.active_operations']?.length, perOutcome);
  assert.equal(counts['milvus.client.operation.retries']?.length, perOutcome);
  const total = (name: string) => counts[name]?.reduce((sum, [, value]) => sum + value, 0);
  assert.equal(total('db.client.operation.duration'), 10_000);
  assert.equal(total('milvus.client.active_operations'), 0);
  assert.equal(total('milvus.client.operation.retries'), Math.ceil(10_000 / 7));
  const text = JSON.stringify(counts);
  assert.doesNotMatch(text, /partition_|request-|field_|output_|key-|name-|value-|text |not found/);
});

test('10,000 collections do not fill the memory: beyond 2,000 series, one has the sum of the others', async () => {
  const { start, read } = startedApart();
  const inFlight: OperationSpan[] = [];
  for (let n = 0; n < 10_000; n++) {
    const operation = start({ collection_name: `docs_${n}` });
    operation.rpcRetried();
    if (n % 2 === 0) operation.end({});
    else inFlight.push(operation);
  }
  for (const [name, total] of [
    ['milvus.client.operation.retries', 10_000],
    ['milvus.client.active_operations', 5_000],
    ['db.client.operation.duration', 5_000],
  ] as const) {
    const points = await read(name);
    assert.ok(points.length <= 2_000, `${name}: ${points.length}`);
    assert.equal(
      points.reduce((sum, [, value]) => sum + value, 0),
      total,
      name,
    );
    const overflow = points.filter(([attributes]) => attributes['otel.metric.overflow'] === true);
    assert.equal(overflow.length, 1, name);
  }
  for (const operation of inFlight) operation.end({});
  const active = await read('milvus.client.active_operations');
  assert.ok(active.every(([, value]) => value === 0));
});

test('two instrumentations with one meter provider report each number once', async () => {
  const { provider, start, read } = startedApart();
  assert.equal(operationMetrics(provider.getMeter('apart')), operationMetrics(provider.getMeter('apart')));
  start({ collection_name: 'docs' });
  assert.deepEqual(await read('milvus.client.active_operations'), [[CREATION, 1]]);
});
