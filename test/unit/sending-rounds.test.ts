/** The rounds of requests at exit: which requests are repeated, and which round is the last. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readSettings } from '../../src/config/settings.ts';
import { OtlpError } from '../../src/otlp/sender.ts';
import { tracesTarget } from '../../src/otlp/target.ts';
import { type Outcome, sendInRounds } from '../../src/shutdown/sending-rounds.ts';

const ACCEPTED = new Uint8Array();
const BROKEN = new OtlpError('read ECONNRESET', { isGrpc: true });
const UNREACHABLE = new OtlpError('connect ECONNREFUSED', { isGrpc: true, isUnreachable: true });
const BUSY = new OtlpError('busy', { status: 14, isGrpc: true });
const REFUSED = new OtlpError('bad', { status: 3, isGrpc: true });
const LIMIT_OF_TEST = 1_000;

/**
 * Sends bodies 0 to `count` - 1 to a collector that answers as `answer` says.
 *
 * @param answer gets the body, and how many requests were sent and are in flight, this one included
 */
async function send(
  count: number,
  answer: (body: number, sent: number, inFlight: number) => Uint8Array | OtlpError,
  env: Record<string, string> = {},
) {
  const requests: number[] = [];
  let inFlight = 0;
  let most = 0;
  const sender = {
    async send(body: Uint8Array) {
      most = Math.max(most, ++inFlight);
      requests.push(body[0] as number);
      assert.ok(requests.length < LIMIT_OF_TEST, 'it never ends');
      const [number, sent] = [inFlight, requests.length];
      await new Promise(setImmediate);
      inFlight--;
      const given = answer(body[0] as number, sent, number);
      if (given instanceof Error) throw given;
      return given;
    },
    reconnect() {},
    close() {},
  };
  const outcomes: Outcome[] = [];
  const bodies = Array.from({ length: count }, (_, index) => Uint8Array.of(index));
  await sendInRounds(sender, tracesTarget(readSettings(env)), bodies, (outcome) => outcomes.push(outcome));
  assert.deepEqual(
    outcomes.map(({ index }) => index).toSorted((a, b) => a - b),
    [...bodies.keys()],
    'one outcome for each body',
  );
  const failures = outcomes.toSorted((a, b) => a.index - b.index).map(({ failure }) => failure);
  return { failures, requests, most };
}

test('accepted requests are sent once, with a limited number in flight', async () => {
  const { failures, requests, most } = await send(50, () => ACCEPTED);
  assert.deepEqual([new Set(failures), requests.length], [new Set([null]), 50]);
  assert.equal(most, 16);
});

test('a refused request is not repeated, and keeps its reason', async () => {
  const { failures, requests } = await send(3, (body) => (body === 1 ? REFUSED : ACCEPTED));
  assert.deepEqual([failures, requests.length], [[null, { reason: 'bad' }, null], 3]);
});

test('rejected spans are reported with their number; a warning without rejected spans is not reported', async () => {
  const answers = [{ rejectedSpans: 2, errorMessage: 'old' }, { errorMessage: 'slow' }];
  const { failures } = await send(
    2,
    (body) => Buffer.from(JSON.stringify({ partialSuccess: answers[body] })),
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
  );
  assert.deepEqual(failures, [{ count: 2, reason: 'old' }, null]);
});

describe('a collector that accepts', () => {
  test('a few requests at a time gets the others in further rounds', async () => {
    const { failures } = await send(40, (_body, _sent, inFlight) => (inFlight > 3 ? BUSY : ACCEPTED));
    assert.deepEqual(new Set(failures), new Set([null]));
  });

  test('no request of a round gets no further round', async () => {
    const { failures, requests } = await send(5, () => BUSY);
    assert.deepEqual(
      [new Set(failures.map((failure) => failure?.reason)), requests.length],
      [new Set(['busy']), 5],
    );
  });

  test('some requests of the first round and none of the second gets no third round', async () => {
    const { failures, requests } = await send(5, (body, sent) => (body < 2 && sent <= 5 ? ACCEPTED : BUSY));
    assert.deepEqual(
      failures.map((failure) => failure?.reason),
      [undefined, undefined, 'busy', 'busy', 'busy'],
    );
    assert.equal(requests.length, 8);
  });
});

describe('a connection that breaks', () => {
  for (const bad of [0, 5, 9])
    test(`for request ${bad} of 10 loses only that request: the others are repeated one at a time`, async () => {
      const { failures } = await send(10, (body, _sent, inFlight) =>
        body === bad || inFlight > 1 ? BROKEN : ACCEPTED,
      );
      assert.deepEqual(
        failures.flatMap((failure, index) => (failure === null ? [] : [[index, failure.reason]])),
        [[bad, 'read ECONNRESET']],
      );
    });

  test('again for two single requests ends the sending', async () => {
    const { failures, requests } = await send(10, () => BROKEN);
    assert.deepEqual(new Set(failures.map((failure) => failure?.reason)), new Set(['read ECONNRESET']));
    assert.equal(requests.length, 12);
  });

  test('for the only request is not followed by another attempt', async () => {
    assert.equal((await send(1, () => BROKEN)).requests.length, 1);
  });
});

test('an unreachable collector gets one attempt', async () => {
  const { failures, requests } = await send(5, () => UNREACHABLE);
  assert.match(failures[0]?.reason ?? '', /ECONNREFUSED/);
  assert.equal(requests.length, 5);
});
