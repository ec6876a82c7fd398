/** Spans of calls to a real Milvus, beside the spans that it made for them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useStack } from '../support/stack.ts';
import { runApp } from '../support/traced-app.ts';

test('a call that a real Milvus refuses has the name of its code, and the database that it went to', async () => {
  const stack = await useStack();
  const service = 'failing-calls';
  const { stdout, stderr } = await runApp({ program: 'failing-calls.mjs', stack, service });
  assert.equal(stderr, '');
  const { db_name, found } = JSON.parse(stdout);
  const spans = await stack.receiver.waitForSpans(
    (received) => received.some((span) => span.service === service && span.name.startsWith('dropCollection')),
    20_000,
  );
  const attributesOf = (operation: string) =>
    spans.find((span) => span.service === service && span.attributes['db.operation.name'] === operation)
      ?.attributes ?? {};
  for (const [operation, statusCode, errorType] of [
    ['search', '101', 'CollectionNotLoaded'],
    ['describeCollection', '100', 'CollectionNotFound'],
    // Milvus 2.3 has no code for an expression that it cannot parse.
    ['query', '65535', 'Unexpected'],
  ] as const) {
    const attributes = attributesOf(operation);
    assert.equal(attributes['db.response.status_code'], statusCode, operation);
    assert.equal(attributes['error.type'], errorType, operation);
  }
  assert.equal(attributesOf('search')['milvus.client_request_id'], 'request-7');
  // The client had already the other database when the RPC was sent, and the answer is of that one.
  assert.equal(found, false);
  assert.equal(attributesOf('showCollections')['db.namespace'], db_name);
});
