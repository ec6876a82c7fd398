/** What a Milvus server sees of the traces, and that nothing but operations makes spans. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Server, ServerCredentials, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { getGRPCService } from '@zilliz/milvus2-sdk-node';
import { type StubCall, startStubMilvus } from '../../bench/stub-milvus.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { outline, useRuns } from './runs.ts';

const runs = useRuns();

/** The span that a call's traceparent names. Fails when the call has none, more than one, or another one. */
function spanOnWire(call: StubCall, spans: ReceivedSpan[]): ReceivedSpan {
  const { traceparent } = call.metadata;
  assert.equal(traceparent?.length, 1, `${call.method} came with ${traceparent?.length ?? 0} traceparents`);
  const [, traceId, spanId, flags] = traceparent[0]?.split('-') ?? [];
  assert.equal(flags, '01');
  const span = spans.find((one) => one.spanId === spanId && one.traceId === traceId);
  assert.ok(span, `${call.method} names a span that did not arrive: ${traceparent[0]}`);
  return span;
}

/**
 * RPC → names of the operations whose spans its calls carried, in the order of the calls, heartbeats apart.
 */
function callsBySpan(calls: StubCall[], spans: ReceivedSpan[]): string[] {
  return calls
    .filter(({ method }) => method !== 'ClientHeartbeat')
    .map((call) => `${call.method} < ${spanOnWire(call, spans).name}`);
}

function assertHeartbeatsWithoutTrace(calls: StubCall[], atLeast: number): void {
  const heartbeats = calls.filter(({ method }) => method === 'ClientHeartbeat');
  assert.ok(heartbeats.length >= atLeast, `${heartbeats.length} heartbeats`);
  for (const { metadata } of heartbeats) assert.equal(metadata.traceparent, undefined);
}

describe('on the wire', { concurrency: 2 }, () => {
  const variants: Record<string, Record<string, string>> = {
    'as it is by default': {},
    "with the instrumentations of gRPC and of the SDK's pool enabled": {
      OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'milvus,grpc,generic-pool',
    },
  };
  for (const [variant, env] of Object.entries(variants)) {
    test(`each call has its operation's span as the one traceparent, and heartbeats have none, ${variant}`, async (t) => {
      const milvus = await startStubMilvus({ record: true });
      t.after(() => milvus.stop());
      const { service, stdout, stderr } = await runs.run({
        file: 'test/fixtures/sdk-trace.mjs',
        env: { MILVUS_ADDRESS: milvus.address, ...env },
      });
      assert.deepEqual({ stdout, stderr }, { stdout: 'function\n', stderr: '' });

      // connect, 30 × search, query: no grpc.*, grpc-intercept, generic-pool.acquire, tcp.connect,
      // dns.lookup, heartbeat
      const spans = await runs.spans(service, 32);
      assert.deepEqual(outline(spans), [
        'connect default',
        ...Array.from({ length: 30 }, () => 'search quick_setup'),
        'query quick_setup',
      ]);
      const calls = callsBySpan(milvus.calls(), spans);
      assert.equal(calls.filter((call) => call === 'Connect < connect default').length, 1);
      assert.equal(calls.filter((call) => call === 'Search < search quick_setup').length, 30);
      assert.equal(calls.filter((call) => call === 'Query < query quick_setup').length, 1);
      // Each search has its own.
      const onWire = milvus.calls().filter(({ method }) => method === 'Search');
      assert.equal(new Set(onWire.map((call) => spanOnWire(call, spans).spanId)).size, 30);
      assertHeartbeatsWithoutTrace(milvus.calls(), 2);
    });
  }

  test('an operation that is not sampled sends the flag to the server, and is not exported', async (t) => {
    const milvus = await startStubMilvus({ record: true });
    t.after(() => milvus.stop());
    const { service, stdout } = await runs.run({
      file: 'test/fixtures/searches.mjs',
      env: { MILVUS_ADDRESS: milvus.address, OTEL_TRACES_SAMPLER: 'always_off' },
    });
    assert.ok(stdout.startsWith('has true'), stdout);
    const calls = milvus.calls().filter(({ method }) => method !== 'ClientHeartbeat');
    for (const { metadata } of calls) {
      assert.equal(metadata.traceparent?.length, 1);
      assert.match(metadata.traceparent[0] ?? '', /-00$/);
    }
    await runs.spans(service, 0);
  });

  for (const [value, header] of [
    ['b3', 'b3'],
    ['w3c, which is no propagator', 'traceparent'],
  ] as const) {
    test(`OTEL_PROPAGATORS=${value}: the context goes out as ${header}`, async (t) => {
      const milvus = await startStubMilvus({ record: true });
      t.after(() => milvus.stop());
      const { service } = await runs.run({
        file: 'test/fixtures/searches.mjs',
        env: { MILVUS_ADDRESS: milvus.address, OTEL_PROPAGATORS: value.split(',')[0] ?? '' },
      });
      const spans = await runs.spans(service, 5);
      const search = milvus.calls().find(({ method }) => method === 'Search');
      const span = spans.find(({ name }) => name === 'search quick_setup');
      assert.ok(search && span);
      const sent = Object.keys(search.metadata).filter((name) => name === 'b3' || name === 'traceparent');
      assert.deepEqual(sent, [header]);
      assert.ok(search.metadata[header]?.[0]?.includes(`${span.traceId}-${span.spanId}`));
    });
  }

  test('what a public method calls is part of its span', async (t) => {
    const milvus = await startStubMilvus({ record: true });
    t.after(() => milvus.stop());
    const { service } = await runs.run({
      file: 'test/fixtures/nested.mjs',
      env: { MILVUS_ADDRESS: milvus.address },
    });

    // insert (describes, inserts) · count (queries) · get (describes twice, queries) · getPkField (describes)
    const spans = await runs.spans(service, 5);
    assert.deepEqual(outline(spans), [
      'connect default',
      'insert quick_setup',
      'count quick_setup',
      'get quick_setup',
      'getPkField quick_setup',
    ]);
    assert.deepEqual(callsBySpan(milvus.calls(), spans), [
      'Connect < connect default',
      'DescribeCollection < insert quick_setup',
      'Insert < insert quick_setup',
      'Query < count quick_setup',
      'DescribeCollection < get quick_setup',
      'DescribeCollection < get quick_setup',
      'Query < get quick_setup',
      'DescribeCollection < getPkField quick_setup',
    ]);
  });

  test('every attempt of a call that is repeated carries the same one traceparent', async (t) => {
    const { address, calls, stop } = await startFailingMilvus();
    t.after(stop);
    const { service } = await runs.run({
      file: 'test/fixtures/unreliable.mjs',
      env: { MILVUS_ADDRESS: address },
    });

    // connect · hasCollection (fails, its RPC sent at least twice)
    const spans = await runs.spans(service, 2);
    assert.deepEqual(outline(spans), ['connect default', 'hasCollection quick_setup']);
    assert.equal(spans[1]?.status.code, 'ERROR');
    const attempts = calls().filter(({ method }) => method === 'DescribeCollection');
    assert.ok(attempts.length >= 2, `${attempts.length} attempts`);
    for (const attempt of attempts) assert.equal(spanOnWire(attempt, spans), spans[1]);
    assert.equal(spans[1]?.attributes['milvus.request.retries'], attempts.length - 1);
  });
});

describe('the context of a call', { concurrency: 2 }, () => {
  test('is that of its caller, wherever the client was made', async (t) => {
    const milvus = await startStubMilvus({ record: true });
    t.after(() => milvus.stop());
    const { service, stderr } = await runs.run({
      file: 'test/fixtures/root-spans.mjs',
      env: { MILVUS_ADDRESS: milvus.address },
    });
    assert.equal(stderr, '');

    // start ├─ connect
    //       └─ hasCollection        request n ├─ search        query
    //                                         └─ render n
    const spans = await runs.spans(service, 64);
    const requests = Array.from({ length: 20 }, (_, index) => index);
    assert.deepEqual(outline(spans), [
      'start',
      '  connect default',
      '  hasCollection quick_setup',
      ...requests.flatMap((index) => [`request ${index}`, '  search quick_setup', `  render ${index}`]),
      'query quick_setup',
    ]);
    callsBySpan(milvus.calls(), spans);
    assertHeartbeatsWithoutTrace(milvus.calls(), 2);
  });

  test('is the web request that makes the call; heartbeats of a client made in one are in none', async (t) => {
    const milvus = await startStubMilvus({ record: true });
    t.after(() => milvus.stop());
    const { service, stdout, stderr } = await runs.run({
      file: 'test/fixtures/web-app.mjs',
      env: { MILVUS_ADDRESS: milvus.address },
    });
    assert.deepEqual({ stdout, stderr }, { stdout: '5\n5\n', stderr: '' });

    // GET (fetch) └─ GET (server) ├─ connect        GET (fetch) └─ GET (server) └─ search
    //                             └─ search
    const spans = await runs.spans(service, 7);
    assert.deepEqual(outline(spans), [
      'GET',
      '  GET',
      '    connect default',
      '    search quick_setup',
      'GET',
      '  GET',
      '    search quick_setup',
    ]);
    callsBySpan(milvus.calls(), spans);
    assertHeartbeatsWithoutTrace(milvus.calls(), 2);
  });
});

/**
 * A Milvus that accepts connections and answers DescribeCollection with gRPC's INTERNAL, which the SDK tries
 * again.
 */
async function startFailingMilvus() {
  const calls: StubCall[] = [];
  const { service } = getGRPCService(
    { serviceName: 'milvus.proto.milvus.MilvusService' },
    { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
  );
  const server = new Server();
  const implementation: UntypedServiceImplementation = {
    Connect: (_call: unknown, respond: (error: null, answer: object) => void) =>
      respond(null, { status: { error_code: 'Success', code: 0 }, identifier: '1' }),
    DescribeCollection: (
      { metadata }: { metadata: { get(name: string): unknown[] } },
      respond: (error: object) => void,
    ) => {
      calls.push({
        method: 'DescribeCollection',
        metadata: { traceparent: metadata.get('traceparent').map(String) },
      });
      respond({ code: status.INTERNAL, details: 'try again' });
    },
  };
  server.addService(service, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { address: `127.0.0.1:${port}`, calls: () => calls, stop: () => server.forceShutdown() };
}
