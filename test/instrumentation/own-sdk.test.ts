/** `milvus-otel/instrumentation` in an app that starts its own OpenTelemetry SDK, without the preload. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { StubMilvus } from '../../bench/stub-milvus.ts';
import { ensureBuilt } from '../../tools/build/build-package.ts';

const require = createRequire(import.meta.url);

/** Methods that the instrumentation replaces, by class file and name. */
const PATCHED = [
  ['grpc/Data.js', 'Data', 'search'],
  ['grpc/Collection.js', 'Collection', 'hasCollection'],
  ['grpc/GrpcClient.js', 'GRPCClient', 'metadataListener'],
  ['telemetry/ClientTelemetry.js', 'ClientTelemetryManager', 'start'],
] as const;
const SDK = '@zilliz/milvus2-sdk-node';

const exporter = new InMemorySpanExporter();
const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
let instrumentation: any;
let stub: StubMilvus;
let sdk: any;
let originals: unknown[];

const inPlace = () =>
  PATCHED.map(([file, name, method]) => require(`${SDK}/dist/milvus/${file}`)[name].prototype[method]);
const spans = () => exporter.getFinishedSpans();
const search = { collection_name: 'quick_setup', data: [0.1, 0.2, 0.3, 0.4, 0.5], limit: 5 };

before(async () => {
  await ensureBuilt();
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const { MilvusInstrumentation } = require('milvus-otel/instrumentation');
  instrumentation = new MilvusInstrumentation({ rpcSpans: false });
  instrumentation.setTracerProvider(provider);
  sdk = require(SDK);
  // Late: it loads the SDK too.
  const { startStubMilvus } = await import('../../bench/stub-milvus.ts');
  stub = await startStubMilvus({ record: true });
  instrumentation.disable();
  originals = inPlace();
  instrumentation.enable();
});

beforeEach(() => exporter.reset());

after(async () => {
  await stub.stop();
  context.disable();
  propagation.disable();
});

// connect default
// search quick_setup
test('operations are spans of the provider that was set, and their context is on the wire', async () => {
  const client = new sdk.MilvusClient({ address: stub.address });
  await client.connectPromise;
  await client.search({ ...search });
  await client.closeConnection();
  assert.deepEqual(
    spans().map(({ name, kind }) => [name, kind]),
    [
      ['connect default', SpanKind.CLIENT],
      ['search quick_setup', SpanKind.CLIENT],
    ],
  );
  const { spanId, traceId } = spans()[1]?.spanContext() ?? {};
  const sent = stub.calls().filter(({ method }) => method === 'Search');
  assert.deepEqual(sent.at(-1)?.metadata.traceparent, [`00-${traceId}-${spanId}-01`]);
});

test('its name, version and supported versions follow the conventions for instrumentations', () => {
  assert.equal(instrumentation.instrumentationName, 'milvus-otel');
  assert.match(instrumentation.instrumentationVersion, /^\d+\.\d+\.\d+$/);
  const [definition] = instrumentation.getModuleDefinitions();
  assert.equal(definition.name, SDK);
  assert.deepEqual(definition.supportedVersions, ['>=2.2.24 <4']);
});

test('disable restores the original methods of the SDK, and an earlier client is untraced', async () => {
  const client = new sdk.MilvusClient({ address: stub.address });
  await client.connectPromise;
  exporter.reset();
  assert.notDeepEqual(inPlace(), originals);
  instrumentation.disable();
  try {
    inPlace().forEach((method, index) => {
      assert.equal(method, originals[index], PATCHED[index]?.join(' '));
    });
    assert.equal((await client.search({ ...search })).results.length, 5);
    assert.equal((await client.hybridSearch({ ...search })).results.length, 5);
    assert.deepEqual(spans(), []);
    assert.equal(stub.calls().at(-1)?.metadata.traceparent, undefined);
  } finally {
    instrumentation.enable();
  }
  await client.search({ ...search });
  assert.deepEqual(
    spans().map(({ name }) => name),
    ['search quick_setup'],
  );
  await client.closeConnection();
});

// search quick_setup
// └─ milvus.proto.milvus.MilvusService/Search
test('rpcSpans adds a child span for each RPC, whose context then is on the wire', async () => {
  const client = new sdk.MilvusClient({ address: stub.address });
  await client.search({ ...search });
  exporter.reset();
  instrumentation.setConfig({ rpcSpans: true });
  try {
    await client.search({ ...search });
  } finally {
    instrumentation.setConfig({ rpcSpans: false });
  }
  const [rpc, operation] = spans();
  assert.equal(operation?.name, 'search quick_setup');
  assert.equal(rpc?.name, 'milvus.proto.milvus.MilvusService/Search');
  assert.equal(rpc?.parentSpanContext?.spanId, operation?.spanContext().spanId);
  assert.equal(rpc?.attributes['rpc.status_code'], 'OK');
  const sent = stub.calls().filter(({ method }) => method === 'Search');
  assert.match(sent.at(-1)?.metadata.traceparent?.[0] ?? '', new RegExp(rpc?.spanContext().spanId ?? 'none'));
  await client.closeConnection();
});

describe('the REST client', () => {
  let server: Server;
  let requests: IncomingMessage[];
  let answer: { status: number; body: unknown };
  let client: any;

  before(async () => {
    server = createServer((request, response) => {
      requests.push(request);
      request.resume();
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    client = new sdk.HttpClient({ endpoint: `http://127.0.0.1:${port}`, token: 'root:planted-token' });
  });

  beforeEach(() => {
    requests = [];
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  // search quick_setup
  test('has one span for each call, with its context in the headers', async () => {
    answer = { status: 200, body: { code: 0, cost: 6, data: [{ id: 1 }, { id: 2 }] } };
    const found = await client.search({ collectionName: 'quick_setup', data: [[0.1, 0.2]], limit: 2 });
    assert.deepEqual(found, answer.body);
    const [span, ...others] = spans();
    assert.deepEqual(others, []);
    assert.equal(span?.name, 'search quick_setup');
    const { port } = server.address() as AddressInfo;
    assert.deepEqual(span?.attributes, {
      'db.system.name': 'milvus',
      'db.operation.name': 'search',
      'db.collection.name': 'quick_setup',
      'db.namespace': 'default',
      'server.address': '127.0.0.1',
      'server.port': port,
      'milvus.search.nq': 1,
      'milvus.search.limit': 2,
      'db.response.returned_rows': 2,
      'milvus.response.cost': 6,
    });
    const { traceId, spanId } = span?.spanContext() ?? {};
    assert.equal(requests.length, 1);
    assert.equal(requests[0]?.headers.traceparent, `00-${traceId}-${spanId}-01`);
    assert.equal(requests[0]?.headers.authorization, 'Bearer root:planted-token');
  });

  test('is an ERROR when Milvus answers with one inside HTTP 200, with its code and reason', async () => {
    answer = { status: 200, body: { code: 100, message: 'collection not found' } };
    assert.deepEqual(await client.describeCollection({ collectionName: 'none' }), answer.body);
    const [span] = spans();
    assert.deepEqual(span?.status, { code: SpanStatusCode.ERROR, message: 'collection not found' });
    assert.equal(span?.attributes['db.response.status_code'], '100');
    assert.equal(span?.attributes['error.type'], 'CollectionNotFound');
  });

  test('is an ERROR when HTTP refuses, the thrown error is that of the SDK, and no token is in the span', async () => {
    answer = { status: 401, body: 'planted-token is not welcome' };
    await assert.rejects(client.listCollections(), (error: Error) => error.name === 'HttpError');
    const [span] = spans();
    assert.equal(span?.name, 'listCollections default');
    assert.equal(span?.status.code, SpanStatusCode.ERROR);
    assert.equal(span?.attributes['error.type'], '401');
    assert.doesNotMatch(JSON.stringify([span?.attributes, span?.status]), /planted-token/);
  });

  test('is a child of the app’s active span', async () => {
    answer = { status: 200, body: { code: 0, data: { insertCount: 2, insertIds: [1, 2] } } };
    const tracer = provider.getTracer('app');
    await tracer.startActiveSpan('request', async (request) => {
      await client.insert({ collectionName: 'quick_setup', data: [{}, {}] });
      request.end();
    });
    const [insert, request] = spans();
    assert.equal(insert?.parentSpanContext?.spanId, request?.spanContext().spanId);
    assert.equal(insert?.attributes['milvus.request.rows'], 2);
    assert.equal(insert?.attributes['milvus.response.insert_count'], 2);
    assert.equal(trace.getActiveSpan(), undefined);
  });
});
