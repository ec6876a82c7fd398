/** Spans of calls to a real Milvus, next to the spans that it made for them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
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
  // The client switched databases before the RPC was sent; the answer is from the new one.
  assert.equal(found, false);
  assert.equal(attributesOf('showCollections')['db.namespace'], db_name);
});

const endMs = ({ startMs, durationMs }: ReceivedSpan) => startMs + durationMs;

test('in 1,000 calls, no span of the server begins before the one of its client or ends after it', async () => {
  const stack = await useStack();
  const service = 'timed-calls';
  const requests = 250;
  await runApp({
    program: 'timed-calls.mjs',
    stack,
    service,
    env: { REQUESTS: `${requests}`, OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS: 'true' },
    // Takes seconds, but minutes on a busy machine.
    timeoutMs: 300_000,
  });
  const isServed = ({ kind, service: by }: ReceivedSpan) => kind === 'SERVER' && by === 'standalone';
  const spans = await stack.receiver.waitForSpans(
    (received) => received.filter(isServed).length >= requests * 4,
    60_000,
    { service },
  );
  // GET └─ GET └─ getVersion └─ MilvusService/GetVersion └─ standalone: MilvusService/GetVersion
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  let compared = 0;
  for (const span of spans) {
    const parent = byId.get(span.parentSpanId ?? '');
    // A request's client may have its answer before the server's span ends.
    if (parent?.service !== service || !(isServed(span) || span.kind === 'CLIENT')) continue;
    // Between processes, 50 µs for the error of both clocks; within one, rounding of a time.
    const slackMs = isServed(span) ? 0.05 : 0.001;
    const early = parent.startMs - span.startMs;
    const late = endMs(span) - endMs(parent);
    assert.ok(early <= slackMs, `${span.name} begins ${early} ms before ${parent.name}`);
    assert.ok(late <= slackMs, `${span.name} ends ${late} ms after ${parent.name}`);
    compared++;
  }
  // Three for each call: the operation, the RPC, and the span of Milvus.
  assert.ok(compared >= requests * 4 * 3, `${compared} spans compared`);
});
