/** LangChain's vector store on the real Milvus, in a program without OpenTelemetry code. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useStack } from '../support/stack.ts';
import { joinedSpans, placeProgram, runApp } from '../support/traced-app.ts';
import { assertSeen, installTried } from '../support/tried-app.ts';

// The store calls only RPCs that Milvus has since 2.2, so this SDK's newer RPCs do not matter here.
const others = { '@zilliz/milvus2-sdk-node': '3.0.6' };

test("LangChain's adds, similarity searches and deletes are traced and joined", async () => {
  const [stack, folder] = await Promise.all([useStack(), installTried(['LangChain'], others)]);
  const service = 'ecosystem-langchain';
  const collection = 'ecosystem_langchain';
  const program = await placeProgram('langchain.mjs', folder);
  const result = await runApp({ program, stack, service, env: { COLLECTION: collection } });
  const expectedOutcomes = [['blue', 'green'], ['blue', 'green'], ['blue']];
  assert.deepEqual(
    { ...result, stdout: JSON.parse(result.stdout) },
    { stdout: expectedOutcomes, stderr: '', code: 0, signal: null },
  );

  const exists = ['hasCollection', ['DescribeCollection']];
  const load = ['loadCollection', ['GetLoadingProgress', 'LoadCollection']];
  const search = ['search', ['Search']];
  const expected = [
    ['connect', ['Connect']],
    // addDocuments
    exists,
    ['createCollection', ['CreateCollection']],
    ['createIndex', ['CreateIndex']],
    ['upsert', ['DescribeCollection', 'Upsert']],
    ['flushSync', ['Flush', 'GetFlushState']],
    // similaritySearch, similaritySearchWithScore
    ...[exists, load, search],
    ...[exists, load, search],
    // delete by ids, and by filter
    ...[exists, load, ['delete', ['Delete', 'DescribeCollection']]],
    ...[exists, load, ['deleteEntities', ['Delete']]],
    // similaritySearch
    ...[exists, load, search],
    ['dropCollection', ['DropCollection']],
  ] as [string, string[]][];

  // connect default
  // └─ standalone: MilvusService/Connect
  // …
  // search ecosystem_langchain
  // └─ standalone: MilvusService/Search
  // …
  const joined = await joinedSpans(stack, service, expected.length, ({ rpcs }, index) =>
    (expected[index]?.[1] ?? []).every((rpc) => rpcs.includes(rpc)),
  );
  assert.deepEqual(
    joined.map(({ span, rpcs }) => [span.attributes['db.operation.name'], rpcs]),
    expected,
  );
  for (const { span } of joined) {
    assert.equal(span.status.code, 'UNSET', `${span.name}: ${span.status.message}`);
    assert.equal(span.scope, 'milvus-otel');
    assert.equal(span.attributes['db.system.name'], 'milvus');
    if (span !== joined[0]?.span) assert.equal(span.attributes['db.collection.name'], collection);
  }

  await assertSeen(stack, 'LangChain', service, collection);
  const attributesOf = (operation: string) =>
    joined
      .filter(({ span }) => span.attributes['db.operation.name'] === operation)
      .map(({ span }) =>
        Object.fromEntries(Object.entries(span.attributes).filter(([name]) => /^milvus|returned/.test(name))),
      );
  assert.deepEqual(attributesOf('upsert'), [{ 'milvus.request.rows': 3, 'milvus.response.upsert_count': 3 }]);
  assert.deepEqual(attributesOf('delete'), [{ 'milvus.response.delete_count': 1 }]);
  assert.deepEqual(attributesOf('deleteEntities'), [{ 'milvus.response.delete_count': 1 }]);
  // The store passes limit and field in search_params.
  const searched = (limit: number, rows: number) => ({
    'milvus.anns_field': 'langchain_vector',
    'milvus.search.nq': 1,
    'milvus.search.limit': limit,
    'db.response.returned_rows': rows,
  });
  assert.deepEqual(attributesOf('search'), [searched(2, 2), searched(2, 2), searched(3, 1)]);
});
