/** Starts the sending process at exit and reads its answers; a thread replaces a process that cannot send. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import childProcess, { type SpawnSyncReturns } from 'node:child_process';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import tls from 'node:tls';
import workerThreads from 'node:worker_threads';
import { readSettings } from '../../src/config/settings.ts';
import { tracesTarget } from '../../src/otlp/target.ts';
import type { LastRequest } from '../../src/shutdown/sender-process.ts';
import type { Failure, Outcome } from '../../src/shutdown/sending-rounds.ts';
import type { ThreadInput } from '../../src/shutdown/sending-thread.ts';
import { sendNow } from '../../src/shutdown/synchronous-flush.ts';

const BODIES = ['first', 'second'].map((text) => Buffer.from(text));
const TARGET = tracesTarget(readSettings({}));
const TLS_TARGET = tracesTarget(readSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector:4317' }));
const accepted = (index: number): Outcome => ({ index, failure: null });
const refused = (index: number, reason = 'HTTP status 400'): Outcome => ({ index, failure: { reason } });

interface Started {
  args: readonly string[];
  request: LastRequest;
  body: string;
  timeoutMs: number;
  env: NodeJS.ProcessEnv;
}

let processes: Started[] = [];
let threads: { execArgv: string[]; input: ThreadInput }[] = [];

/** For each started process, its lines on stdout, or the error of the start. */
function processesAnswer(...answers: (string | Outcome[] | Error)[]): void {
  mock.method(childProcess, 'spawnSync', (_path: string, args: string[], options: never) => {
    const { input, timeout, env } = options as { input: Buffer; timeout: number; env: NodeJS.ProcessEnv };
    const line = input.indexOf(10);
    processes.push({
      args,
      request: JSON.parse(input.toString('utf8', 0, line)),
      body: input.toString('utf8', line + 1),
      timeoutMs: timeout,
      env,
    });
    const answer = answers.shift() ?? assert.fail('one process too many');
    if (answer instanceof Error && !('code' in answer)) throw answer;
    const lines = answer instanceof Error ? '' : typeof answer === 'string' ? answer : lineOf(answer);
    return {
      stdout: Buffer.from(lines),
      error: answer instanceof Error ? answer : undefined,
    } as SpawnSyncReturns<Buffer>;
  });
}

const lineOf = (outcomes: Outcome[]) => outcomes.map((outcome) => `${JSON.stringify(outcome)}\n`).join('');
const failure = (code: string) => Object.assign(new Error(`spawnSync ${code}`), { code });

/** Outcomes that each thread posts before it exits; undefined for a thread that never exits. */
function threadsAnswer(outcomes: Outcome[] | undefined, invalidFlag?: string): void {
  class Worker {
    constructor(_file: string, options: { execArgv: string[]; workerData: ThreadInput }) {
      threads.push({ execArgv: options.execArgv, input: options.workerData });
      if (invalidFlag !== undefined && options.execArgv.some((flag) => flag === invalidFlag))
        throw Object.assign(new Error(`invalid: ${invalidFlag}`), { code: 'ERR_WORKER_INVALID_EXEC_ARGV' });
      const { port, posted } = options.workerData;
      for (const message of outcomes === undefined ? [] : [...outcomes, null]) {
        port.postMessage(message);
        Atomics.add(posted, 0, 1);
      }
    }

    unref(): void {}
  }
  mock.property(workerThreads, 'Worker', Worker as never);
}

const reasons = (failures: (Failure | null)[]) => failures.map((each) => each?.reason);

beforeEach(() => {
  processes = [];
  threads = [];
});
afterEach(() => {
  mock.restoreAll();
  delete process.env.MILVUS_OTEL_SENDING;
});

describe('a sending process', () => {
  test('gets the target, the concatenated bodies, the remaining time, and no preload', () => {
    processesAnswer([accepted(0), accepted(1)]);
    process.env.NODE_OPTIONS = '--import milvus-otel/register --use-openssl-ca';
    try {
      assert.deepEqual(sendNow(TARGET, BODIES, 700, 1_000), [null, null]);
    } finally {
      delete process.env.NODE_OPTIONS;
    }
    const [{ args, request, body, timeoutMs, env }] = processes as [Started];
    assert.deepEqual([request.target.url, request.lengths, body], [TARGET.url, [5, 6], 'firstsecond']);
    assert.ok(timeoutMs > 600 && timeoutMs <= 700, `${timeoutMs} ms`);
    assert.match(args.at(-1) ?? '', /sender-process\.cjs$/);
    assert.ok(
      args.includes('--use-openssl-ca') && args.some((flag) => flag.startsWith('--dns-result-order=')),
    );
    assert.deepEqual([env.NODE_OPTIONS, env.MILVUS_OTEL_SENDING], [undefined, '1']);
  });

  test('reports one outcome per body, in any order', () => {
    processesAnswer([refused(1), accepted(0)]);
    assert.deepEqual(sendNow(TARGET, BODIES, 700, 1_000), [null, { reason: 'HTTP status 400' }]);
  });

  test('that the time limit stops keeps the outcomes so far; the other reasons name the configured limit', () => {
    mock.method(childProcess, 'spawnSync', () => ({
      stdout: Buffer.from(`${lineOf([accepted(0)])}{"index":1,"fail`),
      error: failure('ETIMEDOUT'),
    }));
    assert.deepEqual(reasons(sendNow(TARGET, BODIES, 700, 1_000)), [
      undefined,
      'no answer within 1000 ms (OTEL_NODE_FLUSH_TIMEOUT)',
    ]);
  });

  test('that the time limit stops before its first outcome is not replaced with a thread', () => {
    processesAnswer(failure('ETIMEDOUT'));
    threadsAnswer([]);
    assert.match(reasons(sendNow(TARGET, BODIES, 700, 1_000))[0] ?? '', /^no answer within/);
    assert.equal(threads.length, 0);
  });

  test('may print other lines, which are ignored', () => {
    processesAnswer(`Debugger attached.\n${lineOf([accepted(0), accepted(1)])}`);
    assert.deepEqual(sendNow(TARGET, BODIES, 700, 1_000), [null, null]);
  });

  test('does not start another sending process', () => {
    processesAnswer();
    process.env.MILVUS_OTEL_SENDING = '1';
    assert.deepEqual(
      reasons(sendNow(TARGET, BODIES, 700, 1_000)),
      Array(2).fill('this process sends for another one'),
    );
  });
});

describe('a thread sends', () => {
  for (const [why, answer] of [
    ['when processes are not permitted', new Error('Access to this API has been restricted')],
    ['when none can be started', failure('EAGAIN')],
    ['when the process has exited without an outcome', ''],
  ] as const)
    test(why, () => {
      processesAnswer(answer);
      threadsAnswer([accepted(0), refused(1)]);
      assert.deepEqual(reasons(sendNow(TARGET, BODIES, 700, 1_000)), [undefined, 'HTTP status 400']);
      assert.deepEqual(threads[0]?.input.bodies, BODIES);
    });

  test('and when the thread fails too, the reason is that of the process', () => {
    processesAnswer(failure('EAGAIN'));
    threadsAnswer([]);
    assert.deepEqual(reasons(sendNow(TARGET, BODIES, 700, 1_000)), Array(2).fill('spawnSync EAGAIN'));
  });

  test('within the time limit', () => {
    processesAnswer('');
    threadsAnswer(undefined);
    assert.match(reasons(sendNow(TARGET, BODIES, 30, 1_000))[0] ?? '', /^no answer within 1000 ms/);
  });

  test('without the flags that a thread does not accept', () => {
    processesAnswer('');
    const flag = '--dns-result-order=verbatim';
    threadsAnswer([accepted(0), accepted(1)], flag);
    assert.deepEqual(sendNow(TARGET, BODIES, 700, 1_000), [null, null]);
    assert.deepEqual(
      threads.map(({ execArgv }) => execArgv.includes(flag)),
      [true, false],
    );
    assert.equal(threads[1]?.execArgv.length, (threads[0]?.execArgv.length ?? 0) - 1);
  });
});

describe('a certificate that the process does not trust', () => {
  const untrusted = refused(1, 'self-signed certificate. Set OTEL_EXPORTER_OTLP_CERTIFICATE');

  test('gets a second attempt for its bodies, with the authorities that the app trusts', () => {
    mock.method(tls, 'getCACertificates', () => ['PEM']);
    processesAnswer([accepted(0), untrusted], [accepted(0)]);
    assert.deepEqual(sendNow(TLS_TARGET, BODIES, 700, 1_000), [null, null]);
    const [first, second] = processes as [Started, Started];
    assert.deepEqual([first.request.certificates, first.body], [undefined, 'firstsecond']);
    assert.deepEqual([second.request.certificates, second.body], [['PEM'], 'second']);
  });

  test('has the reason of the second attempt when both fail', () => {
    processesAnswer([accepted(0), untrusted], [refused(0, 'still untrusted')]);
    assert.deepEqual(reasons(sendNow(TLS_TARGET, BODIES, 700, 1_000)), [undefined, 'still untrusted']);
  });

  test('gets no second attempt after another failure, or without TLS', () => {
    processesAnswer([accepted(0), refused(1)]);
    sendNow(TLS_TARGET, BODIES, 700, 1_000);
    processesAnswer([accepted(0), untrusted]);
    sendNow(TARGET, BODIES, 700, 1_000);
    assert.equal(processes.length, 2);
  });
});
