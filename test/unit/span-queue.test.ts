import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { type ReadableSpan, SamplingDecision, TracerProvider } from '@opentelemetry/sdk-trace';
import { readSettings } from '../../src/config/settings.ts';
import type { Outcome } from '../../src/trace/outcome.ts';
import { FULL_BATCH_BYTES, SPAN_BYTES, type SpanBatch } from '../../src/trace/span-batch.ts';
import { type QueueLimits, SpanQueue } from '../../src/trace/span-queue.ts';
import { endedSpans } from '../support/ended-spans.ts';

const ACCEPTED: Outcome = { kind: 'accepted' };
const LATER = { kind: 'later', reason: 'connect ECONNREFUSED', isUnreachable: true } as const;
/** Outcomes of a reachable collector. */
const BUSY = { kind: 'later', reason: 'busy' } as const;
const EXHAUSTED = { kind: 'later', reason: 'exhausted', mayBeTooLarge: true } as const;
const TOO_LARGE: Outcome = { kind: 'too large' };
const REFUSED: Outcome = { kind: 'refused', reason: 'HTTP status 400' };

interface Attempt {
  spans: ReadableSpan[];
  /** Gives the queue the outcome of the attempt, and lets it continue. */
  answer(outcome: Outcome): Promise<void>;
}

const LIMITS: QueueLimits = { maxQueueSize: 100, maxExportBatchSize: 10, scheduleDelayMs: 5_000 };

/** Runs all pending work that needs no timer. */
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

/** A queue whose attempts to send wait here for their outcome, in order. */
function makeQueue(limits: Partial<QueueLimits> = {}) {
  const attempts: Attempt[] = [];
  const givenUp: [count: number, reason: string][] = [];
  const queue = new SpanQueue(
    ({ spans }) =>
      new Promise((resolve) => {
        const answer = async (outcome: Outcome) => {
          resolve(outcome);
          await settle();
        };
        attempts.push({ spans, answer });
      }),
    { ...LIMITS, ...limits },
    (count, reason) => givenUp.push([count, reason]),
    () => 0.5,
  );
  const end = (spans: readonly ReadableSpan[]) => {
    for (const span of spans) queue.onEnd(span);
  };
  /** The next unread attempt; fails without one. */
  const attempt = (): Attempt => {
    const next = attempts.shift();
    assert.ok(next !== undefined, 'nothing is being sent');
    return next;
  };
  return { queue, attempts, end, attempt, givenUp };
}

const spansOf = (batches: readonly SpanBatch[]) => batches.flatMap(({ spans }) => spans);

/** Time stands still until the test moves it. */
function stopTime(t: TestContext): (ms: number) => Promise<void> {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  return async (ms) => {
    t.mock.timers.tick(ms);
    await settle();
  };
}

test('a span waits for the delay, and all spans that end during the delay are sent in one batch, in order', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(3);
  end(spans.slice(0, 2));
  await pass(4_000);
  end(spans.slice(2));
  await pass(999);
  assert.equal(attempts.length, 0);
  assert.equal(queue.unsent, 3);
  await pass(1);
  const sent = attempt();
  assert.deepEqual([sent.spans, queue.hasDelivered], [spans, false]);
  assert.equal(queue.unsent, 3, 'not known to have arrived');
  await sent.answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.hasDelivered], [0, true]);
  assert.deepEqual([queue.lost, queue.lastError], [0, undefined]);
  await pass(60_000);
  assert.equal(attempts.length, 0, 'what has arrived is not sent again');
});

test('a batch is sent at once when it is full', async (t) => {
  stopTime(t);
  const { attempts, end, attempt } = makeQueue({ maxQueueSize: 10_000, maxExportBatchSize: 500 });
  end(endedSpans(499));
  assert.equal(attempts.length, 0);
  end(endedSpans(1));
  const first = attempt();
  assert.equal(first.spans.length, 500);
  await first.answer(ACCEPTED);
  end(endedSpans(499));
  assert.equal(attempts.length, 0);
  end(endedSpans(1));
  assert.equal(attempt().spans.length, 500);
});

test('a span whose attributes throw is sent like any other, and its serialization reports it', async (t) => {
  const pass = stopTime(t);
  const { end, attempt } = makeQueue();
  const [first, last] = endedSpans(2) as [ReadableSpan, ReadableSpan];
  const hostile = Object.create(first, {
    attributes: {
      get() {
        throw new Error('hostile');
      },
    },
  });
  end([first, hostile, last]);
  await pass(5_000);
  assert.deepEqual(attempt().spans, [first, hostile, last]);
});

test('a span that cannot be serialized is lost, and its batch is not sent again', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue({ maxExportBatchSize: 1 });
  end(endedSpans(1));
  await attempt().answer({ kind: 'unserializable', reason: 'no keys' });
  await pass(60_000);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError, attempts.length], [0, 1, 'no keys', 0]);
});

test('a full batch does not wait for the delay', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(9));
  assert.equal(attempts.length, 0);
  end(endedSpans(1));
  const first = attempt();
  assert.equal(first.spans.length, 10);
  end(endedSpans(2));
  await first.answer(ACCEPTED);
  assert.equal(attempts.length, 0);
  assert.equal(queue.unsent, 2);
  await pass(5_000);
  assert.equal(attempt().spans.length, 2, 'the rest comes after the delay');
});

test('one batch is in flight at a time, and full batches follow each other without a delay', async (t) => {
  stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(35);
  end(spans);
  const seen: ReadableSpan[] = [];
  for (const expected of [10, 10, 10]) {
    assert.equal(attempts.length, 1);
    const next = attempt();
    assert.equal(next.spans.length, expected);
    seen.push(...next.spans);
    await next.answer(ACCEPTED);
  }
  assert.equal(attempts.length, 0);
  assert.equal(queue.unsent, 5);
  assert.deepEqual(seen, spans.slice(0, 30));
});

test('a span that is not sampled is not kept', () => {
  const { queue, attempts, end } = makeQueue({ maxExportBatchSize: 1 });
  const notSampled = endedSpans(2, undefined, SamplingDecision.RECORD);
  assert.equal(notSampled.length, 2);
  end(notSampled);
  assert.deepEqual([queue.unsent, queue.lost, attempts.length], [0, 0, 0]);
});

test('spans beyond the limit, pending and in flight together, are lost and counted, with the reason', async (t) => {
  stopTime(t);
  const { queue, end, attempt } = makeQueue({ maxQueueSize: 25 });
  end(endedSpans(25));
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [25, 0, undefined]);
  end(endedSpans(3));
  assert.deepEqual([queue.unsent, queue.lost], [25, 3]);
  assert.match(queue.lastError ?? '', /OTEL_BSP_MAX_QUEUE_SIZE=25/);
  await attempt().answer(ACCEPTED);
  end(endedSpans(1));
  assert.deepEqual([queue.unsent, queue.lost], [16, 3], 'there is room again');
});

test('after the collector was unreachable, the reason for lost spans is the connection, not the full queue', async (t) => {
  stopTime(t);
  const { queue, end, attempt } = makeQueue({ maxQueueSize: 20 });
  end(endedSpans(10));
  await attempt().answer(LATER);
  end(endedSpans(11));
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [20, 1, LATER.reason]);
});

test('a batch larger than the queue may hold is sent when the queue is full, and nothing is lost', async (t) => {
  stopTime(t);
  const { queue, attempts, end } = makeQueue({ maxQueueSize: 4, maxExportBatchSize: 10 });
  end(endedSpans(4));
  assert.equal(attempts.length, 1);
  assert.deepEqual([queue.unsent, queue.lost], [4, 0]);
});

test('a batch that could not be sent is retried before spans that ended after it', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(14);
  end(spans);
  await attempt().answer(LATER);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [14, 0, LATER.reason]);
  await pass(999);
  assert.equal(attempts.length, 0);
  await pass(1);
  const again = attempt();
  assert.deepEqual(again.spans, spans.slice(0, 10));
  await again.answer(ACCEPTED);
  await pass(5_000);
  const rest = attempt();
  assert.deepEqual(rest.spans, spans.slice(10));
  await rest.answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.lost], [0, 0]);
});

test('each failed attempt doubles the pause, up to 30 s, and spans that end during the pause do not shorten it', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(10));
  await attempt().answer(LATER);
  for (const delayMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    end(endedSpans(10));
    await pass(delayMs - 1);
    assert.equal(attempts.length, 0, `within ${delayMs} ms`);
    await pass(1);
    await attempt().answer(LATER);
  }
  assert.deepEqual([queue.unsent, queue.lost], [80, 0]);
});

test('when the collector is back, all waiting spans are sent at once, and the next outage starts with a pause of 1 s', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(30));
  await attempt().answer(LATER);
  await pass(1_000);
  await attempt().answer(LATER);
  await pass(2_000);
  for (let batch = 0; batch < 3; batch++) await attempt().answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.lost], [0, 0]);
  end(endedSpans(10));
  await attempt().answer(LATER);
  await pass(999);
  assert.equal(attempts.length, 0);
  await pass(1);
  await attempt().answer(ACCEPTED);
});

test('after an outage without a loss, no error is reported any more', async (t) => {
  const pass = stopTime(t);
  const { queue, end, attempt } = makeQueue();
  end(endedSpans(10));
  await attempt().answer(LATER);
  assert.equal(queue.lastError, LATER.reason);
  await pass(1_000);
  await attempt().answer(ACCEPTED);
  assert.equal(queue.lastError, undefined);
});

test('a rejected batch is lost and counted, not retried, and the next one is sent', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(13));
  await attempt().answer(REFUSED);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [3, 10, REFUSED.reason]);
  assert.equal(attempts.length, 0);
  await pass(5_000);
  const next = attempt();
  assert.equal(next.spans.length, 3);
  await next.answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [0, 10, REFUSED.reason]);
});

test('a batch is full at its limit of bytes, even with few spans', (t) => {
  stopTime(t);
  const counts: number[] = [];
  const send = async ({ count }: { count: number }) => {
    counts.push(count);
    return ACCEPTED;
  };
  const limits = { ...LIMITS, maxExportBatchSize: 100 };
  const [span] = endedSpans(1);
  const large = Object.create(span as ReadableSpan, {
    attributes: { value: { text: 'x'.repeat(FULL_BATCH_BYTES / 4) } },
  });
  const queue = new SpanQueue(send, limits);
  for (let made = 0; made < 3; made++) queue.onEnd(large);
  assert.deepEqual(counts, []);
  queue.onEnd(large);
  assert.deepEqual(counts, [4]);
});

test('the queue also has a limit of bytes, which large spans reach first', async (t) => {
  stopTime(t);
  const waiting: ((outcome: Outcome) => void)[] = [];
  const queue = new SpanQueue(() => new Promise<Outcome>((resolve) => waiting.push(resolve)), {
    ...LIMITS,
    maxQueueSize: 256,
    maxExportBatchSize: 100,
  });
  const answer = async (outcome: Outcome) => {
    waiting.shift()?.(outcome);
    await settle();
  };
  const [span] = endedSpans(1);
  const large = Object.create(span as ReadableSpan, {
    attributes: { value: { text: 'x'.repeat(FULL_BATCH_BYTES / 2) } },
  });
  // Two make a batch, a little larger than a full one.
  const fits = ((256 * SPAN_BYTES) / FULL_BATCH_BYTES) * 2;
  const fill = () => {
    for (let made = queue.unsent; made < fits; made++) queue.onEnd(large);
  };
  fill();
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [fits, 0, undefined]);
  queue.onEnd(large);
  assert.deepEqual([queue.unsent, queue.lost], [fits, 1]);
  assert.equal(queue.lastError, 'the queue was full (2 MiB, OTEL_BSP_MAX_QUEUE_SIZE=256)');
  // The two parts hold the bytes of the whole, and accepted spans give room.
  await answer(TOO_LARGE);
  await answer(ACCEPTED);
  fill();
  assert.deepEqual([queue.unsent, queue.lost], [fits, 1]);
  for (const outcome of [ACCEPTED, REFUSED]) {
    while (waiting.length > 0) await answer(outcome);
    fill();
    assert.equal(queue.unsent, fits, 'there is as much room as in the beginning');
  }
  queue.release();
  assert.equal(queue.unsent, 2, 'in flight');
  fill();
  assert.deepEqual([queue.unsent, queue.lost], [fits, 1 + fits]);
});

test('spans that a partial success rejects are lost, with the reason', async (t) => {
  stopTime(t);
  const { queue, end, attempt } = makeQueue();
  end(endedSpans(20));
  await attempt().answer({ kind: 'accepted', rejected: { count: 3, reason: 'quota' } });
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [10, 3, 'quota']);
  await attempt().answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [0, 3, 'quota']);
});

test('a batch that is too large is split into halves repeatedly, and only refused spans are lost', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(15);
  end(spans);
  await attempt().answer(TOO_LARGE);
  assert.equal(attempts.length, 1, 'one after the other');
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [15, 0, undefined]);
  const first = attempt();
  assert.deepEqual(first.spans, spans.slice(0, 5));
  await first.answer(ACCEPTED);
  const second = attempt();
  assert.deepEqual(second.spans, spans.slice(5, 10));
  await second.answer(TOO_LARGE);
  await attempt().answer(REFUSED);
  await attempt().answer(LATER);
  assert.deepEqual([queue.unsent, queue.lost], [3 + 5, 2]);
  assert.equal(attempts.length, 0);
  await pass(1_000);
  const again = attempt();
  assert.deepEqual(again.spans, spans.slice(7, 10));
  await again.answer(ACCEPTED);
  await pass(5_000);
  const rest = attempt();
  assert.deepEqual(rest.spans, spans.slice(10));
  await rest.answer(ACCEPTED);
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [0, 2, LATER.reason]);
});

test('a flush waits for both parts of a batch that was split because it was too large', async (t) => {
  stopTime(t);
  const { queue, end, attempt } = makeQueue();
  end(endedSpans(4));
  const flushed = queue.forceFlush();
  await attempt().answer(TOO_LARGE);
  await attempt().answer(ACCEPTED);
  assert.ok(!(await isSettled(flushed)));
  await attempt().answer(ACCEPTED);
  assert.ok(await isSettled(flushed));
  assert.equal(queue.unsent, 0);
});

test('parts of a split batch that are in flight are taken with the pending ones, once', async (t) => {
  stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(12);
  end(spans);
  await attempt().answer(TOO_LARGE);
  const half = attempt();
  assert.deepEqual(
    spansOf(queue.takeUnsent()).sort((one, other) => spans.indexOf(one) - spans.indexOf(other)),
    spans,
  );
  await half.answer(ACCEPTED);
  assert.equal(attempts.length, 0, 'what was taken before its turn came is not sent here');
});

test('a flush of very many batches resolves soon when the collector is unreachable, and all are retried', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue({ maxExportBatchSize: 1 });
  const spans = endedSpans(60);
  end(spans);
  const flushed = queue.forceFlush();
  let made = 0;
  while (attempts.length > 0) {
    made++;
    await attempt().answer(LATER);
  }
  assert.ok(await isSettled(flushed));
  assert.ok(made < 30, `${made} attempts`);
  assert.deepEqual([queue.unsent, queue.lost], [60, 0]);
  await pass(1_000);
  const sent = new Set<ReadableSpan | undefined>();
  while (attempts.length > 0) {
    const next = attempt();
    sent.add(next.spans[0]);
    await next.answer(ACCEPTED);
  }
  assert.deepEqual(sent, new Set(spans));
});

test('the second part of a split batch is not attempted when the first found no collector', async (t) => {
  const pass = stopTime(t);
  const { attempts, end, attempt } = makeQueue();
  const spans = endedSpans(10);
  end(spans);
  await attempt().answer(TOO_LARGE);
  await attempt().answer(LATER);
  assert.equal(attempts.length, 0);
  await pass(1_000);
  const halves = [attempt()];
  await halves[0]?.answer(ACCEPTED);
  halves.push(attempt());
  assert.deepEqual(
    halves.flatMap((half) => half.spans),
    spans,
  );
});

test('a flush of very many batches sends some at a time, and all in the end', async (t) => {
  stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue({ maxExportBatchSize: 1 });
  const spans = endedSpans(51);
  end(spans);
  const sent = [...attempts];
  const flushed = queue.forceFlush();
  let most = 0;
  while (attempts.length > 0) {
    most = Math.max(most, attempts.length);
    const next = attempt();
    sent.push(next);
    await next.answer(ACCEPTED);
  }
  assert.ok(await isSettled(flushed));
  assert.ok(most < 30, `${most}`);
  assert.deepEqual(new Set(sent.flatMap(({ spans: [span] }) => span)), new Set(spans));
  assert.deepEqual([queue.unsent, queue.lost], [0, 0]);
});

test('takeUnsent() returns all spans without an answer: in flight, waiting for a retry, and new', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(34);
  end(spans);
  const onTheWay = attempt();
  const batches = queue.takeUnsent();
  assert.deepEqual(
    batches.map(({ count }) => count),
    [10, 10, 10, 4],
  );
  assert.deepEqual(spansOf(batches), spans);
  assert.deepEqual([queue.unsent, queue.lost], [0, 0]);
  assert.deepEqual(queue.takeUnsent(), []);

  // The taken spans belong to the caller: an answer no longer counts.
  for (const outcome of [LATER, REFUSED, ACCEPTED]) await onTheWay.answer(outcome);
  await pass(60_000);
  assert.deepEqual([queue.unsent, queue.lost, attempts.length], [0, 0, 0]);
});

for (const outcome of [LATER, REFUSED]) {
  test(`spans taken while in flight neither return to the queue nor are counted when the answer is "${outcome.kind}"`, async (t) => {
    const pass = stopTime(t);
    const { queue, attempts, end, attempt } = makeQueue();
    end(endedSpans(10));
    const onTheWay = attempt();
    assert.equal(spansOf(queue.takeUnsent()).length, 10);
    await onTheWay.answer(outcome);
    await pass(60_000);
    assert.deepEqual([queue.unsent, queue.lost, attempts.length], [0, 0, 0]);
  });
}

test('a batch that waits for its retry is taken with the pending ones', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(12);
  end(spans);
  await attempt().answer(LATER);
  assert.deepEqual(spansOf(queue.takeUnsent()), spans);
  await pass(60_000);
  assert.equal(attempts.length, 0, 'and is not tried again');
});

test('a release returns all waiting spans, not those in flight, and the queue continues', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(30);
  end(spans.slice(0, 25));
  const onTheWay = attempt();
  assert.deepEqual(spansOf(queue.release()), spans.slice(10, 25));
  assert.equal(queue.unsent, 10);
  await onTheWay.answer(ACCEPTED);
  assert.equal(queue.unsent, 0);
  end(spans.slice(25));
  await pass(5_000);
  assert.deepEqual(attempt().spans, spans.slice(25));
  assert.equal(attempts.length, 0);
});

test('a closed queue accepts no spans', async (t) => {
  const pass = stopTime(t);
  const taken = makeQueue({ maxExportBatchSize: 1 });
  taken.queue.takeUnsent();
  const shut = makeQueue({ maxExportBatchSize: 1 });
  await shut.queue.shutdown();
  for (const { queue, attempts, end } of [taken, shut]) {
    end(endedSpans(3));
    await pass(60_000);
    assert.deepEqual([queue.unsent, queue.lost, attempts.length], [0, 0, 0]);
  }
});

/** Whether a promise has settled, without waiting for it. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.finally(() => {
    settled = true;
  });
  await settle();
  return settled;
}

test('a flush sends all pending batches concurrently and resolves when each has an answer', async (t) => {
  stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  const spans = endedSpans(34);
  end(spans);
  const first = attempt();
  const flushed = queue.forceFlush();
  assert.deepEqual(
    attempts.map(({ spans: { length } }) => length),
    [10, 10, 4],
  );
  assert.deepEqual([...first.spans, ...attempts.flatMap((each) => each.spans)], spans);
  await first.answer(ACCEPTED);
  for (const { answer } of attempts) {
    assert.ok(!(await isSettled(flushed)));
    await answer(ACCEPTED);
  }
  assert.ok(await isSettled(flushed));
  assert.equal(queue.unsent, 0);
});

test('a flush waits for a batch that was already in flight', async (t) => {
  stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(10));
  const onTheWay = attempt();
  const flushed = queue.forceFlush();
  assert.equal(attempts.length, 0, 'and does not send it twice');
  assert.ok(!(await isSettled(flushed)));
  await onTheWay.answer(ACCEPTED);
  assert.ok(await isSettled(flushed));
  assert.equal(queue.unsent, 0);
});

test('a flush with nothing to send resolves at once and sends nothing', async () => {
  const { queue, attempts } = makeQueue();
  await queue.forceFlush();
  assert.equal(attempts.length, 0);
});

test('a flush is one attempt: unsent spans stay in the queue and are retried later', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(9));
  const flushed = queue.forceFlush();
  await attempt().answer(LATER);
  assert.ok(await isSettled(flushed));
  assert.deepEqual([attempts.length, queue.unsent, queue.lost], [0, 9, 0]);
  await pass(999);
  assert.equal(attempts.length, 0);
  await pass(1);
  assert.equal(attempt().spans.length, 9);
});

test('a flush that is refused counts the lost spans', async (t) => {
  stopTime(t);
  const { queue, end, attempt } = makeQueue();
  end(endedSpans(9));
  const flushed = queue.forceFlush();
  await attempt().answer(REFUSED);
  await flushed;
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [0, 9, REFUSED.reason]);
});

test('concurrent batches that all fail count as one failed attempt, so the next is a second later', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end } = makeQueue();
  end(endedSpans(50));
  const flushed = queue.forceFlush();
  assert.equal(attempts.length, 5);
  for (const { answer } of attempts.splice(0)) await answer(LATER);
  await flushed;
  assert.equal(queue.unsent, 50);
  await pass(999);
  assert.equal(attempts.length, 0);
  await pass(1);
  assert.equal(attempts.length, 1);
});

test('a shutdown flushes the queue, and nothing is sent after it', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end, attempt } = makeQueue();
  end(endedSpans(5));
  const shut = queue.shutdown();
  await attempt().answer(LATER);
  await shut;
  await pass(60_000);
  assert.equal(attempts.length, 0);
  assert.equal(queue.unsent, 5, 'they can still be taken');
  assert.equal(spansOf(queue.takeUnsent()).length, 5);
});

const DEFAULTS: QueueLimits = readSettings({});

test('a burst of 5,000 spans is not lost with the default limits, and arrives in full batches without a delay', async () => {
  const arrived: ReadableSpan[] = [];
  const sizes: number[] = [];
  const queue = new SpanQueue(async ({ spans }) => {
    sizes.push(spans.length);
    await new Promise((resolve) => setTimeout(resolve, 2));
    arrived.push(...spans);
    return ACCEPTED;
  }, DEFAULTS);
  const spans = endedSpans(5_000);
  for (const span of spans) queue.onEnd(span);
  assert.deepEqual([queue.unsent, queue.lost], [5_000, 0]);
  // Nine full batches go one after the other, long before the delay; a flush sends the remaining spans.
  while (queue.unsent >= DEFAULTS.maxExportBatchSize) await new Promise((resolve) => setTimeout(resolve, 1));
  await queue.forceFlush();
  assert.deepEqual([queue.unsent, queue.lost, queue.lastError], [0, 0, undefined]);
  assert.deepEqual(arrived, spans);
  assert.deepEqual(sizes, [...new Array(9).fill(512), 5_000 - 9 * 512]);
});

test('a burst of 5,000 spans survives an unreachable collector, without a loss or a duplicate', async (t) => {
  const pass = stopTime(t);
  const { queue, attempts, end } = makeQueue(DEFAULTS);
  const spans = endedSpans(5_000);
  end(spans);
  for (let time = 0; time < 4; time++) {
    for (const { answer } of attempts.splice(0)) await answer(LATER);
    await pass(30_000);
  }
  assert.deepEqual([queue.unsent, queue.lost], [5_000, 0]);
  const arrived: ReadableSpan[] = [];
  for (let next = attempts.shift(); next !== undefined; next = attempts.shift()) {
    arrived.push(...next.spans);
    await next.answer(ACCEPTED);
    if (attempts.length === 0) await pass(5_000);
  }
  assert.deepEqual(arrived, spans);
  assert.deepEqual([queue.unsent, queue.lost], [0, 0]);
});

test('a waiting span does not keep the app alive', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length;
  const before = timers();
  const { queue, end, attempt } = makeQueue();
  t.after(() => queue.takeUnsent());
  end(endedSpans(1));
  assert.equal(timers(), before);
  end(endedSpans(9));
  await attempt().answer(LATER);
  assert.equal(timers(), before, 'nor one that will be tried again');
});

test("a tracer's spans reach the queue as its processor", async () => {
  const { queue, attempt } = makeQueue({ maxExportBatchSize: 2 });
  const tracer = new TracerProvider({ spanProcessors: [queue] }).getTracer('test');
  const parent = tracer.startSpan('parent');
  tracer.startSpan('child', {}, trace.setSpan(ROOT_CONTEXT, parent)).end();
  parent.end();
  assert.deepEqual(
    attempt().spans.map(({ name }) => name),
    ['child', 'parent'],
  );
});

describe('a batch that a collector always answers with "later"', () => {
  test('does not stop other batches, and only the span that causes the answer is dropped, with the reason', async (t) => {
    const pass = stopTime(t);
    const { queue, end, attempts, givenUp } = makeQueue();
    const [bad, ...good] = endedSpans(400);
    const accepted = new Set<ReadableSpan>();
    let failures = 0;
    end([bad as ReadableSpan]);
    for (let second = 0; second < 300; second++) {
      end(good.slice(second, second + 1));
      for (const { spans, answer } of attempts.splice(0)) {
        if (spans.includes(bad as ReadableSpan)) {
          failures++;
          await answer(BUSY);
        } else {
          for (const span of spans) accepted.add(span);
          await answer(ACCEPTED);
        }
      }
      await pass(1_000);
    }
    assert.deepEqual(givenUp, [[1, BUSY.reason]]);
    assert.equal(queue.lost, 1);
    assert.equal(accepted.size + 1 + queue.unsent, 301);
    assert.ok(failures < 20, `${failures}`);
  });

  test('is kept while nothing else is accepted, so that an outage of any length loses nothing', async (t) => {
    const pass = stopTime(t);
    const { queue, end, attempts, givenUp } = makeQueue();
    end(endedSpans(30));
    for (let minute = 0; minute < 60; minute++) {
      for (const { answer } of attempts.splice(0)) await answer(BUSY);
      await pass(60_000);
    }
    assert.deepEqual([queue.unsent, queue.lost, givenUp], [30, 0, []]);
    const arrived: ReadableSpan[] = [];
    for (; attempts.length > 0; await pass(0)) {
      const [{ spans, answer }] = attempts.splice(0) as [Attempt];
      arrived.push(...spans);
      await answer(ACCEPTED);
    }
    assert.equal(new Set(arrived).size, 30);
  });

  test('gets one attempt at exit, like the others', async (t) => {
    stopTime(t);
    const { queue, end, attempts } = makeQueue({ maxExportBatchSize: 1, maxQueueSize: 1_000 });
    const spans = endedSpans(40);
    end(spans);
    const flushed = queue.forceFlush();
    const tried: ReadableSpan[] = [];
    while (attempts.length > 0) {
      const [{ spans: batch, answer }] = attempts.splice(0, 1) as [Attempt];
      tried.push(...batch);
      await answer(batch[0] === spans[0] ? BUSY : ACCEPTED);
    }
    assert.ok(await isSettled(flushed));
    assert.deepEqual([tried.length, new Set(tried).size, queue.unsent], [40, 40, 1]);
  });
});

describe('RESOURCE_EXHAUSTED without a time to wait', () => {
  test('splits a batch at its second failure, and only the span that is too large is lost', async (t) => {
    const pass = stopTime(t);
    const { queue, end, attempts, givenUp } = makeQueue({ maxExportBatchSize: 10 });
    const spans = endedSpans(10);
    const accepted = new Set<ReadableSpan>();
    end(spans);
    for (let time = 0; time < 200 && queue.unsent > 0; time++) {
      for (const { spans: batch, answer } of attempts.splice(0)) {
        if (batch.includes(spans[3] as ReadableSpan)) await answer(EXHAUSTED);
        else {
          for (const span of batch) accepted.add(span);
          await answer(ACCEPTED);
        }
      }
      await pass(500);
    }
    assert.deepEqual([accepted.size, queue.lost, queue.unsent], [9, 1, 0]);
    assert.deepEqual(givenUp, [[1, EXHAUSTED.reason]]);
  });

  test('for every batch leads to a limited number of attempts and of splits', async (t) => {
    const pass = stopTime(t);
    const { queue, end, attempts } = makeQueue({ maxExportBatchSize: 64 });
    end(endedSpans(64));
    let made = 0;
    for (let time = 0; time < 1_000 && queue.unsent > 0; time++) {
      for (const { answer } of attempts.splice(0)) {
        made++;
        await answer(EXHAUSTED);
      }
      await pass(1_000);
    }
    assert.deepEqual([queue.lost, queue.unsent], [64, 0]);
    assert.ok(made < 25, `${made}`);
  });
});

test('the queue waits for the time that the collector requests, and a shorter request does not shorten the pause', async (t) => {
  const pass = stopTime(t);
  const { attempts, end, attempt } = makeQueue();
  end(endedSpans(10));
  await attempt().answer({ ...BUSY, afterMs: 45_000 });
  await pass(44_999);
  assert.equal(attempts.length, 0);
  await pass(1);
  await attempt().answer({ ...BUSY, afterMs: 5 });
  await pass(1_999);
  assert.equal(attempts.length, 0);
  await pass(1);
  assert.equal(attempts.length, 1);
});

test('the times between attempts differ by up to a fifth from process to process', async (t) => {
  const pass = stopTime(t);
  for (const [random, delayMs] of [
    [0, 800],
    [1, 1_200],
  ] as const) {
    let attempts = 0;
    const send = async () => {
      attempts++;
      return LATER;
    };
    const queue = new SpanQueue(send, LIMITS, undefined, () => random);
    for (const span of endedSpans(10)) queue.onEnd(span);
    await settle();
    await pass(delayMs - 1);
    assert.equal(attempts, 1);
    await pass(1);
    assert.equal(attempts, 2);
  }
});
