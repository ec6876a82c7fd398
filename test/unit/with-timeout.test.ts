import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { settlesWithin } from '../../src/shutdown/with-timeout.ts';

test('a late promise is not awaited', async () => {
  const beganMs = performance.now();
  await settlesWithin(50, new Promise(() => {}));
  assert.ok(performance.now() - beganMs >= 45);
});

test('an answer that arrives while the event loop is blocked counts, even after the limit', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {}).write('answer')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
  t.after(() => {
    socket.destroy();
    server.close();
  });
  // The answer has arrived, but is not read yet.
  await sleep(100);
  // The event loop runs the timers next, before the sockets.
  await new Promise(setImmediate);
  const answered = once(socket.resume(), 'data');
  let isAnswered = false;
  answered.then(() => {
    isAnswered = true;
  });
  const waited = settlesWithin(20, answered);
  const untilMs = performance.now() + 100;
  while (performance.now() < untilMs);
  await waited;
  assert.ok(isAnswered);
});
