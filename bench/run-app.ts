import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { measuredEnvironment } from './environment.ts';
import { telemetryEnvironment, type Variant } from './variants.ts';

/** CPU time in ms of the calls of one pair at one point, with and without spans. */
export interface Slice {
  traced: number;
  untraced: number;
}

/** The cost of one run of an app, including its preload and its last flush. */
export interface Cost {
  /** From spawn to exit. */
  wallMs: number;
  /** User and system time of all threads of the app's process. */
  cpuMs: number;
  /**
   * The same from the kernel after the exit: includes work after the `exit` event and child processes. In
   * steps of 10 ms; undefined without /proc.
   */
  wholeCpuMs?: number;
  peakMiB: number;
  /** Searches with the expected answer; only from the program that searches. */
  answered?: number;
  /** From the program that measures memory: peak of heap and buffers, and their part in use at the end. */
  heapPeakMiB?: number;
  keptMiB?: number;
  /**
   * From the program whose work grows: slices of calls by series, point and pair, and the number of calls
   * with a span.
   */
  sliceCpuMs?: Slice[][][];
  traced?: number;
  /**
   * From the program that searches: CPU time of the first searches, and the cost at the start of each slice.
   */
  firstCpuMs?: number;
  slicesBegan?: Pick<Cost, 'cpuMs' | 'peakMiB'>[];
  /** From the program that times its searches, one each. */
  latenciesMs?: number[];
}

export interface RunningApp {
  pid: number | undefined;
  /** Resolves when the program waits for its next `go`; rejects when it exits instead. */
  ready(): Promise<void>;
  go(): void;
  /**
   * Its cost, after a successful exit. Rejects when it failed, hung or reported nothing, with the end of
   * stderr.
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

// A preload that hangs at exit must not block the bench. Apps that take turns live as long as all of them
// need.
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
  /** Time limit after which the app is killed; 2 minutes by default. */
  deadlineMs?: number;
}

let lastSeenCpuMs: number | undefined;

/** Starts bench/programs/`program` under `variant`; when `signal` aborts, the app is killed. */
export function startApp(variant: Variant, program: Program, options: AppOptions): RunningApp {
  options.signal.throwIfAborted();
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const imports = [...(options.imports ?? []), ...(variant.preload ? [variant.preload] : [])];
  const preloads = imports.flatMap((specifier) => ['--import', specifier]);
  // The kernel updates it when a child exits, so apps that run together each see their own difference.
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
  // An abort is also an error event, and a write to a dead app is an error of stdin; the exit reports both.
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
  // A caller that awaits `ready` gets an early exit there.
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

/** CPU time of all ended children of this process and their children, in ms; undefined without /proc. */
function cpuOfEnded(): number | undefined {
  try {
    // The program's name, in parentheses, may contain blanks. The kernel counts in 10 ms.
    const fields = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  } catch {
    return undefined;
  }
}
