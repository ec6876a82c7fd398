/** Next.js apps of the template, with the Milvus SDK outside the bundle: a request that searches is one trace. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { createDocs } from './docs-collection.ts';
import { builtNextApp, type NextOptions, nextApp, type ServeOptions, visitNext } from './next-app.ts';

const arrivalTimeoutMs = 20_000;
const database = 'frameworks_next';

let stack: Stack;
let removeDocs: () => Promise<void>;

/** The span of `service` that has this name and a span of Milvus' server below it, and the spans above it up to the root. */
async function pathToRoot(service: string, name: string): Promise<ReceivedSpan[]> {
  const isSearch = (span: ReceivedSpan) => span.service === service && span.name === name;
  const isJoined = (span: ReceivedSpan, spans: ReceivedSpan[]) =>
    spans.some(({ parentSpanId, service: of }) => parentSpanId === span.spanId && of === 'standalone');
  const spans = await stack.receiver.waitForSpans(
    (received) => received.some((span) => isSearch(span) && isJoined(span, received)),
    arrivalTimeoutMs,
    { service },
  );
  const way: ReceivedSpan[] = [];
  let span = spans.find((candidate) => isSearch(candidate) && isJoined(candidate, spans));
  while (span !== undefined) {
    way.push(span);
    const { parentSpanId } = span;
    span = spans.find(({ spanId }) => spanId === parentSpanId);
  }
  return way;
}

const APPS: [NextOptions, ServeOptions['by']][] = [
  [{ next: '16', bundler: 'turbopack', sdk: 'external' }, 'start'],
  [{ next: '16', bundler: 'webpack', sdk: 'external' }, 'start'],
  [{ next: '15', bundler: 'turbopack', sdk: 'external' }, 'start'],
  [{ next: '15', bundler: 'webpack', sdk: 'external' }, 'start'],
  [{ next: '16', bundler: 'turbopack', sdk: 'external' }, 'dev'],
  [{ next: '15', bundler: 'webpack', sdk: 'external' }, 'dev'],
  [{ next: '16', bundler: 'turbopack', sdk: 'external', output: 'standalone' }, 'standalone'],
  [{ next: '15', bundler: 'webpack', sdk: 'external', output: 'standalone' }, 'standalone'],
];

describe('Next.js', () => {
  // In here, so that the collection goes before the stack does.
  before(async () => {
    stack = await useStack();
    removeDocs = await createDocs(stack.milvusAddress, database);
  });
  after(() => removeDocs());

  for (const [options, by] of APPS) {
    const started = by === 'standalone' ? 'its standalone server' : `next ${by}`;
    test(`${options.next} by ${options.bundler}, ${started}: a request that searches is one trace`, async () => {
      const app = await (by === 'dev' ? nextApp({ ...options, name: 'dev' }) : builtNextApp(options));
      const { service, answers } = await visitNext(app, { by, stack, database, paths: ['/api/search/a'] });
      const { id, results } = JSON.parse(answers[0]?.body as string);
      assert.deepEqual([id, results.length], ['a', 3]);
      // GET └─ GET /api/search/[id] └─ executing api route (app) /api/search/[id] └─ search docs └─ standalone
      const way = await pathToRoot(service, 'search docs');
      const [route, handler] = options.next === '15' ? ['a', '[id]/route'] : ['[id]', '[id]'];
      assert.deepEqual(
        way.map(({ name }) => name),
        [
          'search docs',
          `executing api route (app) /api/search/${handler}`,
          `GET /api/search/${route}`,
          'GET',
        ],
      );
      assert.equal(way[0]?.attributes['db.response.returned_rows'], 3);
      assert.deepEqual([...new Set(way.map((span) => span.service))], [service]);
    });
  }
});
