/** A real Milvus that is away, hangs, dies and comes back: the app sees what it sees without us, and the spans say so. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Milvus, startMilvus } from '../../scripts/milvus.ts';
import type { ReceivedSpan } from '../../scripts/receiver.ts';
import { useRuns } from '../preload/runs.ts';
import type { RunningFixture } from '../support/run-fixture.ts';
import { freePort, startGate } from './collectors.ts';

const runs = useRuns();

const stops: (() => unknown)[] = [];
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

async function startServer(): Promise<Milvus & { port: number }> {
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${runs.receiver.grpcPort}` });
  stops.push(() => milvus.stop());
  return { ...milvus, port: Number(milvus.address.split(':')[1]) };
}

test('a Milvus that is down at the start, hangs, is killed and restarted', async () => {
  // One address for all of it: the server takes other ports each time.
  const gate = await startGate(await freePort());
  stops.push(() => gate.stop());
  await gate.stop();

  const file = 'test/fixtures/milvus-comes-and-goes.mjs';
  const env = { MILVUS_ADDRESS: `127.0.0.1:${gate.port}` };
  const timeoutMs = 180_000;
  const traced = runs.start({ file, env, timeoutMs });
  const untraced = runs.start({ file, env, timeoutMs, preload: false, service: null });
  const both: RunningFixture[] = [traced, untraced];

  const said = async (what: string) => {
    const lines = await Promise.all(
      both.map(async (app) => (await app.waitForStdout(new RegExp(`^${what}: (.*)\n`, 'm')))[1] ?? ''),
    );
    assert.equal(lines[0], lines[1], `${what}, with and without the preload`);
    return lines[0];
  };
  let calls = 0;
  const call = () => {
    for (const app of both) app.kill('SIGUSR2');
    return said(`call ${++calls}`);
  };
  /** Calls until it goes well: a client waits between its attempts to connect again. Gives the number of that call. */
  const callUntilWell = async () => {
    for (const deadlineMs = performance.now() + 60_000; performance.now() < deadlineMs; await sleep(500)) {
      for (const app of both) app.kill('SIGUSR2');
      calls++;
      const outcomes = await Promise.all(
        both.map(async (app) => (await app.waitForStdout(new RegExp(`^call ${calls}: (.*)\n`, 'm')))[1]),
      );
      if (outcomes.every((outcome) => outcome === 'well')) return calls;
    }
    throw new Error(`no call went well within a minute, of ${calls}`);
  };

  assert.match((await said('connect')) ?? '', /./);
  assert.match((await call()) ?? '', / 14: | 4: /);

  const first = await startServer();
  await gate.reopen(first.port);
  const wellAfterStart = await callUntilWell();

  process.kill(first.pid, 'SIGSTOP');
  // All of its threads: that takes a moment.
  await sleep(500);
  const hung = await call();
  assert.match(hung ?? '', / 4: /);
  process.kill(first.pid, 'SIGCONT');
  const wellAfterHanging = await callUntilWell();

  await first.stop();
  await gate.stop();
  assert.match((await call()) ?? '', / 14: | 4: /);
  const second = await startServer();
  await gate.reopen(second.port);
  const wellAfterRestart = await callUntilWell();

  for (const app of both) app.kill('SIGTERM');
  const [tracedEnd, untracedEnd] = await Promise.all([traced.ended, untraced.ended]);
  const comparable = ({ stderr, code, signal }: typeof tracedEnd) => ({ stderr, code, signal });
  assert.deepEqual(comparable(tracedEnd), comparable(untracedEnd));

  // showCollections (ERROR) … showCollections └─ standalone: ShowCollections … (ERROR) … └─ …
  const isCall = (span: ReceivedSpan) =>
    span.service === traced.service && span.name.startsWith('showCollections');
  const spans = await runs.receiver.waitForSpans(
    (received) => received.filter(isCall).length === calls,
    10_000,
  );
  const callSpans = spans.filter(isCall).sort((a, b) => a.startMs - b.startMs);
  const outcomes = [...tracedEnd.stdout.matchAll(/^call \d+: (.*)$/gm)].map(([, outcome]) => outcome);
  for (const [index, span] of callSpans.entries()) {
    const well = outcomes[index] === 'well';
    assert.equal(span.status.code, well ? 'UNSET' : 'ERROR', `call ${index + 1}: ${outcomes[index]}`);
    if (!well) assert.match(String(span.attributes['error.type']), /^(UNAVAILABLE|DEADLINE_EXCEEDED|\w+)$/);
  }
  for (const number of [wellAfterStart, wellAfterHanging, wellAfterRestart]) {
    const span = callSpans[number - 1];
    const children = spans.filter(({ parentSpanId }) => parentSpanId === span?.spanId);
    assert.ok(
      children.some(({ service, name }) => service === 'standalone' && name.endsWith('/ShowCollections')),
      `call ${number} is not joined with the server's spans`,
    );
  }
});
