/** Iterators of the SDK: each page has a span, under the active span of its reader. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { startScriptedMilvus } from '../differential/scripted-milvus.ts';
import { outline } from '../preload/runs.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { joinedSpans, runApp } from '../support/traced-app.ts';

let stack: Stack;
before(async () => {
  stack = await useStack();
});

test('an iterator has one span for its opening and one for each page, under the span that is active there', async () => {
  const service = 'ecosystem-iterators';
  const collection = 'ecosystem_iterators';
  const { stdout, stderr, code } = await runApp({
    program: 'iterators.mjs',
    stack,
    service,
    env: { COLLECTION: collection },
  });
  assert.deepEqual({ stdout, code }, { stdout: '4\n4\n2\n', code: 0 });
  // The SDK prints this for a Milvus that is older than its search iterators.
  assert.match(stderr, /^Error during search iteration: TypeError/);

  // open query └─ queryIterator   read query ├─ query   open search └─ searchIterator   read search └─ search
  //                                          ├─ query
  //                                          └─ query
  const joined = await joinedSpans(stack, service, 16);
  assert.deepEqual(outline(joined.map(({ span }) => span)), [
    'connect default',
    ...['createCollection', 'createIndex', 'loadCollection', 'insert'].map((name) => `${name} ${collection}`),
    'open query',
    `  queryIterator ${collection}`,
    'read query',
    ...[1, 2, 3].map(() => `  query ${collection}`),
    'open search',
    `  searchIterator ${collection}`,
    'read search',
    `  search ${collection}`,
    `dropCollection ${collection}`,
  ]);
  const rpcsOf = (operation: string) =>
    joined.filter(({ span }) => span.name.startsWith(`${operation} `)).map(({ rpcs }) => rpcs);
  // Opening describes the collection and counts its rows.
  assert.deepEqual(rpcsOf('queryIterator'), [['DescribeCollection', 'Query']]);
  assert.deepEqual(rpcsOf('query'), [['Query'], ['Query'], ['Query']]);
  assert.deepEqual(rpcsOf('searchIterator'), [['DescribeCollection', 'Query']]);
  assert.deepEqual(rpcsOf('search'), [['Search']]);
  const pages = joined.filter(({ span }) => span.name.startsWith('query '));
  assert.deepEqual(
    pages.map(({ span: { attributes } }) => [
      attributes['milvus.query.limit'],
      attributes['db.response.returned_rows'],
    ]),
    [
      [4, 4],
      [4, 4],
      [2, 2],
    ],
  );
  for (const { span } of joined)
    assert.equal(span.status.code, 'UNSET', `${span.name}: ${span.status.message}`);
});

test('a search iterator on a server that has them has a span for each page', async (t) => {
  const milvus = await startScriptedMilvus();
  t.after(() => milvus.stop());
  const service = 'ecosystem-search-iterator';
  const { stdout, stderr } = await runApp({
    program: 'search-iterator.mjs',
    stack,
    service,
    env: { MILVUS_ADDRESS: milvus.addresses.success },
  });
  // Five hits are counted; the third page ends it.
  assert.deepEqual({ stdout, stderr }, { stdout: '2\n2\n', stderr: '' });

  // connect default     searchIterator books     read ├─ search books
  //                                                   ├─ search books
  //                                                   └─ search books
  const joined = await joinedSpans(stack, service, 6, () => true);
  assert.deepEqual(outline(joined.map(({ span }) => span)), [
    'connect default',
    'searchIterator books',
    'read',
    '  search books',
    '  search books',
    '  search books',
  ]);
});
