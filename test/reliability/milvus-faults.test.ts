/** A real Milvus is unreachable, hangs, dies and returns: the app sees the same, and spans record it. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../tools/processes/free-ports.ts';
import type { RunningFixture } from '../../tools/processes/run-fixture.ts';
import { startGate } from '../../tools/reliability/collectors.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { useRuns } from '../preload/runs.ts';

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
  // One fixed address: the server takes other ports each time.
  const gate = await startGate(await freePort());
  stops.push(() => gate.stop());
  await gate.stop();

  const file = 'test/fixtures/milvus-comes-and-goes.mjs';
  const env = { MILVUS_ADDRESS: `127.0.0.1:${gate.port}` };
  const timeoutMs = 180_000;
  const traced = runs.start({ file, env: { ...env, OTEL_BSP_SCHEDULE_DELAY: '100' }, timeoutMs });
  const untraced = runs.start({ file, env, timeoutMs, preload: false, service: null });
  const both: RunningFixture[] = [traced, untraced];
  for (const app of both) stops.push(() => app.kill('SIGKILL'));

  const output = async (what: string) => {
    const lines = await Promise.all(
      both.map(async (app) => (await app.waitForStdout(new RegExp(`^${what}: (.*)\n`, 'm')))[1] ?? ''),
    );
    assert.equal(lines[0], lines[1], `${what}, with and without the preload`);
    return lines[0];
  };
  let calls = 0;
  const call = () => {
    for (const app of both) app.kill('SIGUSR2');
    return output(`call ${++calls}`);
  };
  const isCall = (span: ReceivedSpan) =>
    span.service === traced.service && span.name.startsWith('showCollections');
  const callSpans = (spans: ReceivedSpan[]) => spans.filter(isCall).sort((a, b) => a.startMs - b.startMs);

  /**
   * Calls until one succeeds: a client waits between its attempts to reconnect. Then the server's spans
   * of that call are there.
   */
  const callUntilWell = async () => {
    const deadlineMs = performance.now() + 60_000;
    for (let well = false; !well; await sleep(300)) {
      for (const app of both) app.kill('SIGUSR2');
      calls++;
      const outcomes = await Promise.all(
        both.map(async (app) => (await app.waitForStdout(new RegExp(`^call ${calls}: (.*)\n`, 'm')))[1]),
      );
      well = outcomes.every((outcome) => outcome === 'well');
      assert.ok(well || performance.now() < deadlineMs, `no call succeeded within a minute: ${outcomes[0]}`);
    }
    // showCollections └─ standalone: MilvusService/ShowCollections
    await runs.receiver.waitForSpans((spans) => {
      const span = callSpans(spans)[calls - 1];
      return spans.some(
        ({ service, name, parentSpanId }) =>
          service === 'standalone' && name.endsWith('/ShowCollections') && parentSpanId === span?.spanId,
      );
    }, 20_000);
  };

  assert.match((await output('connect')) ?? '', /./);
  assert.match((await call()) ?? '', / 14: | 4: /);

  const first = await startServer();
  await gate.reopen(first.port);
  await callUntilWell();

  process.kill(first.pid, 'SIGSTOP');
  // All of its threads: that takes a moment.
  await sleep(500);
  const hung = await call();
  assert.match(hung ?? '', / 4: /);
  process.kill(first.pid, 'SIGCONT');
  await callUntilWell();

  await first.stop();
  await gate.stop();
  assert.match((await call()) ?? '', / 14: | 4: /);
  const second = await startServer();
  await gate.reopen(second.port);
  await callUntilWell();

  for (const app of both) app.kill('SIGTERM');
  const [tracedEnd, untracedEnd] = await Promise.all([traced.ended, untraced.ended]);
  const comparable = ({ stderr, code, signal }: typeof tracedEnd) => ({ stderr, code, signal });
  assert.deepEqual(comparable(tracedEnd), comparable(untracedEnd));

  // showCollections ERROR, showCollections └─ standalone, showCollections ERROR, …
  const spans = callSpans(
    await runs.receiver.waitForSpans((received) => received.filter(isCall).length >= calls, 10_000),
  );
  assert.equal(spans.length, calls);
  const outcomes = [...tracedEnd.stdout.matchAll(/^call \d+: (.*)$/gm)].map(([, outcome]) => outcome ?? '');
  for (const [index, { status, attributes }] of spans.entries()) {
    const outcome = outcomes[index] ?? '';
    const code = / (\d+): /.exec(outcome)?.[1];
    assert.equal(status.code, outcome === 'well' ? 'UNSET' : 'ERROR', `call ${index + 1}: ${outcome}`);
    if (outcome !== 'well')
      assert.equal(attributes['error.type'], code === '4' ? 'DEADLINE_EXCEEDED' : 'UNAVAILABLE', outcome);
  }
});
