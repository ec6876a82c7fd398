/** The requests at exit: which are sent again, and when it is given up. */
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

test('what is accepted is sent once, a limited number at a time', async () => {
  const { failures, requests, most } = await send(50, () => ACCEPTED);
  assert.deepEqual([new Set(failures), requests.length], [new Set([null]), 50]);
  assert.equal(most, 16);
});

test('what is refused is not sent again, and keeps its reason', async () => {
  const { failures, requests } = await send(3, (body) => (body === 1 ? REFUSED : ACCEPTED));
  assert.deepEqual([failures, requests.length], [[null, { reason: 'bad' }, null], 3]);
});

test('rejected spans are reported with their number, a mere warning is not', async () => {
  const answers = [{ rejectedSpans: 2, errorMessage: 'old' }, { errorMessage: 'slow' }];
  const { failures } = await send(
    2,
    (body) => Buffer.from(JSON.stringify({ partialSuccess: answers[body] })),
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
  );
  assert.deepEqual(failures, [{ count: 2, reason: 'old' }, null]);
});

describe('a collector that accepts', () => {
  test('a few at a time gets the others in further rounds, until it has all', async () => {
    const { failures } = await send(40, (_body, _sent, inFlight) => (inFlight > 3 ? BUSY : ACCEPTED));
    assert.deepEqual(new Set(failures), new Set([null]));
  });

  test('none in a round is not asked again', async () => {
    const { failures, requests } = await send(5, () => BUSY);
    assert.deepEqual(
      [new Set(failures.map((failure) => failure?.reason)), requests.length],
      [new Set(['busy']), 5],
    );
  });

  test('some and then none gets no third round', async () => {
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
    test(`for request ${bad} of 10 takes no other with it: they are sent one at a time`, async () => {
      const { failures } = await send(10, (body, _sent, inFlight) =>
        body === bad || inFlight > 1 ? BROKEN : ACCEPTED,
      );
      assert.deepEqual(
        failures.flatMap((failure, index) => (failure === null ? [] : [[index, failure.reason]])),
        [[bad, 'read ECONNRESET']],
      );
    });

  test('also for two single requests is the end', async () => {
    const { failures, requests } = await send(10, () => BROKEN);
    assert.deepEqual(new Set(failures.map((failure) => failure?.reason)), new Set(['read ECONNRESET']));
    assert.equal(requests.length, 12);
  });

  test('of a single body is not tried again', async () => {
    assert.equal((await send(1, () => BROKEN)).requests.length, 1);
  });
});

test('an unreachable collector is tried once', async () => {
  const { failures, requests } = await send(5, () => UNREACHABLE);
  assert.match(failures[0]?.reason ?? '', /ECONNREFUSED/);
  assert.equal(requests.length, 5);
});
