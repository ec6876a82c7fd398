/** Runs of the doctor as users start it, its report read back. */
import assert from 'node:assert/strict';
import path from 'node:path';
import type { CheckId, Finding, Hop, Report } from '../../src/doctor/finding.ts';
import { runFixture } from '../support/run-fixture.ts';

const root = path.join(import.meta.dirname, '../..');

export interface DoctorRun {
  report: Report;
  stdout: string;
  stderr: string;
  code: number | null;
  /** From the start of the process to its end. */
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

/** With --json, so that what is asserted is what scripts read. */
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

export function findingOf({ hops }: Report, id: CheckId): Finding | undefined {
  return hops.flatMap(({ findings }) => findings).find((finding) => finding.id === id);
}

/** The verdict names this check, no hop before it has a failure, and the exit code says that something is broken. */
export function assertBroken({ report, code }: DoctorRun, id: CheckId, seen: RegExp): void {
  const shown = JSON.stringify(report, null, 1);
  assert.equal(report.verdict.id, id, shown);
  const hop = id.slice(0, id.indexOf('.')) as Hop;
  assert.equal(report.verdict.hop, hop, shown);
  assert.match(report.verdict.text, seen);
  assert.ok(report.verdict.cure, `no cure: ${shown}`);
  assert.equal(report.sound, false);
  assert.equal(report.exitCode, 1);
  assert.equal(code, 1);
  for (const before of report.hops.slice(
    0,
    report.hops.findIndex((one) => one.hop === hop),
  ))
    assert.notEqual(before.status, 'failure', shown);
}
