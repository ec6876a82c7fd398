/** Runs of the doctor as users start it, its report read back. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, type TestContext } from 'node:test';
import { type StubMilvus, startStubMilvus } from '../../bench/stub-milvus.ts';
import type { CheckId, Finding, Report, Stage } from '../../src/doctor/finding.ts';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';

const root = path.join(import.meta.dirname, '../..');

export interface DoctorRun {
  report: Report;
  stdout: string;
  stderr: string;
  code: number | null;
  /** From the start of the process to its exit. */
  tookMs: number;
}

export interface DoctorOptions {
  args?: string[];
  /** After `--`. */
  command?: string[];
  env?: Record<string, string>;
  /** The app's folder; the root of the repository when not given. */
  cwd?: string;
}

/** With --json, so that tests read the same output as scripts. */
export async function runDoctor({ args = [], command, env, cwd = root }: DoctorOptions): Promise<DoctorRun> {
  const startedMs = performance.now();
  const { stdout, stderr, code } = await runFixture({
    file: 'bin/milvus-otel.cjs',
    args: ['doctor', '--json', ...args, ...(command === undefined ? [] : ['--', ...command])],
    env: { OTEL_SERVICE_NAME: 'doctored', ...env },
    cwd,
  });
  const tookMs = performance.now() - startedMs;
  assert.match(stdout, /^\{.*\}\n$/, `not one line of JSON: ${stdout}\n${stderr}`);
  return { report: JSON.parse(stdout) as Report, stdout, stderr, code, tookMs };
}

/** Healthy servers and a folder, so that only the subject of a test is broken. Ready only inside tests. */
export interface Surroundings {
  receiver: Receiver;
  milvus: StubMilvus;
  /** For the files of the tests; removed after them. */
  folder: string;
}

/** Called once at the top of a test file: starts all of it before its tests, stops all of it after them. */
export function useSurroundings(): Surroundings {
  const started = {} as Surroundings;
  before(async () => {
    await ensureDist();
    [started.receiver, started.milvus] = await Promise.all([startReceiver(), startStubMilvus()]);
    started.folder = await mkdtemp(path.join(tmpdir(), 'doctor-test-'));
  });
  after(async () => {
    await started.receiver?.stop();
    await started.milvus?.stop();
    await rm(started.folder, { recursive: true, force: true });
  });
  return started;
}

/** Accepts every connection and never answers, until the end of the test. */
export async function startSilent(t: TestContext): Promise<{ address: string; server: Server }> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    t.after(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

export function findingOf({ stages }: Report, id: CheckId): Finding | undefined {
  return stages.flatMap(({ findings }) => findings).find((finding) => finding.id === id);
}

/** The verdict names this check, no earlier stage has a failure, and the exit code is that of a failure. */
export function assertBroken({ report, code }: DoctorRun, id: CheckId, text: RegExp): void {
  const shown = JSON.stringify(report, null, 1);
  assert.equal(report.verdict.id, id, shown);
  const stage = id.slice(0, id.indexOf('.')) as Stage;
  assert.equal(report.verdict.stage, stage, shown);
  assert.match(report.verdict.text, text);
  assert.ok(report.verdict.fix, `no fix: ${shown}`);
  assert.equal(report.sound, false);
  assert.equal(report.exitCode, 1);
  assert.equal(code, 1);
  for (const before of report.stages.slice(
    0,
    report.stages.findIndex((one) => one.stage === stage),
  ))
    assert.notEqual(before.status, 'failure', shown);
}
