import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  type Attributes,
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { isTracingSuppressed, W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { HttpError } from '@zilliz/milvus2-sdk-node';
import fc from 'fast-check';
import { ATTR } from '../../src/milvus/attributes.ts';
import { readGrpcClient, readHttpClient } from '../../src/milvus/client-facts.ts';
import type { OperationMetrics } from '../../src/milvus/metrics.ts';
import {
  isUnimplemented,
  OperationSpan,
  operationIn,
  type SpanOptions,
} from '../../src/milvus/operation-span.ts';
import { HTTP_OPERATIONS, OPERATIONS } from '../../src/milvus/operations.ts';
import { anyValue, observed, RUNS } from '../support/arbitrary-values.ts';

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());

/** The attributes at creation, as a sampler sees them. */
const atCreation: Attributes[] = [];
let decision = SamplingDecision.RECORD_AND_SAMPLED;
const sampler: Sampler = {
  shouldSample: (_context, _traceId, _name, _kind, attributes) => {
    atCreation.push({ ...attributes });
    return { decision };
  },
};
const exporter = new InMemorySpanExporter();
const tracer = new TracerProvider({
  sampler,
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
}).getTracer('test');

afterEach(() => {
  exporter.reset();
  atCreation.length = 0;
  decision = SamplingDecision.RECORD_AND_SAMPLED;
});

const milvus = {
  config: { address: 'db.example:19531' },
  metadata: new Map([['dbname', 'sales']]),
};

interface Given {
  method?: string;
  request?: unknown;
  client?: unknown;
  captureFilter?: boolean;
  metrics?: SpanOptions['metrics'];
}

function start({
  method = 'search',
  request,
  client = milvus,
  captureFilter = false,
  metrics,
}: Given): OperationSpan {
  const options = { tracer, captureFilter, metrics };
  return new OperationSpan(options, method, OPERATIONS[method] ?? {}, readGrpcClient, client, request);
}

/** Metrics that pass each record to `ended`. */
const recorded = (ended: OperationMetrics['ended']): SpanOptions['metrics'] => ({
  started: (attributes) => ({ attributes, active: 0, retries: 0 }),
  ended,
});

/** An operation of the REST client. */
function startHttp(method: string, request: unknown, client: unknown): OperationSpan {
  const options = { tracer, captureFilter: false, metrics: undefined };
  return new OperationSpan(options, method, HTTP_OPERATIONS[method] ?? {}, readHttpClient, client, request);
}

/** The only span that has ended. */
function onlySpan(): ReadableSpan {
  const [span, ...others] = exporter.getFinishedSpans();
  assert.ok(span !== undefined && others.length === 0);
  return span;
}

/** Starts and ends an operation; `live` runs in between. */
function run(given: Given, live: (operation: OperationSpan) => void): ReadableSpan {
  exporter.reset();
  live(start(given));
  return onlySpan();
}

const succeed = (given: Given, response: unknown = {}): ReadableSpan =>
  run(given, (operation) => operation.end(response));
const fail = (given: Given, thrown: unknown): ReadableSpan =>
  run(given, (operation) => operation.endThrown(thrown));

test('a span is a CLIENT span, named by operation and collection, its status unset on success', () => {
  const span = succeed({ request: { collection_name: 'docs' } }, { status: { code: 0 }, results: [] });
  assert.equal(span.name, 'search docs');
  assert.equal(span.kind, SpanKind.CLIENT);
  assert.deepEqual(span.status, { code: SpanStatusCode.UNSET });
  assert.deepEqual(span.events, []);
});

test('without a collection the name has the database, else the server, else only the operation', () => {
  const client = (address: unknown, database: string) => ({
    config: { address },
    metadata: new Map([['dbname', database]]),
  });
  const name = (given: unknown) => succeed({ method: 'listCollections', client: given }).name;
  assert.equal(name(client('db.example:19530', 'sales')), 'listCollections sales');
  assert.equal(name(client('db.example:19530', '')), 'listCollections db.example:19530');
  assert.equal(name(client('[::1]:19531', '')), 'listCollections [::1]:19531');
  assert.equal(name(client(undefined, '')), 'listCollections');
  assert.equal(
    run({ method: 'getVersion', client: {} }, (operation) => operation.end({})).name,
    'getVersion',
  );
});

test('a hybrid search is distinguished from a search', () => {
  const data = [
    { anns_field: 'dense', data: [1, 2] },
    { anns_field: 'sparse', data: { 3: 1 } },
  ];
  const span = succeed({ request: { collection_name: 'docs', data } });
  assert.equal(span.name, 'hybridSearch docs');
  assert.equal(span.attributes[ATTR.operation], 'hybridSearch');
  assert.equal(span.attributes[ATTR.annsField], 'dense,sparse');
});

test('connecting has its own name', () => {
  const span = succeed({ method: '_getServerInfo', request: '3.0.6' });
  assert.equal(span.attributes[ATTR.operation], 'connect');
});

test('attributes for samplers are there at creation, the details come later', () => {
  const request = {
    collection_name: 'docs',
    anns_field: 'v',
    data: [[1], [2]],
    limit: 3,
    consistency_level: 0,
  };
  const response = { status: { code: 0 }, results: [[{}, {}], [{}]] };
  const span = succeed({ request }, response);
  const creation = {
    [ATTR.system]: 'milvus',
    [ATTR.operation]: 'search',
    [ATTR.collection]: 'docs',
    [ATTR.namespace]: 'sales',
    [ATTR.serverAddress]: 'db.example',
    [ATTR.serverPort]: 19531,
  };
  assert.deepEqual(atCreation, [creation]);
  assert.deepEqual(span.attributes, {
    ...creation,
    [ATTR.consistency]: 'Strong',
    [ATTR.annsField]: 'v',
    [ATTR.searchNq]: 2,
    [ATTR.searchLimit]: 3,
    [ATTR.returnedRows]: 3,
  });
});

test('the request is read before the call: later changes by the SDK do not show', () => {
  const request: Record<string, unknown> = { collection_name: 'docs', data: [{}, {}, {}] };
  const span = run({ method: 'insert', request }, (operation) => {
    request.fields_data = [{}];
    delete request.data;
    operation.end({ status: { code: 0 }, insert_cnt: '3' });
  });
  assert.equal(span.attributes[ATTR.requestRows], 3);
  assert.equal(span.attributes[ATTR.insertCount], 3);
});

test('the database is that of the RPC, also when useDatabase is called meanwhile', () => {
  const send = (operation: OperationSpan, request: object) => {
    operation.rpcSent(request);
    operation.inject({}, context.active(), client.metadata.get('dbname'));
  };
  const client = { ...milvus, metadata: new Map([['dbname', 'sales']]) };
  const measured: unknown[] = [];
  const metrics = recorded((_series, _span, _startMs, attributes) =>
    measured.push(attributes[ATTR.namespace]),
  );
  const runWith = (request: object, rpcRequest: object) =>
    run({ method: 'listCollections', request, client, metrics }, (operation) => {
      client.metadata.set('dbname', 'archive');
      send(operation, rpcRequest);
      operation.end({});
      client.metadata.set('dbname', 'sales');
    });

  // The client's database has changed by the time the RPC is sent.
  const moved = runWith({}, {});
  assert.equal(moved.name, 'listCollections archive');
  assert.equal(moved.attributes[ATTR.namespace], 'archive');
  assert.equal(runWith({ collection_name: 'docs' }, {}).name, 'listCollections docs');
  // The RPC names a database itself.
  assert.equal(runWith({ db_name: 'own' }, { db_name: 'own' }).name, 'listCollections own');
  // The SDK's method does not pass on what its request names.
  assert.equal(runWith({ db_name: 'own' }, {}).attributes[ATTR.namespace], 'archive');
  assert.deepEqual(measured, ['archive', 'archive', 'own', 'archive']);

  // Once an RPC has carried the request's database, one without it changes nothing.
  const several = run({ method: 'createCollection', request: { db_name: 'own' }, client }, (operation) => {
    send(operation, { db_name: 'own' });
    send(operation, {});
    operation.end({});
  });
  assert.equal(several.attributes[ATTR.namespace], 'own');
});

test('the request id that goes to the access log is an attribute', () => {
  const request = { collection_name: 'docs', client_request_id: 'order-7' };
  assert.equal(succeed({ request }).attributes[ATTR.clientRequestId], 'order-7');
});

test('the database of the request takes precedence over that of the client', () => {
  const span = succeed({ request: { collection_name: 'docs', db_name: 'archive' } });
  assert.equal(span.attributes[ATTR.namespace], 'archive');
  assert.equal(succeed({ request: { db_name: '' } }).attributes[ATTR.namespace], 'sales');
  const client = { ...milvus, metadata: new Map<string, unknown>([['dbname', '']]) };
  assert.equal(succeed({ client }).attributes[ATTR.namespace], undefined);
});

for (const [address, host, port] of [
  ['http://db.example:19531', 'db.example', 19531],
  ['https://db.example', 'db.example', 443],
  ['https://me:hunter2@db.example:19531', 'db.example', 19531],
  ['[::1]:19531', '::1', 19531],
  ['db.example:19530', 'db.example', undefined],
  ['', undefined, undefined],
  [19530, undefined, undefined],
] as const) {
  test(`the server of a client of ${JSON.stringify(address)} is ${host ?? 'unknown'}`, () => {
    // Twice: the second read comes from the cache.
    for (let time = 0; time < 2; time++) {
      const { attributes } = succeed({ client: { config: { address } } });
      assert.equal(attributes[ATTR.serverAddress], host);
      assert.equal(attributes[ATTR.serverPort], port);
    }
  });
}

const FILTER = 'owner == "hunter2"';
const CANNOT_PARSE = `cannot parse expression: ${FILTER}, error: token recognition error at: '"hunter2"'`;

test('a filter is in an attribute only when that is enabled', () => {
  for (const request of [{ filter: FILTER }, { expr: FILTER }]) {
    assert.equal(succeed({ request }).attributes[ATTR.queryText], undefined);
    assert.equal(succeed({ request, captureFilter: true }).attributes[ATTR.queryText], FILTER);
  }
  assert.equal(succeed({ request: {}, captureFilter: true }).attributes[ATTR.queryText], undefined);
});

test('an enabled filter attribute has the filter of each sub-search of a hybrid search', () => {
  const data = [
    { anns_field: 'a', expr: 'a > 1' },
    { anns_field: 'b', expr: 'b > 2' },
  ];
  const { attributes } = succeed({ request: { data }, captureFilter: true });
  assert.equal(attributes[ATTR.queryText], 'a > 1; b > 2');
});

test('a filter that the server quotes is removed from the description, with its parts', () => {
  const status = { error_code: 'UnexpectedError', code: 65_535, reason: CANNOT_PARSE };
  for (const request of [
    { filter: FILTER },
    { expr: FILTER },
    { data: [{ anns_field: 'a', data: [1], expr: FILTER }] },
  ]) {
    for (const span of [succeed({ request }, { status }), fail({ request }, status)]) {
      assert.deepEqual(span.status, {
        code: SpanStatusCode.ERROR,
        message: 'cannot parse expression: <filter>',
      });
      assert.doesNotMatch(JSON.stringify([span.attributes, span.events, span.status]), /hunter2/);
    }
  }
});

test('a description is left out when the filter has its own toString()', () => {
  const filter = { toString: () => FILTER };
  assert.equal(fail({ request: { filter } }, new Error(CANNOT_PARSE)).status.message, '');
});

test('secrets are removed from the description, even if filters may be shown', () => {
  const calls: [method: string, request: object][] = [
    ['createUser', { username: 'alice', password: 'hunter22' }],
    ['updateUser', { username: 'alice', oldPassword: 'hunter21', newPassword: 'hunter22' }],
    ['createCollection', { collection_name: 'docs', external_spec: '{"key":"hunter22"}' }],
    ['refreshExternalCollection', { collection_name: 'docs', external_spec: '{"key":"hunter22"}' }],
    ['updateReplicateConfiguration', { clusters: [{ connection_param: { token: 'hunter22' } }] }],
  ];
  for (const [method, request] of calls)
    for (const captureFilter of [false, true]) {
      const { status } = fail({ method, request, captureFilter }, new Error('invalid value hunter22'));
      assert.equal(status.message, 'invalid value <filter>', method);
    }
});

test('a filter that may be shown stays in the description', () => {
  const span = fail({ request: { filter: FILTER }, captureFilter: true }, new Error(CANNOT_PARSE));
  assert.equal(span.status.message, CANNOT_PARSE);
});

test('a description without the filter is unchanged', () => {
  const span = fail({ request: { filter: FILTER } }, new Error('collection not found'));
  assert.equal(span.status.message, 'collection not found');
});

test('vectors, rows, ids and passwords are in no attribute', () => {
  const secret = 'hunter2';
  for (const method of Object.keys(OPERATIONS)) {
    const request = {
      collection_name: 'docs',
      username: 'me',
      password: secret,
      newPassword: secret,
      filter: secret,
      exprValues: { secret },
      ids: [secret],
      data: [{ text: secret, vector: [0.123456] }],
      fields_data: [{ text: secret }],
      vector: [0.123456],
    };
    const response = { status: { code: 0 }, data: [{ text: secret }], results: [{ text: secret }] };
    const { name, attributes, events } = succeed({ method, request }, response);
    assert.doesNotMatch(JSON.stringify([name, attributes, events]), /hunter2|0\.123456/, method);
  }
});

test('a bad status inside a good gRPC answer is an ERROR, with code, type and the reason of the server', () => {
  const status = { error_code: 'CollectionNotExists', code: 100, reason: 'collection not found' };
  for (const answer of [status, { status }, { alter_status: status }]) {
    const { attributes, ...span } = succeed({ request: { collection_name: 'docs' } }, answer);
    assert.deepEqual(span.status, { code: SpanStatusCode.ERROR, message: 'collection not found' });
    assert.equal(attributes[ATTR.statusCode], '100');
    assert.equal(attributes[ATTR.errorType], 'CollectionNotFound');
  }
});

test('an operation that answers with several statuses fails with the first that is a failure', () => {
  const ok = { error_code: 'Success', code: 0, reason: '' };
  const refused = { error_code: 'UnexpectedError', code: 1401, reason: 'not permitted' };
  for (const method of ['dropAllRoles', 'dropAllResourceGroups']) {
    const failed = succeed({ method }, [ok, refused, { ...refused, code: 300 }]);
    assert.deepEqual(failed.status, { code: SpanStatusCode.ERROR, message: 'not permitted' });
    assert.equal(failed.attributes[ATTR.errorType], 'PrivilegeNotPermitted');
    for (const answer of [[ok, ok], [], undefined])
      assert.equal(succeed({ method }, answer).status.code, SpanStatusCode.UNSET);
  }
});

test('a failed operation has no attributes from its answer', () => {
  const response = { status: { code: 1, reason: 'no' }, results: [{}, {}] };
  assert.equal(succeed({}, response).attributes[ATTR.returnedRows], undefined);
});

test('an error has its class and message, and no code when it has none', () => {
  const { attributes, status } = fail({}, new RangeError('limit'));
  assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: 'limit' });
  assert.equal(attributes[ATTR.errorType], 'RangeError');
  assert.ok(!(ATTR.statusCode in attributes));
});

test('a TypeError that the SDK throws on a failed answer has the reason of the server', () => {
  const span = run({}, (operation) => {
    operation.rpcAnswered({ status: { error_code: 'CollectionNotExists', code: 100, reason: 'not found' } });
    operation.endThrown(new TypeError("Cannot read properties of undefined (reading 'fields')"));
  });
  assert.equal(span.status.message, 'not found');
  assert.equal(span.attributes[ATTR.statusCode], '100');
});

test('a failed RPC from which the SDK recovered does not fail the operation', () => {
  const span = run({}, (operation) => {
    operation.rpcAnswered({ status: { code: 100, reason: 'not found' } });
    operation.end({ status: { code: 0 }, value: false });
  });
  assert.equal(span.status.code, SpanStatusCode.UNSET);
});

test('a TypeError hides only the failure of the last RPC', () => {
  const span = run({}, (operation) => {
    operation.rpcAnswered({ status: { code: 100, reason: 'not found' } });
    operation.rpcAnswered({ status: { code: 0 }, data: [] });
    operation.endThrown(new TypeError('own'));
  });
  assert.equal(span.status.message, 'own');
  assert.equal(span.attributes[ATTR.errorType], 'TypeError');
});

test('an operation that has ended does not retain its answer', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const kept: OperationSpan[] = [];
  const answered = (end: (operation: OperationSpan, answer: object) => void): WeakRef<object> => {
    const operation = start({});
    const answer = { status: { code: 0 }, results: [] };
    operation.rpcAnswered(answer);
    end(operation, answer);
    kept.push(operation);
    return new WeakRef(answer);
  };
  const answers = [SamplingDecision.RECORD_AND_SAMPLED, SamplingDecision.NOT_RECORD].flatMap((sampled) => {
    decision = sampled;
    return [
      answered((operation, answer) => operation.end(answer)),
      answered((operation) => operation.endThrown(new TypeError('own'))),
      answered((operation, answer) => {
        operation.end(answer);
        operation.rpcAnswered(answer);
      }),
    ];
  });
  // A weak reference holds until the present job is over.
  await new Promise((resolve) => setImmediate(resolve));
  gc();
  assert.deepEqual(
    answers.map((answer) => answer.deref()),
    answers.map(() => undefined),
  );
  assert.equal(kept.length, 6);
});

test('an operation of one RPC that the server does not have is UNIMPLEMENTED, though the SDK answers {}', () => {
  for (const response of [{}, undefined, { status: undefined }]) {
    const { attributes, status } = run({ method: 'createSnapshot' }, (operation) => {
      operation.rpcAnswered({});
      operation.end(response);
    });
    assert.equal(status.code, SpanStatusCode.ERROR);
    assert.match(status.message ?? '', /does not implement/);
    assert.equal(attributes[ATTR.statusCode], 'UNIMPLEMENTED');
    assert.equal(attributes[ATTR.errorType], 'UNIMPLEMENTED');
  }
});

test('an unimplemented RPC among others is no failure of an operation that got its answer', () => {
  const answers = [{}, { status: { code: 0 } }];
  for (const order of [answers, answers.toReversed()]) {
    const span = run({}, (operation) => {
      for (const answer of order) operation.rpcAnswered(answer);
      operation.end({ status: { code: 0 }, results: [] });
    });
    assert.equal(span.status.code, SpanStatusCode.UNSET);
  }
});

test('an operation that made no RPC is no failure, whatever it returns', () => {
  for (const response of [{}, undefined, null, 5, [], 'text']) {
    assert.equal(succeed({}, response).status.code, SpanStatusCode.UNSET);
  }
});

test('retries are counted, without an attribute when there were none', () => {
  assert.ok(!(ATTR.retries in succeed({}).attributes));
  for (const end of ['end', 'endThrown'] as const) {
    const span = run({}, (operation) => {
      operation.rpcRetried();
      operation.rpcRetried();
      operation[end](new Error('no'));
    });
    assert.equal(span.attributes[ATTR.retries], 2);
  }
});

test('the cost that a server reports is recorded', () => {
  const status = { code: 0, extra_info: { report_value: '21' } };
  assert.equal(succeed({ method: 'insert' }, { status, insert_cnt: '1' }).attributes[ATTR.cost], 21);
});

test("the active span is the operation's parent", () => {
  const parent = tracer.startSpan('request');
  const span = context.with(trace.setSpan(ROOT_CONTEXT, parent), () => succeed({}));
  assert.equal(span.parentSpanContext?.spanId, parent.spanContext().spanId);
  assert.equal(span.spanContext().traceId, parent.spanContext().traceId);
});

/** gRPC's Metadata as far as it is written to. */
class Sent extends Map<string, string[]> {
  override set(key: string, value: unknown): this {
    return super.set(key, [String(value)]);
  }
  add(key: string, value: string): void {
    super.set(key, [...(this.get(key) ?? []), value]);
  }
}

test('inside an operation it is active and tracing is suppressed, and only there', async () => {
  const operation = start({});
  assert.equal(operationIn(context.active()), undefined);
  await context.with(operation.inner, async () => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(operationIn(context.active()), operation);
    assert.ok(isTracingSuppressed(context.active()));
    // Suppression stops a propagator, but not the operation's own header.
    const [suppressed, sent] = [new Sent(), new Sent()];
    propagation.inject(context.active(), suppressed, {
      set: (carrier, key, value) => carrier.set(key, value),
    });
    operation.inject(sent as never);
    assert.deepEqual([suppressed.size, sent.size], [0, 1]);
  });
  assert.equal(operationIn(context.active()), undefined);
  assert.ok(!isTracingSuppressed(context.active()));
  operation.end({});
});

test('exactly one traceparent is sent, that of the operation, whatever was set before', () => {
  const metadata = new Sent();
  metadata.add('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  const operation = start({});
  context.with(operation.inner, () => operation.inject(metadata as never));
  operation.end({});
  const { traceId, spanId } = operation.span.spanContext();
  assert.deepEqual(metadata.get('traceparent'), [`00-${traceId}-${spanId}-01`]);
});

test('the headers of a REST call have exactly one traceparent, that of the operation', () => {
  const headers: Record<string, string> = { traceparent: 'old', Authorization: 'Bearer x' };
  const operation = startHttp('query', { collectionName: 'docs' }, {});
  context.with(operation.inner, () => operation.inject(headers));
  operation.end({});
  const { traceId, spanId } = operation.span.spanContext();
  assert.deepEqual(headers, { traceparent: `00-${traceId}-${spanId}-01`, Authorization: 'Bearer x' });
});

/** Traceparents sent by the caller. */
function sentBy(operation: OperationSpan): string[] | undefined {
  const metadata = new Sent();
  operation.inject(metadata as never);
  return metadata.get('traceparent');
}

const traceparentOf = (span: Span) => `00-${span.spanContext().traceId}-${span.spanContext().spanId}-01`;

test('the span of an RPC is a child of its operation, named by service and method, and goes onto the wire', () => {
  // search docs └─ milvus.proto.milvus.MilvusService/Search
  const operation = start({ request: { collection_name: 'docs' } });
  const rpc = context.with(operation.inner, () => operation.startRpc(tracer, 'Search'));
  rpc.span.end();
  const child = onlySpan();
  assert.equal(child.name, 'milvus.proto.milvus.MilvusService/Search');
  assert.equal(child.kind, SpanKind.CLIENT);
  assert.equal(child.parentSpanContext?.spanId, operation.span.spanContext().spanId);
  assert.deepEqual(child.attributes, {
    'rpc.system.name': 'grpc',
    'rpc.method': 'milvus.proto.milvus.MilvusService/Search',
    [ATTR.serverAddress]: 'db.example',
    [ATTR.serverPort]: 19531,
  });
  assert.deepEqual(atCreation[1], child.attributes);
  context.with(rpc.context, () => assert.deepEqual(sentBy(operation), [traceparentOf(rpc.span)]));
  operation.end({});
});

test('the span of an RPC has no server attributes when the server is unknown', () => {
  const operation = start({ client: {} });
  operation.startRpc(tracer, 'Search').span.end();
  assert.deepEqual(Object.keys(onlySpan().attributes), ['rpc.system.name', 'rpc.method']);
  operation.end({});
});

test('inside an RPC its operation is still active, and tracing is still suppressed', async () => {
  const operation = start({});
  await context.with(operation.inner, async () => {
    const rpc = operation.startRpc(tracer, 'Search');
    await context.with(rpc.context, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(operationIn(context.active()), operation);
      assert.ok(isTracingSuppressed(context.active()));
    });
    assert.deepEqual(sentBy(operation), [traceparentOf(operation.span)]);
    rpc.span.end();
  });
  operation.end({});
});

test('RPCs of one operation that overlap each send their own span, and all are children of the operation', async () => {
  const operation = start({ method: 'createIndex' });
  const sent = await context.with(operation.inner, () =>
    Promise.all(
      ['CreateIndex', 'CreateIndex', 'DescribeIndex'].map((method) => {
        const rpc = operation.startRpc(tracer, method);
        return context.with(rpc.context, async () => {
          await new Promise((resolve) => setImmediate(resolve));
          const traceparent = sentBy(operation);
          rpc.span.end();
          return [traceparent, [traceparentOf(rpc.span)]];
        });
      }),
    ),
  );
  for (const [traceparent, own] of sent) assert.deepEqual(traceparent, own);
  assert.equal(new Set(sent.map(String)).size, 3);
  for (const { parentSpanContext } of exporter.getFinishedSpans()) {
    assert.equal(parentSpanContext?.spanId, operation.span.spanContext().spanId);
  }
  operation.end({});
});

const REST_CLIENT = { config: { endpoint: 'http://me:hunter2@db.example:19531', database: 'sales' } };

/** Starts and ends one of the REST client's operations. */
function succeedHttp(method: string, request: unknown, response: unknown): ReadableSpan {
  exporter.reset();
  startHttp(method, request, REST_CLIENT).end(response);
  return onlySpan();
}

test('an operation of the REST client has the attributes of its gRPC counterpart', () => {
  const request = {
    collectionName: 'docs',
    partitionNames: ['p'],
    annsField: 'v',
    data: [[1, 2]],
    filter: 'owner == "hunter2"',
    limit: 3,
  };
  const span = succeedHttp('search', request, { code: 0, cost: 6, data: [{}, {}], topks: [2] });
  assert.equal(span.name, 'search docs');
  assert.equal(span.kind, SpanKind.CLIENT);
  const creation = {
    [ATTR.system]: 'milvus',
    [ATTR.operation]: 'search',
    [ATTR.collection]: 'docs',
    [ATTR.namespace]: 'sales',
    [ATTR.serverAddress]: 'db.example',
    [ATTR.serverPort]: 19531,
  };
  assert.deepEqual(atCreation, [creation]);
  assert.deepEqual(span.attributes, {
    ...creation,
    [ATTR.partitions]: ['p'],
    [ATTR.annsField]: 'v',
    [ATTR.searchNq]: 1,
    [ATTR.searchLimit]: 3,
    [ATTR.returnedRows]: 2,
    [ATTR.cost]: 6,
  });
});

test('each data operation of the REST client reads its counts', () => {
  const rows = [{ id: 1 }, { id: 2 }];
  const sub = { annsField: 'dense', data: [[1], [2]], limit: 3 };
  for (const [method, request, data, expected] of [
    ['insert', { data: rows }, { insertCount: 2 }, { [ATTR.requestRows]: 2, [ATTR.insertCount]: 2 }],
    ['upsert', { data: rows }, { upsertCount: 2 }, { [ATTR.requestRows]: 2, [ATTR.upsertCount]: 2 }],
    ['delete', { filter: 'a > 1' }, { deleteCount: 1 }, { [ATTR.deleteCount]: 1 }],
    ['get', { id: [1, 2] }, rows, { [ATTR.returnedRows]: 2 }],
    ['query', { limit: 9 }, rows, { [ATTR.queryLimit]: 9, [ATTR.returnedRows]: 2 }],
    [
      'hybridSearch',
      { search: [sub, sub], limit: 3 },
      rows,
      { [ATTR.annsField]: 'dense,dense', [ATTR.searchNq]: 2, [ATTR.searchLimit]: 3, [ATTR.returnedRows]: 2 },
    ],
  ] as const) {
    const { attributes } = succeedHttp(method, { collectionName: 'docs', ...request }, { code: 0, data });
    assert.equal(attributes[ATTR.operation], method);
    for (const [key, value] of Object.entries(expected)) {
      assert.equal(attributes[key], value, `${method} ${key}`);
    }
  }
});

test('hits of a REST search are also counted for several query vectors, which its client groups', () => {
  const answer = { code: 0, data: [[{}, {}], [{}, {}], [{}]], topks: [2, 2, 1] };
  const { attributes } = succeedHttp('search', { data: [[1], [2], [3]] }, answer);
  assert.equal(attributes[ATTR.returnedRows], 5);
});

test('a REST answer with a code other than 0 and 200 is an ERROR with its message', () => {
  for (const code of [0, 200]) {
    assert.equal(succeedHttp('insert', {}, { code, data: {} }).status.code, SpanStatusCode.UNSET);
  }
  const answer = { code: 1804, message: 'fail to deal the insert data' };
  const { attributes, status } = succeedHttp('insert', { collectionName: 'docs' }, answer);
  assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: 'fail to deal the insert data' });
  assert.equal(attributes[ATTR.statusCode], '1804');
  assert.equal(attributes[ATTR.errorType], 'InvalidInsertData');
});

test('an HttpError of the REST client shows neither URL nor answer', () => {
  const url = 'http://me:hunter2@db.example:19531/v2/vectordb/entities/query';
  exporter.reset();
  startHttp('query', { collectionName: 'docs' }, REST_CLIENT).endThrown(
    new HttpError(`HTTP 401 Unauthorized: ${url} - {"user":"me"}`, 401, 'Unauthorized', url),
  );
  const { attributes, status, events } = onlySpan();
  assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: 'HTTP 401 Unauthorized' });
  assert.equal(attributes[ATTR.statusCode], '401');
  assert.equal(attributes[ATTR.errorType], '401');
  assert.doesNotMatch(JSON.stringify([attributes, status, events]), /hunter2|"user"|vectordb/);
});

test('a filter that a REST answer quotes is removed from the description', () => {
  const message = `failed to create query plan: ${CANNOT_PARSE}`;
  for (const [method, request] of [
    ['query', { filter: FILTER }],
    ['hybridSearch', { search: [{ annsField: 'a', data: [[1]], filter: FILTER }] }],
  ] as const) {
    const { status } = succeedHttp(method, request, { code: 1100, message });
    assert.equal(status.message, 'failed to create query plan: cannot parse expression: <filter>');
  }
});

test('the duration is recorded once for each operation, when its span has ended', () => {
  const records: [spanEnded: boolean, attributes: Attributes][] = [];
  const metrics = recorded((_series, span, _startMs, attributes) =>
    records.push([!span.isRecording(), { ...attributes }]),
  );
  const request = { collection_name: 'docs', data: [[1]], limit: 3, filter: FILTER };
  succeed({ request, metrics, captureFilter: true }, { status: { code: 0 }, results: [] });
  // Only those at creation: details would make a time series of each request.
  assert.deepEqual(records.splice(0), [[true, atCreation[0]]]);

  const status = { error_code: 'CollectionNotExists', code: 100, reason: 'not found' };
  for (const span of [succeed({ request, metrics }, { status }), fail({ request, metrics }, status)]) {
    assert.equal(span.attributes[ATTR.errorType], 'CollectionNotFound');
    const outcome = { [ATTR.errorType]: 'CollectionNotFound', [ATTR.statusCode]: '100' };
    assert.deepEqual(records.shift(), [true, { ...atCreation[0], ...outcome }]);
  }
  assert.deepEqual(records, []);
});

test('an operation that is not sampled is still measured', () => {
  decision = SamplingDecision.NOT_RECORD;
  const startsMs: number[] = [];
  const before = performance.now();
  start({ metrics: recorded((_series, _span, startMs) => startsMs.push(startMs)) }).end({});
  assert.equal(startsMs.length, 1);
  assert.ok((startsMs[0] ?? 0) >= before && (startsMs[0] ?? 0) <= performance.now());
});

test('only an answer without any field means that the SDK got UNIMPLEMENTED', () => {
  assert.ok(isUnimplemented({}));
  for (const answer of [{ status: undefined }, { code: 0 }, [0], undefined, null, '', 0]) {
    assert.ok(!isUnimplemented(answer), JSON.stringify(answer));
  }
});

test('an operation that is not sampled reads only what its name needs, and still sends its context', () => {
  decision = SamplingDecision.NOT_RECORD;
  const metadata = new Sent();
  const request = observed({ collection_name: 'docs', data: [[1], [2]], limit: 3, partition_names: ['p'] });
  const response = observed({ status: { code: 1, reason: 'no' }, results: [{}] });
  const operation = start({ request: request.value });
  operation.inject(metadata as never);
  operation.end(response.value);
  assert.equal(exporter.getFinishedSpans().length, 0);
  assert.match(metadata.get('traceparent')?.[0] ?? '', /-00$/);
  assert.ok(request.reads <= 10, `${request.reads} reads`);
  assert.equal(response.reads, 0);
});

const knownAttributes = new Set<string>(Object.values(ATTR));

function assertWellFormed(span: ReadableSpan): void {
  assert.notEqual(span.name, '');
  assert.equal(span.attributes[ATTR.system], 'milvus');
  assert.ok(span.ended);
  for (const [key, value] of Object.entries(span.attributes)) {
    assert.ok(knownAttributes.has(key), key);
    assert.ok(
      ['string', 'number'].includes(typeof value) || Array.isArray(value),
      `${key} is ${typeof value}`,
    );
  }
  if (span.status.code === SpanStatusCode.ERROR) assert.equal(typeof span.status.message, 'string');
}

test('an operation never throws and ends as one well-formed span, whatever its request, answer and error', () => {
  const someMethod = fc.constantFrom(...Object.keys(OPERATIONS));
  const values = fc.tuple(anyValue, anyValue, anyValue, anyValue);
  fc.assert(
    fc.property(
      someMethod,
      values,
      fc.boolean(),
      fc.boolean(),
      (method, [request, client, rpc, end], capture, thrown) => {
        exporter.reset();
        const operation = start({
          method,
          request: request(),
          client: client(),
          captureFilter: capture,
        });
        operation.rpcAnswered(rpc());
        if (thrown) operation.endThrown(end());
        else operation.end(end());
        assertWellFormed(onlySpan());
      },
    ),
    RUNS,
  );
});

test('an operation never throws, whatever fields its client has', () => {
  fc.assert(
    fc.property(anyValue, anyValue, anyValue, (address, metadata, dbname) => {
      exporter.reset();
      for (const client of [
        address(),
        { config: { address: address() }, metadata: metadata() },
        { config: address(), metadata: new Map([['dbname', dbname()]]) },
        { config: { address: 'a:1' }, metadata: { get: () => dbname() } },
      ]) {
        start({ client }).end({});
        startHttp('query', {}, client).end({});
      }
      for (const client of [
        { config: { endpoint: address(), database: dbname() } },
        { config: { baseURL: address(), endpoint: metadata() } },
      ]) {
        startHttp('query', {}, client).end({});
      }
      for (const span of exporter.getFinishedSpans()) assertWellFormed(span);
    }),
    RUNS,
  );
});

test('a request that cannot be read hides the whole reason', () => {
  const request = {
    collection_name: 'books',
    get filter(): string {
      throw new Error('not now');
    },
  };
  const { status } = run({ method: 'query', request }, (operation) =>
    operation.end({ status: { error_code: 'UnexpectedError', code: 1100, reason: 'bad alice4711' } }),
  );
  assert.deepEqual(status, { code: SpanStatusCode.ERROR, message: '' });
});

test('an operation does not change its request, answer or error', () => {
  for (const method of Object.keys(OPERATIONS)) {
    const request = observed({
      collection_name: 'docs',
      data: [{ anns_field: 'a', data: [1] }],
      filter: 'a > 1',
    });
    const answer = observed({ status: { code: 0 }, results: [[{}]], data: [{}], insert_cnt: '1' });
    const thrown = observed({ status: { code: 1, reason: 'a > 1' }, message: 'm' });
    for (const captureFilter of [true, false]) {
      const operation = start({ method, request: request.value, captureFilter });
      operation.rpcAnswered(answer.value);
      operation.end(answer.value);
      start({ method, request: request.value, captureFilter }).endThrown(thrown.value);
    }
    assert.deepEqual([request.writes, answer.writes, thrown.writes], [[], [], []], method);
  }
});

test('100000 rows, vectors and hits cost an operation only a few reads', () => {
  const many = new Array(100_000);
  for (const [method, sent, got] of [
    ['insert', { data: many.fill({ id: 1 }) }, { status: { code: 0 }, succ_index: many }],
    ['upsert', { fields_data: many }, { status: { code: 0 }, succ_index: many }],
    ['search', { data: many.slice().fill(0.5) }, { status: { code: 0 }, results: many }],
    ['query', { filter: 'a > 1' }, { status: { code: 0 }, data: many }],
    ['get', { ids: many }, { status: { code: 0 }, data: many }],
    ['delete', { ids: many }, { status: { code: 0 }, delete_cnt: '100000' }],
  ] as const) {
    const request = observed(sent);
    const response = observed(got);
    const operation = start({ method, request: request.value });
    operation.rpcAnswered(response.value);
    operation.end(response.value);
    assert.ok(
      request.reads + response.reads <= 100,
      `${method}: ${request.reads} and ${response.reads} reads`,
    );
  }
});

test('the contexts of concurrent operations stay apart', async () => {
  const operations = Array.from({ length: 50 }, () => start({}));
  const seen: (OperationSpan | undefined)[] = await Promise.all(
    operations.map((operation) =>
      context.with(operation.inner as Context, async () => {
        await new Promise((resolve) => setImmediate(resolve));
        return operationIn(context.active());
      }),
    ),
  );
  assert.deepEqual(
    seen.map((found) => found?.span.spanContext().spanId),
    operations.map(({ span }) => span.spanContext().spanId),
  );
  for (const operation of operations) operation.end({});
});

test('each span is named after its own collection, also when there are more than the cache holds', () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `docs_${index % 2_500}`);
  for (const name of names) start({ request: { collection_name: name, limit: 5 } }).end({ results: [] });
  assert.deepEqual(
    exporter.getFinishedSpans().map((span) => [span.name, span.attributes[ATTR.collection]]),
    names.map((name) => [`search ${name}`, name]),
  );
});
