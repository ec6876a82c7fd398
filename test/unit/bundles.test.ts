/** How calls of a bundled Milvus SDK are recognised, on connections that exist for the test alone. */
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import path from 'node:path';
import { beforeEach, describe, mock, test } from 'node:test';
import { compileFunction } from 'node:vm';
import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { suppressTracing } from '@opentelemetry/core';
import { BundledApps, OPENING } from '../../src/instrumentations/bundles.ts';

// The bundle recognises its own files by their folder.
const ownFile = path.join(import.meta.dirname, '../../src/instrumentations/preload.cjs');
Object.assign(globalThis, { __filename: ownFile });

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const SEARCH = { ':path': '/milvus.proto.milvus.MilvusService/Search' };
const APP = 'file:///app/dist/server.mjs';

/** Headers that reach the connection. */
let requested: object[] = [];
let opening: unknown;
let warnings: string[] = [];
let loaded = 0;
/** What BundledCalls would do with a call. */
let startCall: (...args: any[]) => unknown;

/** Watches a fresh node:http2, whose connections send nothing. */
function watch(): BundledApps {
  mock.restoreAll();
  mock.method(http2, 'connect', () => {
    opening = context.active().getValue(OPENING);
    return {
      request: (headers: object) => {
        requested.push(headers);
        return 'a stream';
      },
    };
  });
  return new BundledApps(
    (line) => warnings.push(line),
    () => {
      loaded++;
      return { start: (...args: unknown[]) => startCall(...args) } as never;
    },
  );
}

const newSession = () => http2.connect('http://127.0.0.1:19530');

beforeEach(() => {
  [requested, warnings, loaded, opening] = [[], [], 0, undefined];
  startCall = (headers) => ({
    send: (request: (sent: object) => unknown) => request({ ...headers, traceparent: 'ours' }),
  });
});

describe('a call of Milvus', () => {
  test('is sent with the headers of its span, and the first one gives a line', () => {
    watch().beforeLoading('http2', APP);
    const session = newSession();
    assert.equal(session.request(SEARCH), 'a stream');
    session.request(SEARCH);
    assert.deepEqual(requested, Array(2).fill({ ...SEARCH, traceparent: 'ours' }));
    assert.equal(loaded, 1);
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0] ?? '',
      /^Milvus is bundled into bundles\.test\.ts: each of its gRPC calls gets a span/,
    );
  });

  test('knows its connection', () => {
    const connections: unknown[] = [];
    startCall = (_headers, connection) => {
      connections.push(connection);
    };
    watch().beforeLoading('http2', APP);
    const session = newSession();
    session.request(SEARCH);
    assert.deepEqual(connections, [opening]);
    assert.equal((opening as { session: unknown }).session, session);
  });

  test('without a span is sent as it is', () => {
    startCall = () => undefined;
    watch().beforeLoading('http2', APP);
    newSession().request(SEARCH);
    assert.deepEqual(requested, [SEARCH]);
  });

  test('is no call of the app while tracing is suppressed', () => {
    watch().beforeLoading('http2', APP);
    const session = newSession();
    context.with(suppressTracing(ROOT_CONTEXT), () => session.request(SEARCH));
    assert.deepEqual([requested, loaded], [[SEARCH], 0]);
  });

  test('is sent, and no later one is traced, when the creation of its span fails', () => {
    let starts = 0;
    startCall = () => {
      starts++;
      throw new Error('broken');
    };
    watch().beforeLoading('http2', APP);
    const session = newSession();
    session.request(SEARCH);
    session.request(SEARCH);
    assert.deepEqual([requested, starts], [[SEARCH, SEARCH], 1]);
  });
});

test('other requests are sent as they are, and nothing is loaded for them', () => {
  watch().beforeLoading('http2', APP);
  const session = newSession();
  const others = [
    { ':path': '/grpc.health.v1.Health/Check' },
    { ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export' },
    {},
    { ':path': 5 as never },
  ];
  for (const headers of others) session.request(headers);
  session.request();
  assert.deepEqual(requested, [...others, undefined]);
  assert.deepEqual([loaded, warnings], [0, []]);
});

test('connections are watched from the first load of http2 on, by a file other than the preload', () => {
  const apps = watch();
  const unwatched = http2.connect;
  apps.beforeLoading('@grpc/grpc-js', APP);
  apps.beforeLoading('http2', undefined);
  const watched = http2.connect;
  assert.notEqual(watched, unwatched);
  apps.beforeLoading('http2', APP);
  assert.equal(http2.connect, watched, 'once');
  assert.deepEqual(
    Reflect.ownKeys(watched),
    Reflect.ownKeys(unwatched),
    'util.promisify needs its properties',
  );
});

test("the preload's own connections are not watched", () => {
  const apps = watch();
  const unwatched = http2.connect;
  apps.beforeLoading('http2', path.join(path.dirname(ownFile), 'grpc-js.cjs'));
  assert.equal(http2.connect, unwatched);
});

describe('a call over an installed gRPC', () => {
  /** As if node_modules/@grpc/grpc-js had opened it. */
  const sessionOfGrpc = () => {
    const open = compileFunction(`return http2.connect('http://127.0.0.1')`, ['http2'], {
      filename: '/app/node_modules/@grpc/grpc-js/build/src/transport.js',
    });
    return open(http2) as ReturnType<typeof newSession>;
  };
  const ids = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 };
  const span = trace.wrapSpanContext(ids);
  const TRACED = { ...SEARCH, traceparent: `00-${ids.traceId}-${ids.spanId}-01` };

  test('belongs to the app that loads it, which the line names', () => {
    const apps = watch();
    apps.beforeLoading('@grpc/grpc-js', '/app/node_modules/other/index.js');
    apps.beforeLoading('@grpc/grpc-js', APP);
    apps.beforeLoading('http2', '/app/node_modules/@grpc/grpc-js/build/src/transport.js');
    sessionOfGrpc().request(SEARCH);
    assert.match(warnings[0] ?? '', /^Milvus is bundled into server\.mjs:/);
  });

  test('logs no line when only packages load it, since an installed SDK has its own line', () => {
    watch().beforeLoading('http2', '/app/node_modules/@grpc/grpc-js/build/src/transport.js');
    sessionOfGrpc().request(SEARCH);
    assert.deepEqual([warnings, loaded], [[], 1]);
  });

  test("gets the span of gRPC's instrumentation, where that one is active", () => {
    const spans: unknown[] = [];
    startCall = (_headers, _connection, ofGrpc) => {
      spans.push(ofGrpc);
    };
    watch().beforeLoading('http2', APP);
    const session = sessionOfGrpc();
    context.with(trace.setSpan(ROOT_CONTEXT, span), () => session.request(TRACED));
    assert.deepEqual(spans, [span]);
  });

  test('is not traced when another span is in its headers: that of a patched SDK', () => {
    watch().beforeLoading('http2', APP);
    const session = sessionOfGrpc();
    session.request(TRACED);
    const other = trace.wrapSpanContext({ ...ids, spanId: '1112131415161718' });
    context.with(trace.setSpan(ROOT_CONTEXT, other), () => session.request(TRACED));
    assert.deepEqual([requested, loaded], [[TRACED, TRACED], 0]);
  });
});
