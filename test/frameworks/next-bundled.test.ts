/** Next.js apps by default, with the Milvus SDK in the bundle: the same trace, made from the gRPC calls. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { createDocs } from './docs-collection.ts';
import { builtNextApp, type NextOptions, nextApp, type ServeOptions, visitNext } from './next-app.ts';

const arrivalTimeoutMs = 20_000;
const database = 'frameworks_next_bundled';

let stack: Stack;
let removeDocs: () => Promise<void>;

const APPS: [NextOptions, ServeOptions['by']][] = [
  [{ next: '16', bundler: 'turbopack', sdk: 'bundled' }, 'start'],
  [{ next: '16', bundler: 'turbopack', sdk: 'bundled', name: 'dev' }, 'dev'],
  [{ next: '16', bundler: 'webpack', sdk: 'bundled' }, 'start'],
  [{ next: '15', bundler: 'webpack', sdk: 'bundled', output: 'standalone' }, 'standalone'],
];

const LINE =
  /^milvus-otel: Milvus is bundled into .*: each of its gRPC calls gets a span.* To trace the SDK itself: serverExternalPackages: \['@zilliz\/milvus2-sdk-node', '@grpc\/grpc-js'\] in next\.config\.$/gm;

describe('Next.js with the SDK in the bundle', () => {
  before(async () => {
    stack = await useStack();
    removeDocs = await createDocs(stack.milvusAddress, database);
  });
  after(() => removeDocs());

  for (const [options, by] of APPS) {
    test(`${options.next} by ${options.bundler}, next ${by}: a request that searches is one trace`, async () => {
      const app = await (by === 'dev' ? nextApp(options) : builtNextApp(options));
      const paths = ['/api/search/a', '/api/search/b'];
      const { service, answers, stderr } = await visitNext(app, { by, stack, database, paths });
      assert.deepEqual(
        answers.map(({ status, body }) => [status, JSON.parse(body).results.length]),
        paths.map(() => [200, 3]),
      );
      assert.equal(stderr.match(LINE)?.length, 1, stderr);

      const isSearch = (span: ReceivedSpan) => span.service === service && span.name === 'search docs';
      const serverOf = (search: ReceivedSpan, spans: ReceivedSpan[]) =>
        spans.find(({ parentSpanId, service: of }) => parentSpanId === search.spanId && of === 'standalone');
      const spans = await stack.receiver.waitForSpans(
        (received) =>
          received.filter((span) => isSearch(span) && serverOf(span, received) !== undefined).length ===
          paths.length,
        arrivalTimeoutMs,
        { service },
      );
      // GET └─ GET /api/search/[id] └─ executing api route (app) /api/search/[id] └─ search docs └─
      // standalone
      const searches = spans.filter(isSearch);
      for (const search of searches) {
        const parent = spans.find(({ spanId }) => spanId === search.parentSpanId);
        assert.match(parent?.name ?? 'none', /^executing api route \(app\) \/api\/search/);
        const { 'server.address': _, 'server.port': __, ...attributes } = search.attributes;
        assert.deepEqual(attributes, {
          'db.system.name': 'milvus',
          'db.operation.name': 'search',
          'db.collection.name': 'docs',
          'db.namespace': database,
          'milvus.consistency_level': attributes['milvus.consistency_level'],
          'milvus.anns_field': attributes['milvus.anns_field'],
          'milvus.search.nq': 1,
          'milvus.search.limit': 3,
          'db.response.returned_rows': 3,
        });
      }
      assert.equal(new Set(searches.map(({ traceId }) => traceId)).size, paths.length);
      // Internal calls of the SDK start no trace.
      const roots = spans.filter((span) => span.service === service && span.parentSpanId === undefined);
      assert.deepEqual(
        roots.filter(({ attributes }) => attributes['db.system.name'] === 'milvus'),
        [],
      );
    });
  }
});
