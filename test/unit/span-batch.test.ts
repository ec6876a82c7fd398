/** The estimated size of a batch, which bounds requests and the memory of kept spans. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { SpanBatch } from '../../src/trace/span-batch.ts';
import { endedSpans } from '../support/ended-spans.ts';

const TEXT = 'x'.repeat(10_000);
const [plain] = endedSpans(1) as [ReadableSpan];

const bytesOf = (fields: Partial<ReadableSpan>): number => new SpanBatch([{ ...plain, ...fields }]).bytes;
const event = { name: 'found', time: plain.startTime };

describe('the size includes the characters and bytes of', () => {
  const places: Record<string, Partial<ReadableSpan>> = {
    'a text': { attributes: { a: TEXT } },
    'an array': { attributes: { a: ['', TEXT] } },
    'an object': { attributes: { a: { b: [{ c: TEXT }] } } as never },
    bytes: { attributes: { a: new Uint8Array(10_000) } as never },
    numbers: { attributes: { a: new Array(2_000).fill(1) } },
    'the name': { name: TEXT },
    'the message of its status': { status: { code: 2, message: TEXT } },
    'an event': { events: [{ ...event, attributes: { 'exception.stacktrace': TEXT } }] },
    'the name of an event': { events: [{ ...event, name: TEXT }] },
    'a link': { links: [{ context: plain.spanContext(), attributes: { a: TEXT } }] },
  };
  for (const [place, fields] of Object.entries(places))
    test(place, () => {
      const bytes = bytesOf(fields) - bytesOf({});
      assert.ok(bytes >= 9_900 && bytes <= 17_000, `${bytes} bytes`);
    });
});

test('a value that contains itself is counted in a bounded time', () => {
  const array: unknown[] = [];
  const object: Record<string, unknown> = { array };
  for (let index = 0; index < 100; index++) array.push(array, object);
  const startedMs = performance.now();
  assert.ok(bytesOf({ attributes: { a: array } as never }) > 0);
  assert.ok(performance.now() - startedMs < 2_000);
});
