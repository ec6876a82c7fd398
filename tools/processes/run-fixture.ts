/** Real programs as child processes, with or without the preload, in a minimal environment. */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const root = path.join(import.meta.dirname, '..', '..');
const entryPoint = path.join(root, 'dist', 'register.cjs');
const defaultTimeoutMs = 60_000;

export interface FixtureOptions {
  /** From the root of the repository, or absolute. */
  file: string;
  args?: string[];
  /** How dist/register.cjs is loaded; true is '--import'. */
  preload?: boolean | '--import' | '--require';
  /** Flags of Node itself, such as --watch. */
  nodeArgs?: string[];
  /** Variables in addition to PATH and HOME. The child inherits no others, such as OTEL_*. */
  env?: Record<string, string>;
  /** Path of Node; this process' own by default. */
  nodePath?: string;
  /** The root of the repository by default. */
  cwd?: string;
  /** After this time the child is killed and the run fails with the child's output. */
  timeoutMs?: number;
}

export interface FixtureResult {
  stdout: string;
  stderr: string;
  /** null when a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningFixture {
  readonly pid: number;
  /** Resolves with the match once stdout matches; rejects when the child ends without one. */
  waitForStdout(pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
  /** Rejects when the child cannot be started or exceeds its time limit. */
  readonly ended: Promise<FixtureResult>;
}

/** Runs a program until it exits; `kill` sends a signal, at once or when stdout matches. */
export async function runFixture({
  kill,
  ...options
}: FixtureOptions & {
  kill?: { signal: NodeJS.Signals; afterStdout?: RegExp };
}): Promise<FixtureResult> {
  const fixture = startFixture(options);
  if (kill?.afterStdout !== undefined) await fixture.waitForStdout(kill.afterStdout);
  if (kill !== undefined) fixture.kill(kill.signal);
  return fixture.ended;
}

/** Starts a program to interact with. */
export function startFixture(options: FixtureOptions): RunningFixture {
  const {
    file,
    args = [],
    preload = false,
    nodeArgs = [],
    env = {},
    cwd = root,
    timeoutMs = defaultTimeoutMs,
  } = options;
  const flags = {
    '--import': ['--import', pathToFileURL(entryPoint).href],
    '--require': ['--require', entryPoint],
    none: [],
  }[preload === true ? '--import' : preload || 'none'];
  const child = spawn(
    options.nodePath ?? process.execPath,
    [...flags, ...nodeArgs, path.resolve(root, file), ...args],
    {
      cwd,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const output = collectOutput(child);

  // An aborted test run must not leave programs behind.
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const ended = new Promise<FixtureResult>((resolve, reject) => {
    let late = false;
    const deadline = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    const settle = () => {
      clearTimeout(deadline);
      process.off('exit', killAtExit);
    };
    child.once('error', (error) => {
      settle();
      reject(error);
    });
    // 'close', not 'exit': only then has all output been read.
    child.once('close', (code, signal) => {
      settle();
      const { stdout, stderr } = output;
      if (late)
        reject(
          new Error(`${file} did not end within ${timeoutMs} ms.\nstdout: ${stdout}\nstderr: ${stderr}`),
        );
      else resolve({ stdout, stderr, code, signal });
    });
  });
  // A caller that awaits stdout first gets that failure, not an unhandled rejection of this promise.
  ended.catch(() => {});

  return {
    pid: child.pid ?? -1,
    kill: (signal) => child.kill(signal),
    ended,
    waitForStdout: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output.stdout);
          if (match === null) return;
          child.stdout?.off('data', look);
          resolve(match);
        };
        child.stdout?.on('data', look);
        look();
        ended.then(
          ({ code, signal, stderr }) =>
            reject(
              new Error(
                `${file} ended (${signal ?? code}) before its stdout fitted ${pattern}.\nstdout: ${output.stdout}\nstderr: ${stderr}`,
              ),
            ),
          reject,
        );
      }),
  };
}

function collectOutput(child: ChildProcess): { stdout: string; stderr: string } {
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  return output;
}
