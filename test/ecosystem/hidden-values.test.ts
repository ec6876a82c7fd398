/** No span has the parts of an unusable filter or primary key that a real Milvus quotes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { useStack } from '../support/stack.ts';
import { runApp } from '../support/traced-app.ts';

const stack = await useStack();

/** Of the collection and its fields; they may show. */
const NAMES = ['unusable_filters', 'name', 'id', 'v'];

const literals = fc.sample(
  fc.oneof(
    fc.stringMatching(/^[a-z]{4,8}[0-9]{2,5}@[a-z]{4,6}\.org$/),
    fc.stringMatching(/^[a-z]{4,8}[0-9]{2,5}$/),
    fc.stringMatching(/^[0-9]{4,9}-[0-9]{4,9}$/),
    fc.string({ minLength: 6, maxLength: 20, unit: 'grapheme' }).filter((text) => text.trim() === text),
    fc.stringMatching(/^[A-Z][a-z]{5} [A-Z]['"\\][a-z]{5}$/),
    fc.double({ min: 10_000, max: 1e12, noNaN: true }).map(String),
    fc.bigInt({ min: 10n ** 20n, max: 10n ** 25n }).map(String),
  ),
  { numRuns: 20, seed: 19_530 },
);

test(`no literal of ${literals.length} in unusable filters and keys is in a span`, async () => {
  const service = 'unusable-filters';
  const { stdout, code, stderr } = await runApp({
    program: 'unusable-filters.mjs',
    stack,
    service,
    env: { LITERALS: JSON.stringify(literals), OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS: 'true' },
  });
  assert.equal(code, 0, stderr);
  const refused = Number(/^refused (\d+)$/m.exec(stdout)?.[1]);
  assert.ok(refused > literals.length * 8, `Milvus refused ${refused} calls`);
  const of = (spans: ReceivedSpan[]) => spans.filter((span) => span.service === service);
  const spans = of(
    await stack.receiver.waitForSpans(
      (received) => of(received).some(({ name }) => name.startsWith('dropCollection')),
      20_000,
      { service },
    ),
  );
  assert.ok(spans.length > literals.length * 20, `${spans.length} spans`);
  for (const span of spans) {
    const text = JSON.stringify(span, (key, value) =>
      // The receiver's, and ids.
      ['traceId', 'spanId', 'parentSpanId', 'startMs', 'durationMs'].includes(key) ? undefined : value,
    );
    for (const literal of literals.filter((one) => !NAMES.includes(one))) {
      for (const form of [literal, JSON.stringify(literal).slice(1, -1)])
        assert.ok(!text.includes(form), `${form} is in ${text}`);
    }
  }
});
