import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { parseEnv } from 'node:util';
import { type Attributes, context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { HttpBaseClient, HttpClient } from '@zilliz/milvus2-sdk-node';
import { readSettings, SETTINGS } from '../../src/config/settings.ts';
import { ATTR, type AttributeSink, readCost, readRequest } from '../../src/milvus/attributes.ts';
import { MilvusInstrumentation } from '../../src/milvus/instrumentation-entry.ts';
import { HTTP_OPERATIONS, OPERATIONS } from '../../src/milvus/operations.ts';
import {
  ATTRIBUTE_DOCUMENTATION,
  type AttributeDocumentation,
  HTTP_METHODS,
  OPERATION_METRICS,
  POOL_METRICS,
  RPC_ATTRIBUTE_DOCUMENTATION,
} from '../../tools/docs/attributes.ts';
import { checkDocs, envExample, fillPart, writeDocs } from '../../tools/docs/generate.ts';

const root = path.join(import.meta.dirname, '..', '..');
const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-docs-'));
after(() => rm(folder, { recursive: true }));

/** A copy of all that is generated; gives its root. */
async function copyOfDocs(): Promise<string> {
  const copy = await mkdtemp(path.join(folder, 'copy-'));
  for (const file of [
    'env.example',
    'samples/kubernetes/configmap.yaml',
    'compose/production/grafana/dashboards/milvus.json',
    'README.md',
    'docs/api.md',
    'docs/frameworks.md',
    'docs/settings.md',
    'docs/semantic-conventions.md',
  ]) {
    await cp(path.join(root, file), path.join(copy, file), { recursive: true });
  }
  await writeDocs(copy);
  return copy;
}

const docs = (...args: string[]) =>
  spawnSync(process.execPath, [path.join(root, 'scripts/docs.ts'), ...args], { encoding: 'utf8' });

test('the files on disk match the tables in src/', () => {
  const { status, stderr } = docs('--check');
  assert.equal(status, 0, stderr);
});

test('a check names the line that differs, as it is and as it should be', async () => {
  const copy = await copyOfDocs();
  assert.deepEqual(await checkDocs(copy), []);
  const file = path.join(copy, 'env.example');
  const lines = (await readFile(file, 'utf8')).split('\n');
  const at = lines.findIndex((line) => line.startsWith('#OTEL_BSP_SCHEDULE_DELAY='));
  await writeFile(file, lines.with(at, '#OTEL_BSP_SCHEDULE_DELAY=1').join('\n'));
  assert.deepEqual(await checkDocs(copy), [
    `env.example:${at + 1} differs\n  on disk:   #OTEL_BSP_SCHEDULE_DELAY=1\n  generated: #OTEL_BSP_SCHEDULE_DELAY=5000`,
  ]);
});

test('a check reports missing and extra lines at the end', async () => {
  const copy = await copyOfDocs();
  const file = path.join(copy, 'env.example');
  const text = await readFile(file, 'utf8');
  await writeFile(file, `${text}MORE=1\n`);
  assert.match((await checkDocs(copy))[0] ?? '', /on disk: {3}MORE=1\n/);
  await writeFile(file, text.slice(0, text.lastIndexOf('\n', text.length - 2)));
  assert.match(
    (await checkDocs(copy))[0] ?? '',
    /on disk: {3}\(the end of the file\)\n {2}generated: #OTEL_/,
  );
  await rm(file);
  assert.deepEqual(await checkDocs(copy), ['env.example is missing']);
});

test('writing fixes the differences, and a second run writes nothing', async () => {
  const copy = await copyOfDocs();
  await writeFile(path.join(copy, 'env.example'), 'nothing');
  const settings = path.join(copy, 'docs/settings.md');
  const parts = ['settings', 'unsupported'].map(
    (name) => `<!-- ${name}:start -->\nold\n<!-- ${name}:end -->\n`,
  );
  await writeFile(settings, `Before\n${parts.join('')}after\n`);
  assert.deepEqual(await writeDocs(copy), ['env.example', 'docs/settings.md']);
  assert.deepEqual(await writeDocs(copy), []);
  assert.deepEqual(await checkDocs(copy), []);
  const written = await readFile(settings, 'utf8');
  assert.ok(written.startsWith('Before\n') && written.endsWith('\nafter\n'));
  assert.doesNotMatch(written, /^old$/m);
});

test('a file without its markers is named, with the markers that it needs', async () => {
  const copy = await copyOfDocs();
  await writeFile(path.join(copy, 'README.md'), '# milvus-otel\n');
  await assert.rejects(
    checkDocs(copy),
    /^Error: README\.md: it needs the lines <!-- settings:start --> and /,
  );
  await rm(path.join(copy, 'README.md'));
  await assert.rejects(writeDocs(copy), /README\.md is missing/);
});

test('duplicate markers, or markers in the wrong order, are refused', () => {
  const [start, end] = ['<!-- a:start -->', '<!-- a:end -->'];
  for (const text of [`${start}`, `${end}${start}`, `${start}${end}${end}`, `${start}${start}${end}`, '']) {
    assert.throws(() => fillPart(text, 'a', 'new'), /once each/);
  }
  assert.equal(fillPart(`x ${start} old ${end} y`, 'a', '$& new'), `x ${start}\n$& new\n${end} y`);
});

test('an unknown option fails, and help lists the options', () => {
  assert.equal(docs('--chek').status, 1);
  assert.match(docs('--chek').stderr, /--chek/);
  const { status, stdout } = docs('--help');
  assert.equal(status, 0);
  assert.match(stdout, /--check/);
});

test('env.example sets no variable, so that a copy renames no service and adds no attribute', () => {
  assert.deepEqual({ ...parseEnv(envExample()) }, {});
});

test('env.example has every variable once, each under one line of comment', () => {
  const lines = envExample().split('\n');
  const assignments = lines.filter((line) => /^#?[A-Z_]+=/.test(line));
  assert.deepEqual(
    assignments.map((line) => line.replace(/^#/, '').split('=', 1)[0]).sort(),
    Object.values(SETTINGS)
      .map(({ env }) => env as string)
      .sort(),
  );
  for (const line of assignments) {
    const above = lines.slice(0, lines.indexOf(line)).slice(-2);
    assert.match(above[1] ?? '', /^# [A-Z].*\.$/, line);
    assert.equal(above[0], '', `${line} has one line above it`);
  }
});

test('uncommenting any line of env.example changes nothing', () => {
  const uncommented = envExample().replace(/^#(?=[A-Z_]+=)/gm, '');
  const env = parseEnv(uncommented);
  assert.equal(Object.keys(env).length, Object.keys(SETTINGS).length);
  const { given: _given, ...settings } = readSettings(env);
  const { given: _defaults, ...expected } = readSettings({});
  assert.deepEqual(settings, expected);
});

test('env.example means the same to docker, which takes each line literally', () => {
  for (const line of envExample().split('\n')) {
    assert.doesNotMatch(line, /^\s+\S/, 'no line begins with a blank');
    if (line === '' || line.startsWith('#')) continue;
    assert.match(line, /^[A-Z_]+=[^"'\s#]*$/);
  }
});

test('each example of an attribute has the documented type', () => {
  for (const [key, documentation] of [
    ...Object.entries(ATTRIBUTE_DOCUMENTATION),
    ...Object.entries(RPC_ATTRIBUTE_DOCUMENTATION),
  ]) {
    assertType(documentation.example, documentation, key);
    assert.match(documentation.when, /^[A-Z].*\.$/);
  }
});

test('attributes of requests and answers have the documented types', () => {
  const request = {
    partition_names: ['p'],
    consistency_level: 0,
    anns_field: 'v',
    data: [[1], [2]],
    limit: '5',
  };
  const answer = {
    status: { code: 0, extra_info: { report_value: '21' } },
    results: [{}],
    data: [{}],
    insert_cnt: '1',
    upsert_cnt: '1',
    delete_cnt: '1',
  };
  const httpAnswer = { code: 0, cost: 21, data: { insertCount: 1, upsertCount: 1, deleteCount: 1 } };
  const attributes: Attributes = {};
  const sink: AttributeSink = {
    setAttribute: (key, value) => Object.assign(attributes, { [key]: value }),
  };
  readRequest(request, sink);
  readCost(answer, sink);
  for (const { reads, answers } of Object.values(OPERATIONS)) {
    reads?.(request, sink);
    answers?.(answer, sink);
  }
  for (const { reads, answers } of Object.values(HTTP_OPERATIONS)) {
    reads?.(request, sink);
    answers?.(httpAnswer, sink);
  }
  const keys = Object.keys(ATTR) as (keyof typeof ATTR)[];
  assert.ok(Object.keys(attributes).length > 10);
  for (const [name, value] of Object.entries(attributes)) {
    const key = keys.find((candidate) => ATTR[candidate] === name);
    assert.ok(key !== undefined, name);
    assertType(value, ATTRIBUTE_DOCUMENTATION[key], name);
    assert.equal(ATTRIBUTE_DOCUMENTATION[key].level, 'per operation', name);
  }
});

const spans = new InMemorySpanExporter();
const metricExporter = new InMemoryMetricExporter(AggregationTemporality.DELTA);
const meterProvider = new MeterProvider({
  readers: [new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 })],
});
const instrumentation = new MilvusInstrumentation({ rpcSpans: true });
instrumentation.setTracerProvider(
  new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }),
);
instrumentation.setMeterProvider(meterProvider);
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
after(() => meterProvider.shutdown());

/** Patches the exports of one of the SDK's files, as when an app loads it. */
function patch(file: string, exports: object): void {
  const found = instrumentation
    .getModuleDefinitions()
    .flatMap(({ files }) => files)
    .find(({ name }) => name.endsWith(`/dist/milvus/${file}`));
  assert.ok(found !== undefined, file);
  found.patch(exports, '3.0.6');
}

type Answer = () => Promise<unknown>;

/** Like generic-pool. */
const pool = { borrowed: 1, available: 2, pending: 3, size: 3, min: 2, max: 10 };

const INSTRUMENTS: Readonly<Record<DataPointType, string>> = {
  [DataPointType.HISTOGRAM]: 'histogram',
  [DataPointType.EXPONENTIAL_HISTOGRAM]: 'exponential histogram',
  [DataPointType.GAUGE]: 'gauge',
  [DataPointType.SUM]: 'counter',
};

/** A client and its RPCs as the SDK has them, patched; gives the spans of one search. */
async function searchAnswered(answer: Answer) {
  const rpcs = { promisify: (_pool: unknown, _method: string, _request: unknown) => answer() };
  class MilvusClient {
    config = { address: 'db.example:19531' };
    metadata = new Map([['dbname', 'sales']]);
    metadataListener(metadata: unknown): unknown {
      return metadata;
    }
    search(request: unknown): Promise<unknown> {
      return rpcs.promisify(pool, 'Search', request);
    }
  }
  patch('utils/Function.js', rpcs);
  patch('MilvusClient.js', { MilvusClient });
  spans.reset();
  metricExporter.reset();
  await new MilvusClient().search({ collection_name: 'docs' }).catch(() => {});
  await meterProvider.forceFlush();
  const [rpc, operation, ...others] = spans.getFinishedSpans();
  assert.ok(rpc !== undefined && operation !== undefined && others.length === 0);
  const [scope, ...otherScopes] = metricExporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
  assert.equal(otherScopes.length, 0);
  const metrics = (scope?.metrics ?? []).map((metric) => {
    const { name, unit } = metric.descriptor;
    const upDown = metric.dataPointType === DataPointType.SUM && !metric.isMonotonic ? 'up-down ' : '';
    const [value] = metric.dataPoints.map(({ value }) => value);
    const attributes = new Set(metric.dataPoints.flatMap(({ attributes }) => Object.keys(attributes)));
    const measured = typeof value === 'object' && 'buckets' in value ? value : undefined;
    return {
      attributes,
      sum: measured?.sum,
      documented: {
        name,
        instrument: `${upDown}${INSTRUMENTS[metric.dataPointType]}`,
        unit,
        ...(measured === undefined ? {} : { boundaries: measured.buckets.boundaries }),
      },
    };
  });
  return { rpc, operation, metrics, schemaUrl: scope?.scope.schemaUrl };
}

const ANSWERS: [what: string, answer: Answer, grpcStatus: string][] = [
  ['succeeded', async () => ({ status: { code: 0 }, results: [] }), 'OK'],
  ['the server does not have', async () => ({}), 'UNIMPLEMENTED'],
  [
    'failed',
    () => Promise.reject(Object.assign(new Error('m'), { code: 14, details: 'away' })),
    'UNAVAILABLE',
  ],
];

for (const [what, answer, grpcStatus] of ANSWERS) {
  test(`the span of an RPC that ${what} has the documented attributes`, async () => {
    const { rpc, operation } = await searchAnswered(answer);
    assert.equal(rpc.name, 'milvus.proto.milvus.MilvusService/Search');
    assert.equal(rpc.parentSpanContext?.spanId, operation.spanContext().spanId);
    const expected = Object.entries(RPC_ATTRIBUTE_DOCUMENTATION).filter(
      ([, { level }]) => grpcStatus !== 'OK' || level !== 'on failure',
    );
    assert.deepEqual(
      Object.keys(rpc.attributes),
      expected.map(([name]) => name),
    );
    for (const [name, value] of Object.entries(rpc.attributes)) {
      const documentation = RPC_ATTRIBUTE_DOCUMENTATION[name];
      assert.ok(documentation !== undefined, name);
      assertType(value, documentation, name);
    }
    assert.equal(rpc.attributes['rpc.status_code'], grpcStatus);
    for (const name of ['rpc.system.name', 'rpc.method']) {
      assert.equal(rpc.attributes[name], RPC_ATTRIBUTE_DOCUMENTATION[name]?.example);
    }
  });
}

test('the metrics are as documented: name, instrument, unit, buckets and attributes', async () => {
  const answered = { status: { code: 0 }, results: [{}, {}, {}] };
  const { metrics, operation } = await searchAnswered(async () => answered);
  const documented = [...OPERATION_METRICS, ...POOL_METRICS];
  assert.deepEqual(
    metrics.map(({ documented }) => documented),
    documented.map(({ when, attributes, ...others }) => others),
  );
  const [durationS, rows] = metrics.map(({ sum }) => sum);
  assert.equal(durationS, operation.duration[0] + operation.duration[1] / 1e9);
  assert.equal(rows, 3);
  const [, ...others] = metrics;
  assert.deepEqual(
    others.map(({ attributes }) => attributes),
    documented.slice(1).map(({ attributes }) => new Set(attributes)),
  );

  const refused = { status: { error_code: 'UnexpectedError', code: 1, reason: 'no' } };
  const [duration] = (await searchAnswered(async () => refused)).metrics;
  assert.deepEqual(duration?.attributes, new Set(documented[0]?.attributes));
  assert.ok(duration.attributes.has(ATTR.statusCode) && duration.attributes.has(ATTR.errorType));
});

test('spans and metrics name the schema of the conventions that are installed', async () => {
  const { version } = JSON.parse(
    await readFile(path.join(root, 'node_modules/@opentelemetry/semantic-conventions/package.json'), 'utf8'),
  );
  const { operation, schemaUrl } = await searchAnswered(async () => ({ status: { code: 0 }, results: [] }));
  assert.equal(schemaUrl, `https://opentelemetry.io/schemas/${version}`);
  assert.equal(operation.instrumentationScope.schemaUrl, schemaUrl);
});

test('attributes documented as at creation are there when a sampler decides', async () => {
  const seen: string[][] = [];
  instrumentation.setTracerProvider(
    new TracerProvider({
      sampler: {
        shouldSample: (_context, _traceId, _name, _kind, attributes) => {
          seen.push(Object.keys(attributes));
          return { decision: 2 };
        },
      },
      spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
    }),
  );
  await searchAnswered(async () => ({ status: { code: 0 } }));
  const keys = Object.keys(ATTR) as (keyof typeof ATTR)[];
  const atCreation = keys.filter((key) => ATTRIBUTE_DOCUMENTATION[key].atCreation === true);
  const rpcAtCreation = Object.entries(RPC_ATTRIBUTE_DOCUMENTATION).filter(
    ([, { atCreation }]) => atCreation,
  );
  assert.deepEqual(seen, [atCreation.map((key) => ATTR[key]), rpcAtCreation.map(([name]) => name)]);
});

test('the documented methods of the REST client are those that become operations', () => {
  const methodsOf = () => {
    const methods = new Map<string, unknown>();
    for (let at = HttpClient.prototype; at !== HttpBaseClient.prototype; at = Object.getPrototypeOf(at)) {
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
        if (typeof value === 'function') methods.set(name, value);
      }
    }
    return methods;
  };
  const before = methodsOf();
  patch('HttpClient.js', { HttpClient, HttpBaseClient });
  const patched = [...methodsOf()].filter(([name, method]) => method !== before.get(name));
  assert.deepEqual(patched.map(([name]) => name).sort(), [...HTTP_METHODS].sort());
});

function assertType(value: unknown, { type }: AttributeDocumentation, what: string): void {
  if (type === 'string[]') assert.ok(Array.isArray(value), what);
  else assert.equal(typeof value, type === 'string' ? 'string' : 'number', what);
  if (type === 'int') assert.ok(Number.isInteger(value), what);
}
