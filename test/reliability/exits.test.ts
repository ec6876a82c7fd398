/** Every exit of a process is the same as without the preload, and its ended spans arrive. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FixtureResult } from '../../tools/processes/run-fixture.ts';
import { EXITS, type Exit, exitBySignal } from '../../tools/reliability/exits.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type RunOptions, useRuns } from '../preload/runs.ts';

const runs = useRuns();

/** The spans must arrive; a busy machine may need longer than the default. */
const patience = { OTEL_NODE_FLUSH_TIMEOUT: '10000' };

/** Like run() of runs.ts; sends the signal of the exit. */
async function runExit(exit: Exit, options: Partial<RunOptions> = {}) {
  const env = { ...patience, ...options.env };
  const fixture = runs.start({ file: exit.file, args: exit.args, timeoutMs: 120_000, ...options, env });
  await exitBySignal(fixture, exit);
  return { service: fixture.service, ...(await fixture.ended) };
}

/** Positions inside Node's own files differ: it calls one listener from another line than several. */
const comparable = ({ stdout, stderr, code, signal }: FixtureResult) => ({
  stdout,
  stderr: stderr.replace(/\(node:[^)]*\)/g, '(node)'),
  code,
  signal,
});

/** The number of searches of the service that have arrived, each once; waits up to 10 s for `count`. */
async function arrivedSearches(service: string, count: number): Promise<number> {
  const of = (spans: ReceivedSpan[]) =>
    spans.filter((span) => span.service === service && span.name === 'search quick_setup');
  const deadlineMs = performance.now() + 10_000;
  while (of(runs.receiver.spans()).length < count && performance.now() < deadlineMs) await sleep(50);
  return of(runs.receiver.spans()).length;
}

describe('exit code, signal, stdout and stderr are the app’s, and all spans arrive:', {
  concurrency: 3,
}, () => {
  for (const exit of EXITS.filter(({ sudden }) => sudden !== true)) {
    test(exit.what, async () => {
      const [untraced, traced] = await Promise.all([
        runExit(exit, { preload: false, service: null }),
        runExit(exit),
      ]);
      assert.deepEqual(comparable(traced), comparable(untraced));
      const expected = 20 + (exit.moreSearches ?? 0);
      assert.equal(await arrivedSearches(traced.service, expected), expected);
    });
  }
});

describe('a sudden exit is the same as without the preload, whether or not spans arrive:', {
  concurrency: 3,
}, () => {
  for (const exit of EXITS.filter(({ sudden }) => sudden === true)) {
    test(exit.what, async () => {
      const [untraced, traced] = await Promise.all([
        runExit(exit, { preload: false, service: null }),
        runExit(exit),
      ]);
      // abort() prints addresses.
      const ignoring = (result: FixtureResult) => ({ ...comparable(result), stderr: '' });
      assert.deepEqual(ignoring(traced), ignoring(untraced));
    });
  }
});

test('a signal that a preload before ours handles is handled once, by it alone', async () => {
  const exit: Exit = {
    what: '',
    file: 'test/fixtures/exits.mjs',
    args: ['wait'],
    signal: 'SIGTERM',
  };
  const env = { NODE_OPTIONS: '--import ./test/fixtures/earlier-preload.mjs' };
  const [untraced, traced] = await Promise.all([
    runExit(exit, { preload: false, service: null, env }),
    runExit(exit, { env }),
  ]);
  assert.equal(untraced.code, 7);
  assert.deepEqual(comparable(traced), comparable(untraced));
  assert.equal(await arrivedSearches(traced.service, 20), 20);
});

describe('in the middle of a burst', { concurrency: 2 }, () => {
  const file = 'test/fixtures/exits.mjs';

  for (const way of ['burst-exit', 'burst-throw']) {
    test(`${way}: every search that was answered arrives, of 1,000 in flight`, async () => {
      const [untraced, traced] = await Promise.all([
        runs.run({ file, args: [way], preload: false, service: null }),
        runs.run({ file, args: [way], env: patience }),
      ]);
      assert.deepEqual(comparable(traced), comparable(untraced));
      const arrived = await arrivedSearches(traced.service, 220);
      assert.ok(arrived >= 220, `${arrived} of 220`);
    });
  }

  test('SIGTERM: every search that was answered arrives, while the app goes on searching', async () => {
    const fixture = runs.start({ file, args: ['burst-wait'], env: patience });
    await fixture.waitForStdout(/answered 500\n/);
    fixture.kill('SIGTERM');
    const { stdout, stderr, code, signal } = await fixture.ended;
    assert.deepEqual({ stderr, code, signal }, { stderr: '', code: null, signal: 'SIGTERM' });
    const answered = 20 + Number(/(\d+)\n$/.exec(stdout)?.[1]);
    const arrived = await arrivedSearches(fixture.service, answered);
    assert.ok(arrived >= answered, `${arrived} of ${answered}`);
  });
});

describe('twenty spans of a program that exits within 50 ms of its start arrive:', { concurrency: 2 }, () => {
  for (const way of ['drain', 'exit', 'throw']) {
    test(way, async () => {
      const file = 'test/fixtures/short-life.mjs';
      const [untraced, traced] = await Promise.all([
        runs.run({ file, args: [way], preload: false, service: null }),
        runs.run({ file, args: [way], env: patience }),
      ]);
      assert.deepEqual(comparable(traced), comparable(untraced));
      const names = (await runs.spans(traced.service, 20)).map(({ name }) => name);
      assert.deepEqual(
        names,
        Array.from({ length: 20 }, (_, index) => `step ${index}`),
      );
    });
  }
});
