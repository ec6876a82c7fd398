/** Stage 6: the app itself under the preload, for a while, against a collector inside the doctor. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { howToKeepOutside } from '../instrumentations/external-sdk.ts';
import { appFindings, FILE_VARIABLE, type RecordedEvent } from './app-findings.ts';
import type { Finding } from './finding.ts';
import { startOwnReceiver } from './otlp-receiver.ts';
import { isNextApp } from './runtime.ts';

declare const __dirname: string;

export interface AppOrder {
  command: readonly string[];
  appFolder: string;
  env: NodeJS.ProcessEnv;
  /** Also load the preload, because nothing of the app's does. */
  addPreload: boolean;
  /** stdout is ours: the app's goes to stderr. */
  stdoutTaken: boolean;
  /** After this long it is asked to end. */
  limitMs: number;
  destination: string;
  settingsFailure: string | undefined;
  /** Called when a signal was passed on: somebody wants an end. */
  onSignal(): void;
}

export interface AppEnd {
  findings: Finding[];
  /** The app's own; both null when we ended it, or when it could not be started. */
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Between asking the app to end and killing it. */
const GRACE_MS = 2_500;
/** Exit codes of a shell for "not found" and "not executable". */
const NOT_FOUND = 127;
const FORWARDED = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGCONT',
] as const;

export async function watchApp(order: AppOrder): Promise<AppEnd> {
  const receiver = await startOwnReceiver();
  const folder = mkdtempSync(join(tmpdir(), 'milvus-otel-doctor-'));
  const file = join(folder, 'events.ndjson');
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeFolder);
  try {
    const [program = '', ...args] = order.command;
    const child = spawn(program, args, {
      cwd: order.appFolder,
      env: appEnvironment(order, receiver.port, file),
      stdio: ['inherit', order.stdoutTaken ? 2 : 'inherit', 'inherit'],
    });
    let endedByUs = false;
    let signalled = false;
    const killAtExit = () => child.kill('SIGKILL');
    process.once('exit', killAtExit);
    const forward = (signal: NodeJS.Signals) => {
      signalled = true;
      order.onSignal();
      child.kill(signal);
    };
    for (const signal of FORWARDED) process.on(signal, forward);
    let killer: NodeJS.Timeout | undefined;
    const timer = setTimeout(() => {
      endedByUs = true;
      child.kill('SIGTERM');
      killer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    }, order.limitMs);
    const { code, signal, failure } = await new Promise<{
      code: number | null;
      signal: NodeJS.Signals | null;
      failure?: string;
    }>((resolve) => {
      child.once('error', (error) => resolve({ code: NOT_FOUND, signal: null, failure: error.message }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    clearTimeout(timer);
    clearTimeout(killer);
    process.off('exit', killAtExit);
    for (const name of FORWARDED) process.off(name, forward);
    const end = endFinding({ code, signal, failure, endedByUs, signalled, limitMs: order.limitMs });
    if (failure !== undefined) return { findings: [end], code, signal };
    const facts = {
      events: readEvents(file),
      spans: receiver.spans(),
      howToKeepOutside: howToKeepOutside(isNextApp(order.appFolder)),
      ...order,
    };
    const findings = [...appFindings(facts), end];
    return endedByUs ? { findings, code: null, signal: null } : { findings, code, signal };
  } finally {
    receiver.stop();
    removeFolder();
    process.off('exit', removeFolder);
  }
}

/** The app's own environment, but for where spans go and what is loaded. */
function appEnvironment({ env, addPreload }: AppOrder, port: number, file: string): NodeJS.ProcessEnv {
  const load = (name: string) => `--import ${quoted(pathToFileURL(join(__dirname, name)).href)}`;
  // --require, so that the recorder loads before anything that the app's own options require.
  const recorder = `--require ${quoted(join(__dirname, 'doctor-call-recorder.cjs'))}`;
  const own = env.NODE_OPTIONS ?? '';
  const { OTEL_CONFIG_FILE: _, ...rest } = env;
  return {
    ...rest,
    NODE_OPTIONS: [recorder, addPreload ? load('register.cjs') : '', own].filter(Boolean).join(' '),
    [FILE_VARIABLE]: file,
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc',
    OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: 'none',
    // Headers for the real collector are not for this one, but nor do they leave the machine.
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    // A proxy would be asked for 127.0.0.1 too.
    no_proxy: [env.no_proxy ?? env.NO_PROXY, '127.0.0.1'].filter(Boolean).join(','),
  };
}

/** For NODE_OPTIONS: a blank in a path needs quotes, and a backslash in them another one. */
const quoted = (word: string): string => `"${word.replace(/["\\]/g, '\\$&')}"`;

function readEvents(file: string): RecordedEvent[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  } catch {
    // It was never written: no Node ran.
    return [];
  }
}

interface End {
  code: number | null;
  signal: NodeJS.Signals | null;
  failure: string | undefined;
  endedByUs: boolean;
  signalled: boolean;
  limitMs: number;
}

function endFinding({ code, signal, failure, endedByUs, signalled, limitMs }: End): Finding {
  const id = 'app.end';
  if (failure !== undefined)
    return { id, status: 'failure', found: `the command cannot be run: ${failure}`, fix: '-- node app.js' };
  if (endedByUs)
    return {
      id,
      status: 'ok',
      found: `the doctor stopped the command after ${limitMs / 1_000} s (--for SECONDS sets the time)`,
    };
  const how = signal === null ? `with code ${code}` : `by ${signal}`;
  if (code === 0 || signalled) return { id, status: 'ok', found: `the command exited ${how}` };
  return {
    id,
    status: 'warning',
    found: `the command exited ${how}`,
    fix: 'see its output',
  };
}
