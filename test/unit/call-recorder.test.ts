/** The events that the doctor's recorder writes in an app. */
import assert from 'node:assert/strict';
import diagnosticsChannel from 'node:diagnostics_channel';
import { readFileSync, truncateSync } from 'node:fs';
import http2 from 'node:http2';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, beforeEach, mock, test } from 'node:test';
import { FILE_VARIABLE } from '../../src/doctor/app-findings.ts';
import { appFolder } from '../support/app-folder.ts';

const folder = appFolder({
  events: '',
  'app.js': '',
  'inner/other.js': '',
  'node_modules/@zilliz/milvus2-sdk-node/index.js': '',
});
const file = path.join(folder, 'events');
const LOADED = Symbol.for('milvus-otel.loaded');
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const requested: unknown[] = [];

const events = () =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { pid, ...event } = JSON.parse(line);
      assert.equal(pid, process.pid);
      return event;
    });

before(async () => {
  mock.method(http2, 'connect', () => ({
    request: (...args: unknown[]) => {
      requested.push(...args);
      return 'a stream';
    },
  }));
  process.env[FILE_VARIABLE] = file;
  await import('../../src/doctor/call-recorder.ts');
});
after(() => {
  delete process.env[FILE_VARIABLE];
  mock.restoreAll();
});
beforeEach((t) => {
  // The first test reads what the start has written.
  if ((t as { name: string }).name !== FIRST) truncateSync(file);
  requested.length = 0;
  Reflect.deleteProperty(globalThis, LOADED);
});

const FIRST = 'the start is recorded with the Node version, before the preload is loaded';
test(FIRST, () => {
  assert.deepEqual(events(), [
    { kind: 'start', node: process.versions.node, supported: true, preloaded: false },
  ]);
});

test('the SDK is recorded once, with whether the preload was loaded by then', () => {
  Object.assign(globalThis, { [LOADED]: () => {} });
  createRequire(path.join(folder, 'app.js'))('./inner/other.js');
  for (const file of ['app.js', 'inner/other.js'])
    createRequire(path.join(folder, file))('@zilliz/milvus2-sdk-node');
  assert.deepEqual(events(), [{ kind: 'sdk', preloaded: true }]);
});

test('a gRPC call of Milvus is recorded with its traceparent, and sent as it is; others are not recorded', () => {
  const session = http2.connect('http://127.0.0.1:19530');
  const SERVICE = '/milvus.proto.milvus.MilvusService';
  const calls = [
    { ':path': `${SERVICE}/Search`, traceparent: TRACEPARENT },
    { ':path': `${SERVICE}/Insert` },
    { ':path': '/grpc.health.v1.Health/Check' },
  ];
  for (const headers of calls) assert.equal(session.request(headers), 'a stream');
  session.request();
  assert.deepEqual(requested, calls);
  assert.deepEqual(events(), [
    { kind: 'call', method: 'Search', traceparent: TRACEPARENT, preloaded: false },
    { kind: 'call', method: 'Insert', traceparent: null, preloaded: false },
  ]);
});

test('a REST call of Milvus is recorded, with headers as undici has them: one text, or a list', () => {
  const channel = diagnosticsChannel.channel('undici:request:create');
  const query = '/v2/vectordb/entities/search';
  channel.publish({ request: { path: query, headers: `a: b\r\ntraceparent: ${TRACEPARENT}\r\n` } });
  channel.publish({ request: { path: query, headers: ['a', 'b', 'traceparent', TRACEPARENT] } });
  channel.publish({ request: { path: query, headers: [] } });
  channel.publish({ request: { path: '/search', headers: [] } });
  channel.publish({});
  const call = { kind: 'call', method: 'REST entities/search', preloaded: false };
  assert.deepEqual(events(), [
    { ...call, traceparent: TRACEPARENT },
    { ...call, traceparent: TRACEPARENT },
    { ...call, traceparent: null },
  ]);
});
