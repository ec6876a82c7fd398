import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryAfter, retryDelayIn } from '../../src/otlp/retry-info.ts';

const varint = (value: bigint): number[] => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
};
const message = (field: number, content: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(content as string);
  return Buffer.from([(field << 3) | 2, ...varint(BigInt(bytes.length)), ...bytes]);
};
/** google.rpc.Status with one detail. */
const statusWith = (type: string, value: Uint8Array): Buffer =>
  Buffer.concat([
    Buffer.from([8, 14]),
    message(2, 'busy'),
    message(3, Buffer.concat([message(1, `type.googleapis.com/${type}`), message(2, value)])),
  ]);
const delay = (seconds: bigint, nanos = 0n): Buffer =>
  message(1, Buffer.from([8, ...varint(seconds), 16, ...varint(nanos)]));

test('a RetryInfo gives the time to wait, also among other details', () => {
  const info = 'google.rpc.RetryInfo';
  assert.equal(retryDelayIn(statusWith(info, delay(5n))), 5_000);
  assert.equal(retryDelayIn(statusWith(info, delay(0n, 250_000_001n))), 251);
  assert.equal(retryDelayIn(statusWith(info, delay(0n))), 0);
  const help = statusWith('google.rpc.Help', Buffer.from([1, 2, 3]));
  assert.equal(retryDelayIn(Buffer.concat([help, statusWith(info, delay(3n))])), 3_000);
});

test('a missing or negative RetryInfo, or another message, gives no time to wait', () => {
  assert.equal(retryDelayIn(undefined), undefined);
  assert.equal(retryDelayIn('text'), undefined);
  assert.equal(retryDelayIn(Buffer.alloc(0)), undefined);
  assert.equal(retryDelayIn(Buffer.from([0xff])), undefined);
  assert.equal(retryDelayIn(statusWith('google.rpc.Help', delay(5n))), undefined);
  assert.equal(retryDelayIn(statusWith('google.rpc.RetryInfo', Buffer.alloc(0))), undefined);
  assert.equal(retryDelayIn(statusWith('google.rpc.RetryInfo', delay(-5n))), undefined);
});

test('Retry-After is seconds or a date', () => {
  const nowMs = Date.UTC(2026, 0, 1);
  assert.equal(retryAfter(undefined), undefined);
  assert.equal(retryAfter('7'), 7_000);
  assert.equal(retryAfter(' 0 '), 0);
  assert.equal(retryAfter('Thu, 01 Jan 2026 00:00:09 GMT', nowMs), 9_000);
  assert.equal(retryAfter('Wed, 31 Dec 2025 00:00:00 GMT', nowMs), 0);
  assert.equal(retryAfter('soon'), undefined);
  assert.equal(retryAfter('-3'), undefined);
});
