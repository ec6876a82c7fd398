/**
 * Next.js apps of the template, with the Milvus SDK outside the bundle: a request that searches is one trace.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { tried } from '../../tools/docs/tried-apps.ts';
import { installInto, packInto } from '../../tools/processes/published.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { wayTo } from '../support/tried-app.ts';
import { createDocs } from './docs-collection.ts';
import {
  builtNextApp,
  type NextOptions,
  nextApp,
  nextBuild,
  SDK,
  type ServeOptions,
  visitNext,
} from './next-app.ts';

/** Whether the functions that instrumentations replace are replaced, and a line of the log. */
const PATCHED = `
import pg from 'pg';
import Redis from 'ioredis';
import pino from 'pino';
import mongoose from 'mongoose';
import OpenAI from 'openai';

export async function GET(request: Request) {
  new URL(request.url);
  let line = '';
  pino({}, { write: (text: string) => { line = text; } }).info('hi');
  return Response.json({
    pg: '__original' in pg.Client.prototype.query,
    ioredis: '__original' in Redis.prototype.sendCommand,
    mongoose: '__original' in mongoose.Model.aggregate,
    openai: '__original' in OpenAI.Chat.Completions.prototype.create,
    line,
  });
}
`;

const OWN_SDKS = {
  '@vercel/otel': {
    packages: {
      '@vercel/otel': '2',
      '@opentelemetry/api-logs': '0.223',
      '@opentelemetry/instrumentation': '0.223',
      '@opentelemetry/resources': '2',
      '@opentelemetry/sdk-logs': '0.223',
      '@opentelemetry/sdk-metrics': '2',
      '@opentelemetry/sdk-trace-base': '2',
    },
    instrumentation: `
import { registerOTel } from '@vercel/otel';

export function register() {
  registerOTel({ serviceName: 'own' });
}
`,
  },
  NodeSDK: {
    packages: { '@opentelemetry/sdk-node': '0' },
    instrumentation: `
export async function register() {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return;
  const { NodeSDK } = await import('@opentelemetry/sdk-node');
  new NodeSDK({ serviceName: 'own' }).start();
}
`,
  },
};

const database = 'frameworks_next';

let stack: Stack;
let removeDocs: () => Promise<void>;

/** The spans from the root to the operation below a span that names the route. */
const wayToRoute = (service: string, route: string): Promise<ReceivedSpan[]> =>
  wayTo(stack, service, 'search docs', (span, spans) =>
    spans.some((above) => above.spanId === span.parentSpanId && above.name.includes(route)),
  );

const EXTERNAL_16 = { next: '16', bundler: 'turbopack', sdk: 'external' } as const;

const APPS: [NextOptions, ServeOptions['by']][] = [
  [EXTERNAL_16, 'start'],
  [{ next: '16', bundler: 'webpack', sdk: 'external' }, 'start'],
  [{ next: '15', bundler: 'turbopack', sdk: 'external' }, 'start'],
  [{ next: '15', bundler: 'webpack', sdk: 'external', output: 'standalone' }, 'standalone'],
  [{ ...EXTERNAL_16, name: 'dev' }, 'dev'],
  [{ next: '15', bundler: 'webpack', sdk: 'external', name: 'dev' }, 'dev'],
];

/** The lines of a server without values that differ at each start, sorted, as their order differs too. */
const lasting = (output: string): string[] =>
  output
    .replace(/\d+(\.\d+)?m?s\b|:\d{4,5}\b/g, '…')
    .split('\n')
    .sort();

/** A page without the random key that Next gives to parts of it at each request. */
const page = ({ status, body }: { status: number; body: string }): string =>
  `${status} ${body.replace(/\b[\w-]{21}(?=[vm]\\")/g, '…')}`;

/** Fails with the first difference only: a page is kilobytes. */
function assertSamePage(path: string, actual: string, expected: string): void {
  if (actual === expected) return;
  const at = [...actual].findIndex((character, index) => character !== expected[index]);
  const around = (text: string) => text.slice(Math.max(0, at - 60), at + 100);
  assert.fail(`${path} is another page:\n${around(actual)}\ninstead of\n${around(expected)}`);
}

/** Ids of the processes that have exported spans of the service. */
async function exportedBy(service: string): Promise<unknown[]> {
  const spans = (await stack.receiver.spans({ service })).filter((span) => span.service === service);
  return [...new Set(spans.map(({ resource }) => resource['process.pid']))];
}

describe('Next.js', () => {
  // Here, to remove the collection before the stack stops.
  before(async () => {
    stack = await useStack();
    removeDocs = await createDocs(stack.milvusAddress, database);
  });
  after(() => removeDocs());

  for (const [options, by] of APPS) {
    const started = by === 'standalone' ? 'its standalone server' : `next ${by}`;
    test(`${options.next} by ${options.bundler}, ${started}: one trace for a search, and no other output`, async () => {
      const app = await (by === 'dev' ? nextApp(options) : builtNextApp(options));
      const visit = { by, stack, database, paths: ['/api/search/a', '/docs', '/docs', '/'] };
      const bare = await visitNext(app, { ...visit, preload: false });
      const traced = await visitNext(app, visit);
      const { id, results } = JSON.parse(traced.answers[0]?.body as string);
      assert.deepEqual([id, results.length], ['a', 3]);
      // GET └─ GET /api/search/[id] └─ executing api route (app) /api/search/[id] └─ search docs └─
      // standalone
      const way = await wayToRoute(traced.service, '/api/search');
      assert.deepEqual(
        way.map(({ name }) => name),
        tried(`Next.js ${options.next}`).seen,
      );
      assert.equal(way.at(-1)?.attributes['db.response.returned_rows'], 3);
      assert.deepEqual([...new Set(way.map((span) => span.service))], [traced.service]);
      assert.equal((await exportedBy(traced.service)).length, 1);
      // In development, pages contain times and stacks.
      assert.deepEqual(lasting(traced.stderr), lasting(bare.stderr));
      if (by === 'dev') return;
      for (const [index, answer] of traced.answers.entries())
        assertSamePage(answer.path, page(answer), page(bare.answers[index] as typeof answer));
      assert.deepEqual(lasting(traced.stdout), lasting(bare.stdout));
    });
  }

  test('a standalone server that was copied without node_modules loads the preload by its absolute path', async () => {
    const app = await builtNextApp({ next: '15', bundler: 'webpack', sdk: 'external', output: 'standalone' });
    const folder = await mkdtemp(path.join(tmpdir(), 'next-standalone-'));
    try {
      const server = path.join(folder, 'server');
      await cp(path.join(app.folder, '.next/standalone'), server, { recursive: true });
      assert.equal(existsSync(path.join(server, 'node_modules/milvus-otel')), false);
      // npm install --prefix tracing milvus-otel
      const tracing = path.join(folder, 'tracing');
      await mkdir(tracing);
      await installInto(tracing, (await packInto(folder)).tarball);
      const preload = path.join(tracing, 'node_modules/milvus-otel/dist/register.cjs');
      const { answers, stderr } = await visitNext(app, {
        by: 'standalone',
        folder: server,
        stack,
        database,
        paths: ['/api/search/a'],
        preload: `--import ${preload}`,
        service: null,
      });
      assert.deepEqual([answers[0]?.status, stderr], [200, '']);
      // The service has the name of the app's package.json, which Next copies.
      const way = await wayToRoute(app.packageName, '/api/search');
      assert.equal(way[0]?.name, 'GET');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('a build is left alone, with all processes that it starts', async () => {
    const app = await nextApp({ ...EXTERNAL_16, name: 'build' });
    const service = `next-build-${process.pid}`;
    const { stdout, stderr } = await nextBuild(app, {
      NODE_OPTIONS: '--import milvus-otel/register',
      OTEL_LOG_LEVEL: 'info',
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
      MILVUS_ADDRESS: stack.milvusAddress,
      MILVUS_DATABASE: database,
    });
    assert.doesNotMatch(stdout + stderr, /milvus-otel:/);
    assert.deepEqual(await exportedBy(service), []);
  });

  test('packages that Turbopack renames are instrumented, and log lines have the trace', async () => {
    const app = await builtNextApp({
      ...EXTERNAL_16,
      name: 'libraries',
      packages: { pg: '8', ioredis: '5', pino: '10', mongoose: '9', openai: '6' },
      files: { 'app/api/patched/route.ts': PATCHED },
      config: {
        serverExternalPackages: [SDK, '@grpc/grpc-js', 'pg', 'ioredis', 'pino', 'mongoose', 'openai'],
      },
    });
    const { answers, stderr } = await visitNext(app, {
      by: 'start',
      stack,
      database,
      paths: ['/api/patched'],
    });
    const { line, ...patched } = JSON.parse(answers[0]?.body as string);
    assert.deepEqual(patched, { pg: true, ioredis: true, mongoose: true, openai: true });
    assert.match(line, /"trace_id":"[0-9a-f]{32}"/);
    assert.equal(stderr, '');
  });

  for (const [kind, { packages, instrumentation }] of Object.entries(OWN_SDKS)) {
    test(`the app's own SDK in instrumentation.ts, ${kind}, is named in one line`, async () => {
      const app = await builtNextApp({
        ...EXTERNAL_16,
        name: kind,
        packages,
        files: { 'instrumentation.ts': instrumentation },
      });
      const { service, stderr } = await visitNext(app, {
        by: 'start',
        stack,
        database,
        paths: ['/api/search/a'],
        env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      });
      assert.match(
        stderr,
        /^milvus-otel: Two OpenTelemetry SDKs found: milvus-otel exports [^\n]*milvus-otel\/instrumentation\.\n$/,
      );
      const way = await wayToRoute(service, '/api/search');
      assert.equal(way[0]?.name, 'GET');
    });
  }
});
