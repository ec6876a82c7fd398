/**
 * Finished products that keep their data in Milvus: exit code and output are the same, and no user data is in
 * spans.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { AppName } from '../../tools/docs/tried-apps.ts';
import { npm } from '../../tools/processes/npm.ts';
import { packInto } from '../../tools/processes/published.ts';
import { startFixture } from '../../tools/processes/run-fixture.ts';
import { type EmbeddingsServer, startEmbeddings } from '../support/embeddings-server.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { assertSameRun, assertSeen, installTried } from '../support/tried-app.ts';
import { createDocs } from './docs-collection.ts';

const fixtures = path.join(import.meta.dirname, '../fixtures/libraries');

let stack: Stack;
before(async () => {
  stack = await useStack();
});

/**
 * Installs the app, copies the programs to where they find it, and installs the packed preload with them:
 * outside of node_modules, it would add a warning of Node to mem0's stderr (docs/frameworks.md, limits).
 */
async function place(app: AppName, others: Record<string, string>): Promise<string> {
  const programs = await mkdtemp(path.join(await installTried([app], others), 'program-'));
  await cp(fixtures, programs, { recursive: true });
  const { tarball } = await packInto(programs);
  await npm(['install', '--prefer-offline', '--no-audit', '--no-fund', '--prefix', programs, tarball]);
  return programs;
}

const preload = (programs: string): string[] => [
  '--import',
  pathToFileURL(path.join(programs, 'node_modules/milvus-otel/dist/register.cjs')).href,
];

async function assertAbsent(service: string, ...texts: string[]): Promise<void> {
  const spans = JSON.stringify(await stack.receiver.spans({ service }));
  for (const text of texts) assert.ok(!spans.includes(text), `${text} is in a span`);
}

describe('mem0', () => {
  const database = 'frameworks_mem0';
  const collection = 'memories';
  let programs: string;
  let embeddings: EmbeddingsServer;
  let removeDocs: () => Promise<void>;
  before(async () => {
    [programs, embeddings, removeDocs] = await Promise.all([
      place('mem0', { '@zilliz/milvus2-sdk-node': '3.0.6', 'better-sqlite3': '12' }),
      startEmbeddings(8),
      createDocs(stack.milvusAddress, database),
    ]);
  });
  after(async () => {
    await embeddings.close();
    await removeDocs();
    await rm(programs, { recursive: true, force: true });
  });

  test('a memory is stored, found and deleted in traced calls', async () => {
    const service = 'ai-apps-mem0';
    const run = (nodeArgs: string[]) =>
      startFixture({
        file: path.join(programs, 'mem0.cjs'),
        nodeArgs,
        env: {
          MILVUS_ADDRESS: stack.milvusAddress,
          MILVUS_DATABASE: database,
          COLLECTION: collection,
          OPENAI_BASE_URL: embeddings.url,
          // It creates a folder there.
          HOME: programs,
          MEM0_TELEMETRY: 'false',
          OTEL_SERVICE_NAME: service,
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
        },
      }).ended;
    const bare = await run([]);
    const traced = await run(preload(programs));
    assert.deepEqual(JSON.parse(traced.stdout), ['Ada likes green tea']);
    assertSameRun(traced, bare);
    // search memories └─ standalone
    const search = await assertSeen(stack, 'mem0', service, collection);
    assert.equal(search.attributes['db.collection.name'], collection);
    await assertAbsent(service, 'green tea', 'ada-4711');
  });
});

describe('claude-context', () => {
  const app = 'claude-context';
  let programs: string;
  let code: string;
  before(async () => {
    programs = await place(app, { '@modelcontextprotocol/sdk': '1', '@langchain/core': '0.3' });
    code = path.join(programs, 'code');
    await mkdir(code);
    await writeFile(path.join(code, 'sum.js'), 'function sumOfSecrets(a, b) { return a + b; }\n');
  });
  after(() => rm(programs, { recursive: true, force: true }));

  /** Indexes the code, and searches it when `query` is given. */
  async function run(service: string, { dimension, query }: { dimension: number; query?: string }) {
    const embeddings = await startEmbeddings(dimension);
    const call = (flags: string[]) =>
      startFixture({
        file: path.join(programs, 'claude-context-client.mjs'),
        args: flags,
        env: {
          // Where it keeps the list of what it has indexed.
          HOME: programs,
          CODE: code,
          ...(query === undefined ? {} : { QUERY: query }),
          MILVUS_ADDRESS: stack.milvusAddress,
          // Milvus 2.3 has no full-text search.
          HYBRID_MODE: 'false',
          OPENAI_API_KEY: 'none',
          OPENAI_BASE_URL: embeddings.url,
          OTEL_SERVICE_NAME: service,
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
        },
      }).ended;
    try {
      const bare = await call([]);
      const traced = await call(preload(programs));
      assertSameRun(traced, bare);
      return traced.stdout;
    } finally {
      await embeddings.close();
    }
  }

  test('code is indexed and found in traced calls', async () => {
    const service = 'ai-apps-claude-context';
    const query = 'function sumOfSecrets';
    assert.equal(await run(service, { dimension: 1536, query }), 'is fully indexed\nfunction sumOfSecrets\n');
    // search code_chunks_1a2b3c4d └─ standalone
    const hash = createHash('md5').update(code).digest('hex').slice(0, 8);
    await assertSeen(stack, app, service, `code_chunks_${hash}`);
    await assertAbsent(service, 'sumOfSecrets');
  });

  test('rows that Milvus rejects, which it reports as indexed, are an error in the trace', async () => {
    const service = 'ai-apps-claude-context-rejected';
    assert.equal(await run(service, { dimension: 8 }), 'is fully indexed\n');
    const spans = await stack.receiver.waitForSpans(
      (received) => received.some(({ name }) => name.startsWith('insert ')),
      20_000,
      { service },
    );
    const insert = spans.find(({ name }) => name.startsWith('insert '));
    assert.deepEqual(insert?.status, {
      code: 'ERROR',
      message: 'the length(8) of float data should divide the dim(1536)',
    });
  });
});
