import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { measuredEnvironment } from './environment.ts';
import { telemetryEnvironment, type Variant } from './variants.ts';

/** What one run of an app cost, its preload and its last flush included. */
export interface Cost {
  /** From the spawn to the end of the process. */
  wallMs: number;
  /** User and system time of all threads of the app's process, from where its program says. */
  cpuMs: number;
  peakMiB: number;
  /** Searches that came back with five hits; only from the program that searches. */
  answered?: number;
}

export interface RunningApp {
  /** Resolves when the program waits for its next `go`; rejects when it ends instead. */
  ready(): Promise<void>;
  go(): void;
  /** What it cost, once it has ended well. Rejects when it failed, hung or reported nothing, with the end of its stderr. */
  ended: Promise<Cost>;
}

export type Program = 'start-up.mjs' | 'searches.mjs';

// A preload that hangs at the end must not hold the bench for ever.
const DEADLINE_MS = 120_000;

/**
 * Starts bench/programs/`program` under `variant`; when `signal` aborts, the app is killed. `imports` are loaded before
 * the variant's own preload.
 */
export function startApp(
  variant: Variant,
  program: Program,
  options: { collector: string; env?: Record<string, string>; imports?: string[]; signal: AbortSignal },
): RunningApp {
  options.signal.throwIfAborted();
  const imports = [...(options.imports ?? []), ...(variant.preload ? [variant.preload] : [])];
  const preload = imports.flatMap((specifier) => ['--import', specifier]);
  const beganMs = performance.now();
  const child = spawn(process.execPath, [...preload, program], {
    cwd: variant.folder,
    env: measuredEnvironment({
      ...telemetryEnvironment(options.collector, variant.name),
      ...variant.env,
      ...options.env,
    }),
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([options.signal, AbortSignal.timeout(DEADLINE_MS)]),
    killSignal: 'SIGKILL',
  });
  let wallMs = 0;
  child.once('exit', () => {
    wallMs = performance.now() - beganMs;
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
  // An abort also comes as an error, and a write to an app that has died as one of stdin; the end of the app tells both.
  child.on('error', () => {});
  child.stdin?.on('error', () => {});

  const ended = (async () => {
    const ending = await new Promise<string | number | null>((resolve) =>
      child.once('close', (code, signal) => resolve(signal ?? code)),
    );
    options.signal.throwIfAborted();
    if (ending !== 0 || report === '') {
      const how = wallMs >= DEADLINE_MS ? `was killed after ${DEADLINE_MS / 1000} s` : `ended with ${ending}`;
      throw new Error(`${program} under ${variant.preload ?? 'no preload'} ${how}:\n${stderr.trim()}`);
    }
    return { wallMs, ...JSON.parse(report) } as Cost;
  })();
  // Whoever waits for `ready` hears of an early end there.
  ended.catch(() => {});
  return {
    ready: async () => {
      const early = ended.then(() => {
        throw new Error(`${program} under ${variant.preload ?? 'no preload'} ended before its time`);
      });
      await Promise.race([once(lines, 'ready'), early]);
    },
    go: () => {
      child.stdin?.write('go\n');
    },
    ended,
  };
}
