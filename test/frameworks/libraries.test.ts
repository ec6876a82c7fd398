/** Servers and agents without a build step: started as documented, with and without the preload. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { AppName } from '../../tools/docs/tried-apps.ts';
import { type FixtureOptions, type FixtureResult, startFixture } from '../../tools/processes/run-fixture.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { assertSameRun, assertSeen, installTried } from '../support/tried-app.ts';
import { createDocs } from './docs-collection.ts';

const database = 'frameworks_libraries';
const collection = 'frameworks_llamaindex';
const fixtures = path.join(import.meta.dirname, '../fixtures/libraries');
const register = pathToFileURL(path.join(import.meta.dirname, '../../dist/register.cjs')).href;
const SDK = { '@zilliz/milvus2-sdk-node': '3.0.6' };

const LIBRARIES: AppName[] = [
  'Hono',
  'MCP server, SDK 1',
  'MCP server, SDK 2',
  'LlamaIndex',
  'Mastra',
  'Genkit',
];

/** Peer dependencies that the packages do not install themselves. */
const PEERS = { '@llamaindex/core': '0.6.23', '@llamaindex/env': '0.1.31', 'gpt-tokenizer': '2', zod: '4' };

let stack: Stack;
let removeDocs: () => Promise<void>;
let programs: string;
let express4: string;

const serviceOf = (app: AppName): string => `libraries-${app.replace(/\W+/g, '-')}`;

const start = (program: string, app: AppName, options: Partial<FixtureOptions> = {}) =>
  startFixture({
    file: path.resolve(programs, program),
    env: {
      MILVUS_ADDRESS: stack.milvusAddress,
      MILVUS_DATABASE: database,
      COLLECTION: collection,
      OTEL_SERVICE_NAME: serviceOf(app),
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
    },
    ...options,
  });

/** Sends one request, then stops the server like a container. */
async function askServer(program: string, app: AppName, preload: boolean): Promise<FixtureResult> {
  const server = start(program, app, { preload });
  const [, port] = await server.waitForStdout(/port (\d+)/);
  const response = await fetch(`http://127.0.0.1:${port}/ask`);
  const answer = await response.text();
  server.kill('SIGTERM');
  return { ...(await server.ended), stdout: answer };
}

describe('a search is traced, and nothing else differs, of', () => {
  before(async () => {
    let folder: string;
    let folder4: string;
    [stack, folder, folder4] = await Promise.all([
      useStack(),
      installTried(LIBRARIES, { ...SDK, ...PEERS }),
      installTried(['Express 4'], SDK),
    ]);
    programs = await mkdtemp(path.join(folder, 'program-'));
    express4 = await mkdtemp(path.join(folder4, 'program-'));
    await Promise.all([programs, express4].map((to) => cp(fixtures, to, { recursive: true })));
    removeDocs = await createDocs(stack.milvusAddress, database);
  });
  after(async () => {
    await removeDocs();
    await Promise.all([programs, express4].map((folder) => rm(folder, { recursive: true, force: true })));
  });

  for (const [app, program] of [
    ['Express 4', 'express.mjs'],
    ['Hono', 'hono.mjs'],
  ] as const) {
    test(app, async () => {
      const file = path.join(app === 'Express 4' ? express4 : programs, program);
      const bare = await askServer(file, app, false);
      const traced = await askServer(file, app, true);
      assert.deepEqual(JSON.parse(traced.stdout), { found: ['text 1', 'text 2'] });
      assertSameRun(traced, bare);
      // Express 4: GET /ask └─ request handler - /ask └─ search docs └─ standalone
      // Hono: GET └─ search docs └─ standalone
      await assertSeen(stack, app, serviceOf(app));
    });
  }

  for (const [app, name] of [
    ['MCP server, SDK 1', 'mcp-1'],
    ['MCP server, SDK 2', 'mcp-2'],
  ] as const) {
    test(`${app}, by a client over stdio`, async () => {
      const command = (flags: string[]) => [
        process.execPath,
        ...flags,
        path.join(programs, `${name}-server.mjs`),
      ];
      const call = (flags: string[]) => start(`${name}-client.mjs`, app, { args: command(flags) }).ended;
      const bare = await call([]);
      const traced = await call(['--import', register]);
      assert.deepEqual(JSON.parse(traced.stdout), ['text 1', 'text 2']);
      assertSameRun(traced, bare);
      // search docs └─ standalone
      await assertSeen(stack, app, serviceOf(app));
    });
  }

  for (const [app, program, found, searched] of [
    ['LlamaIndex', 'llamaindex.mjs', ['a blue sea'], collection],
    ['Mastra', 'mastra.mjs', ['text 1', 'text 2'], 'docs'],
  ] as const) {
    test(app, async () => {
      const bare = await start(program, app).ended;
      const traced = await start(program, app, { preload: true }).ended;
      assert.deepEqual(JSON.parse(traced.stdout), found);
      assertSameRun(traced, bare);
      // search docs └─ standalone
      const search = await assertSeen(stack, app, serviceOf(app), searched);
      assert.equal(search.attributes['db.response.returned_rows'], found.length);
    });
  }

  test('Genkit, but for one line about its SDK', async () => {
    const app = 'Genkit';
    const bare = await start('genkit.mjs', app).ended;
    const traced = await start('genkit.mjs', app, { preload: true }).ended;
    assert.deepEqual(JSON.parse(traced.stdout), ['text 1', 'text 2']);
    assert.match(traced.stderr, /^milvus-otel: Two OpenTelemetry SDKs found: [^\n]*\n$/);
    assertSameRun({ ...traced, stderr: '' }, bare);
    // ask └─ docs └─ search docs └─ standalone
    await assertSeen(stack, app, serviceOf(app));
  });
});
