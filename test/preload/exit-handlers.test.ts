/**
 * Spans that the app ends in its handlers of 'exit', handlers that it removes, and signals beyond SIGTERM,
 * SIGINT and SIGHUP.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { FixtureResult } from '../../tools/processes/run-fixture.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/exit-spans.mjs';
const env = { OTEL_NODE_FLUSH_TIMEOUT: '10000' };
const timeoutMs = 60_000;

const names = async (service: string, count: number) =>
  (await runs.spans(service, count)).map(({ name }) => name).sort();

const IN_HANDLERS = ['early', 'late', 'root'];

describe('spans that end in exit handlers arrive, and the exit stays the same:', {
  concurrency: 2,
}, () => {
  const ways: Record<string, string[]> = {
    drain: IN_HANDLERS,
    exit: IN_HANDLERS,
    throw: IN_HANDLERS,
    reject: IN_HANDLERS,
    'handler-throws': IN_HANDLERS,
    'handler-exits': IN_HANDLERS,
    'before-exit': ['early', 'late', 'later', 'root'],
    // These also remove the app's handlers.
    'handlers-removed': ['early'],
    'handlers-removed-exit': ['early'],
    'handlers-removed-throw': ['early'],
    'all-removed-exit': ['early'],
  };
  for (const [way, expected] of Object.entries(ways)) {
    test(way, async () => {
      const [untraced, { service, ...traced }] = await Promise.all([
        runs.run({ file, args: [way], preload: false, service: null, timeoutMs }),
        runs.run({ file, args: [way], env, timeoutMs }),
      ]);
      // Node calls one handler from another line of its code than several.
      const comparable = ({ stdout, stderr, code, signal }: FixtureResult) => ({
        stdout,
        stderr: stderr.replace(/\(node:[^)]*\)/g, '(node)'),
        code,
        signal,
      });
      assert.deepEqual(comparable(traced), comparable(untraced));
      assert.deepEqual(await names(service, expected.length), expected);
    });
  }
});

describe('a signal whose default ends the process does so after its spans are sent:', {
  concurrency: 2,
}, () => {
  for (const signal of ['SIGUSR2', 'SIGQUIT'] as const) {
    test(signal, async () => {
      const kill = { signal, afterStdout: /ready/ };
      const result = await runs.run({ file, args: ['wait'], env, kill, timeoutMs });
      const { service, ...own } = result;
      assert.deepEqual(own, { stdout: 'ready\n', stderr: '', code: null, signal });
      assert.deepEqual(await names(service, 1), ['early']);
    });
  }
});

describe('a signal that Node uses for something else is left to it:', { concurrency: 2 }, () => {
  for (const [what, flags, written] of [
    ['a heap snapshot', ['--heapsnapshot-signal=SIGUSR2'], /\.heapsnapshot$/],
    ['a report', ['--report-on-signal'], /^report\..*\.json$/],
    ['a report at another signal', ['--report-on-signal', '--report-signal=SIGQUIT'], /^report\..*\.json$/],
  ] as const) {
    test(what, async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-signal-'));
      try {
        const { service, ...own } = await runs.run({
          file,
          args: ['wait-for-line'],
          nodeArgs: [...flags],
          cwd: folder,
          env,
          kill: { signal: flags.length === 2 ? 'SIGQUIT' : 'SIGUSR2', afterStdout: /ready/ },
          timeoutMs,
        });
        assert.deepEqual(
          { ...own, stderr: '' },
          { stdout: 'ready\nstill there\n', stderr: '', code: 0, signal: null },
        );
        assert.equal((await readdir(folder)).filter((name) => written.test(name)).length, 1);
        assert.deepEqual(await names(service, 3), IN_HANDLERS);
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });
  }
});
