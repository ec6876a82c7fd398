/** A request that searches Milvus is one trace, whatever framework serves it. On the real Milvus. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ConsistencyLevelEnum, MilvusClient } from '@zilliz/milvus2-sdk-node';
import type { AppName } from '../../tools/docs/tried-apps.ts';
import { type RunningFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { outline } from '../preload/runs.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { assertSeen, installTried } from '../support/tried-app.ts';

const arrivalTimeoutMs = 20_000;
/** A separate database, so that the name of the collection is free. */
const database = 'apps_frameworks';
const collection_name = 'docs';
const text = 'A span has a name, a start and a duration';

/** Program → its row in the table of tried apps, where its packages are. */
const apps: Record<string, AppName> = {
  'http.mjs': '`node:http`',
  'express.mjs': 'Express 5',
  'express.cjs': 'Express 5',
  'koa.mjs': 'Koa',
  'fastify.mjs': 'Fastify',
  'fastify.cjs': 'Fastify',
  'fastify-otel.mjs': 'Fastify with its plugin',
  'nestjs.cjs': 'NestJS',
};

/** Peer dependencies of the packages. */
const others = {
  '@nestjs/common': '11',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  'reflect-metadata': '0.2',
  rxjs: '7',
};

let stack: Stack;
let programs: string;

async function prepareCollection(address: string): Promise<void> {
  const first = new MilvusClient({ address });
  await first.createDatabase({ db_name: database });
  await first.closeConnection();
  const milvus = new MilvusClient({ address, database });
  await milvus.createCollection({
    collection_name,
    dimension: 4,
    metric_type: 'COSINE',
    enable_dynamic_field: true,
  });
  await milvus.insert({ collection_name, data: [{ id: 1, vector: [1, 0, 0, 0], text }] });
  // The rows are visible after a strong search.
  await milvus.search({
    collection_name,
    data: [1, 0, 0, 0],
    consistency_level: ConsistencyLevelEnum.Strong,
  });
  await milvus.closeConnection();
}

const start = (program: string, service: string, env: Record<string, string> = {}): RunningFixture =>
  startFixture({
    file: path.join(programs, program),
    preload: true,
    env: {
      MILVUS_ADDRESS: stack.milvusAddress,
      MILVUS_DATABASE: database,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
      ...env,
    },
  });

/** Resolves to the service's URL. */
async function urlOf(service: RunningFixture): Promise<string> {
  const [, port] = await service.waitForStdout(/port (\d+)/);
  return `http://127.0.0.1:${port}/ask`;
}

/** Stops a service as a container does; all of its spans are sent before its exit. */
async function stop(service: RunningFixture): Promise<void> {
  service.kill('SIGTERM');
  const { stderr, signal, code } = await service.ended;
  assert.deepEqual({ stderr, signal, code }, { stderr: '', signal: 'SIGTERM', code: null });
}

/** The trace of which `service` has the search, with the first of the server's spans below it. */
async function traceOfSearch(service: string): Promise<{ spans: ReceivedSpan[]; search: ReceivedSpan }> {
  const isSearch = (span: ReceivedSpan) => span.service === service && span.name === 'search docs';
  const received = await stack.receiver.waitForSpans(
    (spans) => {
      const search = spans.find(isSearch);
      return spans.some(
        ({ parentSpanId, name }) => parentSpanId === search?.spanId && name.endsWith('/Search'),
      );
    },
    arrivalTimeoutMs,
    { service },
  );
  const search = received.find(isSearch);
  assert.ok(search !== undefined);
  return { spans: received.filter(({ traceId }) => traceId === search.traceId), search };
}

/** The trace as lines, of the server's spans only those directly below a call. */
function lines(spans: ReceivedSpan[]): string[] {
  // Milvus' core has another service name, and its spans may be missing.
  const isApps = ({ service }: ReceivedSpan) => service.startsWith('apps-');
  const own = new Set(spans.filter(isApps).map(({ spanId }) => spanId));
  const shown = spans.filter((span) => isApps(span) || own.has(span.parentSpanId ?? ''));
  const names = shown.map((span) =>
    span.service === 'standalone' ? { ...span, name: `standalone: ${span.name.split('.').at(-1)}` } : span,
  );
  // A collection is described once per client, before a search or not: that is up to the SDK.
  return outline(names).filter((line) => !line.endsWith('MilvusService/DescribeCollection'));
}

const search = (indent: string): string[] => [
  `${indent}search docs`,
  `${indent}  standalone: MilvusService/Search`,
];

const express = ['GET /ask', '  request handler - /ask'];

/** Program → the trace of one request to it. */
const traces: Record<string, string[]> = {
  // GET └─ search docs └─ standalone
  'http.mjs': ['GET', ...search('  ')],
  // GET /ask └─ … └─ request handler - /ask └─ search docs └─ standalone
  'express.mjs': [...express, ...search('    ')],
  'express.cjs': [...express, ...search('    ')],
  // GET /ask └─ router - /ask └─ search docs └─ standalone
  'koa.mjs': ['GET /ask', '  router - /ask', ...search('    ')],
  // GET └─ search docs └─ standalone
  'fastify.mjs': ['GET', ...search('  ')],
  'fastify.cjs': ['GET', ...search('  ')],
  // GET /ask └─ request └─ handler └─ search docs └─ standalone
  'fastify-otel.mjs': [
    'GET /ask',
    '  request',
    '    handler - fastify -> @fastify/otel',
    ...search('      '),
  ],
  // GET /ask ├─ … └─ … └─ AppController.ask └─ ask └─ search docs └─ standalone
  'nestjs.cjs': [
    'GET /ask',
    '  middleware - <anonymous>',
    '  middleware - jsonParser',
    '  middleware - urlencodedParser',
    '  request handler - /ask',
    '    AppController.ask',
    '      ask',
    ...search('        '),
  ],
};

describe('one trace', { concurrency: 2 }, () => {
  // Here, to remove the collection before the stack stops.
  before(async () => {
    let folder: string;
    [stack, folder] = await Promise.all([useStack(), installTried(Object.values(apps), others)]);
    programs = await mkdtemp(path.join(folder, 'program-'));
    await cp(path.join(import.meta.dirname, '../fixtures/apps/frameworks'), programs, { recursive: true });
    await prepareCollection(stack.milvusAddress);
  });

  after(async () => {
    await rm(programs, { recursive: true, force: true });
    const milvus = new MilvusClient({ address: stack.milvusAddress, database });
    await milvus.dropCollection({ collection_name });
    await milvus.dropDatabase({ db_name: database });
    await milvus.closeConnection();
  });

  for (const [program, expected] of Object.entries(traces)) {
    test(`is a request to ${program} that searches Milvus`, async () => {
      const service = `apps-${program.replace('.', '-')}`;
      const running = start(program, service);
      const response = await fetch(await urlOf(running));
      assert.deepEqual(await response.json(), { found: [text] });
      await stop(running);

      const { spans, search } = await traceOfSearch(service);
      assert.deepEqual(lines(spans), expected);
      await assertSeen(stack, apps[program] as AppName, service);
      const [request] = spans.filter(({ kind, service: of }) => kind === 'SERVER' && of === service);
      assert.equal(request?.parentSpanId, undefined);
      assert.equal(search.attributes['db.response.returned_rows'], 1);
    });
  }

  test('are three services and Milvus', async () => {
    const [client, gateway, service] = [
      'apps-three-client',
      'apps-three-gateway',
      'apps-three-search',
    ] as const;
    const searching = start('express.mjs', service);
    const handing = start('gateway.mjs', gateway, { SEARCH_URL: await urlOf(searching) });
    const asking = start('client.mjs', client, { GATEWAY_URL: await urlOf(handing) });
    const { stdout, stderr, code } = await asking.ended;
    assert.deepEqual([JSON.parse(stdout), stderr, code], [{ found: [text] }, '', 0]);
    await Promise.all([stop(handing), stop(searching)]);

    // client: GET └─ gateway: GET └─ gateway: GET └─ search: GET /ask └─ … └─ search docs └─ standalone
    const { spans } = await traceOfSearch(service);
    const indented = (by: string, lines: string[]) => lines.map((line) => by + line);
    assert.deepEqual(lines(spans), [
      'GET',
      '  GET',
      '    GET',
      ...indented('      ', [...express, ...search('    ')]),
    ]);
    const services = (kind: string) =>
      spans.filter((span) => span.kind === kind && span.name.startsWith('GET')).map((span) => span.service);
    assert.deepEqual(services('CLIENT').sort(), [client, gateway]);
    assert.deepEqual(services('SERVER').sort(), [gateway, service]);
  });
});
