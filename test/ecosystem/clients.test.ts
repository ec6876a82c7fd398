/** Several clients and databases in one process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outline } from '../preload/runs.ts';
import { useStack } from '../support/stack.ts';
import { joinedSpans, runApp } from '../support/traced-app.ts';

test("each client's calls name its own server and database, and are their callers', wherever it was made", async () => {
  const stack = await useStack();
  const service = 'ecosystem-clients';
  const result = await runApp({ program: 'clients.mjs', stack, service });
  assert.deepEqual(result, { stdout: '', stderr: '', code: 0, signal: null });

  // request ├─ connect          hasCollection   other request └─ showCollections   left └─ hasCollection
  //         └─ hasCollection                                                       …
  const collection = 'ecosystem_clients';
  const joined = await joinedSpans(stack, service, 16);
  const spans = joined.map(({ span }) => span);
  const lines = outline(spans);
  assert.deepEqual(lines.slice(0, 8), [
    'connect default',
    'createDatabase ecosystem_other',
    'request',
    '  connect ecosystem_other',
    `  hasCollection ${collection}`,
    `hasCollection ${collection}`,
    'other request',
    '  showCollections ecosystem_other',
  ]);
  // They may start in any order.
  const pairs = [8, 10, 12].map((at) => lines.slice(at, at + 2)).sort();
  const child = `  hasCollection ${collection}`;
  assert.deepEqual(pairs, [
    ['left', child],
    ['middle', child],
    ['right', child],
  ]);
  assert.deepEqual(lines.slice(14), [`hasCollection ${collection}`, 'dropDatabase ecosystem_other']);

  /** The operation inside a span of the app's. */
  const inside = (name: string, operation: string) => {
    const parent = spans.find((span) => span.name === name);
    return spans.find(
      ({ parentSpanId, attributes }) =>
        parentSpanId === parent?.spanId && attributes['db.operation.name'] === operation,
    );
  };
  const place = (span: (typeof spans)[number] | undefined) =>
    ['server.address', 'server.port', 'db.namespace'].map((name) => span?.attributes[name]);
  const [host, port] = stack.milvusAddress.split(':');
  const first = [host, Number(port)];
  const second = ['localhost', Number(port)];
  assert.deepEqual(place(spans[0]), [...first, 'default']);
  assert.deepEqual(place(inside('request', 'connect')), [...second, 'ecosystem_other']);
  assert.deepEqual(place(inside('request', 'hasCollection')), [...second, 'ecosystem_other']);
  assert.deepEqual(place(inside('left', 'hasCollection')), [...first, 'default']);
  assert.deepEqual(place(inside('middle', 'hasCollection')), [...first, 'ecosystem_other']);
  assert.deepEqual(place(inside('right', 'hasCollection')), [...second, 'ecosystem_other']);
  // After useDatabase.
  const last = spans.findLast(({ name }) => name.startsWith('hasCollection'));
  assert.deepEqual(place(last), [...second, 'default']);

  // Each call is answered by one RPC, also those to the other database.
  for (const { span, rpcs } of joined) {
    if (span.scope === 'milvus-otel') assert.equal(rpcs.length, 1, `${span.name}: ${rpcs}`);
  }
});
