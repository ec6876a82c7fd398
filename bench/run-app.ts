import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { measuredEnvironment } from './environment.ts';
import { telemetryEnvironment, type Variant } from './variants.ts';

/** The CPU time in ms of the calls of one pair at one point, with spans and without. */
export interface Slice {
  traced: number;
  untraced: number;
}

/** What one run of an app cost, its preload and its last flush included. */
export interface Cost {
  /** From the spawn to the end of the process. */
  wallMs: number;
  /** User and system time of all threads of the app's process. */
  cpuMs: number;
  /**
   * The same as the kernel has it once the process is gone: what comes after its `exit` event counts too, and
   * so do processes that it started. In steps of 10 ms; undefined where there is no /proc.
   */
  wholeCpuMs?: number;
  peakMiB: number;
  /** Searches that came back as expected; only from the program that searches. */
  answered?: number;
  /**
   * Of the program that looks at its memory: the largest heap with its buffers, and what of them is in use at
   * the end.
   */
  heapPeakMiB?: number;
  keptMiB?: number;
  /**
   * Of the program whose work grows: its slices of calls by series, point and pair, and how many calls of all
   * had a span.
   */
  sliceCpuMs?: Slice[][][];
  traced?: number;
  /**
   * Of the program that searches: CPU time of the first searches of the process, and what it had cost when
   * each slice began.
   */
  firstCpuMs?: number;
  slicesBegan?: Pick<Cost, 'cpuMs' | 'peakMiB'>[];
  /** Of the program that times its searches, each of them. */
  latenciesMs?: number[];
}

export interface RunningApp {
  pid: number | undefined;
  /** Resolves when the program waits for its next `go`; rejects when it ends instead. */
  ready(): Promise<void>;
  go(): void;
  /**
   * What it cost, once it has ended well. Rejects when it failed, hung or reported nothing, with the end of
   * its stderr.
   */
  ended: Promise<Cost>;
}

export type Program =
  | 'nothing.mjs'
  | 'start-up.mjs'
  | 'start-up-web.mjs'
  | 'searches.mjs'
  | 'latencies.mjs'
  | 'memory.mjs'
  | 'growth.mjs';

// A preload that hangs at the end must not hold the bench for ever. Apps that take turns live as long as all
// of them take.
const DEADLINE_MS = 300_000;

export interface AppOptions {
  collector: string;
  signal: AbortSignal;
  env?: Record<string, string>;
  /** Options of Node. */
  flags?: string[];
  /** A program that runs Node, with its arguments. */
  under?: string[];
  /** Loaded before the variant's own preload. */
  imports?: string[];
  /** After this time the app is killed; 2 minutes when not given. */
  deadlineMs?: number;
}

let lastSeenCpuMs: number | undefined;

/** Starts bench/programs/`program` under `variant`; when `signal` aborts, the app is killed. */
export function startApp(variant: Variant, program: Program, options: AppOptions): RunningApp {
  options.signal.throwIfAborted();
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const imports = [...(options.imports ?? []), ...(variant.preload ? [variant.preload] : [])];
  const preloads = imports.flatMap((specifier) => ['--import', specifier]);
  // It grows only when a child ends, so that of apps which run together each finds what it has added itself.
  lastSeenCpuMs = cpuOfEnded();
  const beganMs = performance.now();
  const [command, ...args] = [...(options.under ?? []), process.execPath, ...(options.flags ?? [])];
  const child = spawn(command as string, [...args, ...preloads, program], {
    cwd: variant.folder,
    env: measuredEnvironment({
      ...telemetryEnvironment(options.collector, variant.name),
      ...variant.env,
      ...options.env,
    }),
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([options.signal, AbortSignal.timeout(deadlineMs)]),
    killSignal: 'SIGKILL',
  });
  let wallMs = 0;
  let totalCpuMs: number | undefined;
  child.once('exit', () => {
    wallMs = performance.now() - beganMs;
    const seenMs = cpuOfEnded();
    if (seenMs !== undefined && lastSeenCpuMs !== undefined) totalCpuMs = seenMs - lastSeenCpuMs;
    lastSeenCpuMs = seenMs;
  });
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });
  let report = '';
  const lines = createInterface({ input: child.stdio[3] as Readable });
  lines.on('line', (line) => {
    if (line === 'ready') lines.emit('ready');
    else report = line;
  });
  // An abort also comes as an error, and a write to an app that has died as one of stdin; the end of the app
  // tells both.
  child.on('error', () => {});
  child.stdin?.on('error', () => {});

  const ended = (async () => {
    const ending = await new Promise<string | number | null>((resolve) =>
      child.once('close', (code, signal) => resolve(signal ?? code)),
    );
    options.signal.throwIfAborted();
    if (ending !== 0 || report === '') {
      const how = wallMs >= deadlineMs ? `was killed after ${deadlineMs / 1000} s` : `ended with ${ending}`;
      throw new Error(`${program} under ${variant.preload ?? 'no preload'} ${how}:\n${stderr.trim()}`);
    }
    return { ...(JSON.parse(report) as Cost), wallMs, wholeCpuMs: totalCpuMs };
  })();
  // Whoever waits for `ready` hears of an early end there.
  ended.catch(() => {});
  return {
    pid: child.pid,
    ready: async () => {
      const early = ended.then(() => {
        throw new Error(`${program} under ${variant.preload ?? 'no preload'} exited early`);
      });
      await Promise.race([once(lines, 'ready'), early]);
    },
    go: () => {
      child.stdin?.write('go\n');
    },
    ended,
  };
}

/**
 * CPU time of all children of this process that have ended, and of theirs, in ms; undefined where there is no
 * /proc.
 */
function cpuOfEnded(): number | undefined {
  try {
    // The name of the program, in parentheses, may contain blanks. The kernel counts in hundredths of a
    // second.
    const fields = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  } catch {
    return undefined;
  }
}
