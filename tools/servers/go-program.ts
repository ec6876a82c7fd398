/** Builds real programs for the tests from their Go modules, once, into .cache. */
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimes,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, spawnGuarded } from '../processes/guarded-child.ts';

const progressEveryMs = 15_000;

type Log = (line: string) => void;

export interface GoProgram {
  /** Name in messages: `Jaeger v1.76.0`. */
  title: string;
  /** The program's file name, in the scratch folder and, with version and platform added, in the cache. */
  file: string;
  /** Part of the cached file's name: every change of the program changes it. */
  version: string;
  /** The `go` line of its go.mod: an older Go cannot build it. */
  goNeeded: string;
  /** For the first line of progress: `about 3 minutes on two cores`. */
  takes: string;
  /** Default folder of the built program. */
  cacheDir: string;
  /** Builds `file` in `scratch`, an empty folder in which `go` runs; `go` resolves to its stdout. */
  build(go: (args: string[]) => Promise<string>, scratch: string): Promise<unknown>;
}

export interface GoBuildOptions {
  /** Receives progress, one line at a time, without a line end. */
  log?: Log;
  /** Folder of the built program; by default in .cache of the project. */
  cacheDir?: string;
  /** Environment of `go`; process.env by default. */
  env?: NodeJS.ProcessEnv;
}

/**
 * Path of the program, built when it is not cached, with a line of progress every 15 s. Of several processes,
 * one builds and the others wait. Rejects with the fix when Go is missing or too old or a module cannot be
 * downloaded, and with the end of Go's output when the build fails.
 */
export async function ensureGoProgram(wanted: GoProgram, options: GoBuildOptions = {}): Promise<string> {
  if (process.platform === 'win32') {
    throw new Error(
      `${wanted.title} is started through /bin/sh, which Windows does not have: run this in WSL.`,
    );
  }
  const log: Log = options.log ?? (() => {});
  const cacheDir = options.cacheDir ?? wanted.cacheDir;
  // Platform in the name: the folder may be shared with a container or another machine.
  const program = join(cacheDir, `${wanted.file}-${wanted.version}-${process.platform}-${process.arch}`);
  if (existsSync(program)) return program;

  mkdirSync(cacheDir, { recursive: true });
  const lock = await takeLock(
    join(cacheDir, 'building'),
    () => existsSync(program),
    () => {
      log(`${wanted.title}: another process builds it, waiting`);
    },
  );
  if (lock === undefined) return program;
  try {
    removeAbandonedBuilds(cacheDir);
    const scratch = join(cacheDir, `build-${process.pid}`);
    mkdirSync(scratch);
    try {
      await build(wanted, scratch, options.env ?? process.env, log);
      // Renamed last, so that an existing program is complete.
      renameSync(join(scratch, wanted.file), program);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
  return program;
}

/** Folders of builds that were killed. */
function removeAbandonedBuilds(cacheDir: string): void {
  for (const name of readdirSync(cacheDir)) {
    const pid = /^build-(\d+)$/.exec(name)?.[1];
    const ours = Number(pid) === process.pid;
    if (pid !== undefined && (ours || !isRunning(Number(pid)))) {
      rmSync(join(cacheDir, name), { recursive: true, force: true });
    }
  }
}

/** Builds `scratch`/file. */
async function build(wanted: GoProgram, scratch: string, env: NodeJS.ProcessEnv, log: Log): Promise<void> {
  const startedMs = Date.now();
  const proxy = await checkGo(wanted, scratch, env);
  let downloaded = 0;
  let compiled = 0;
  const go = async (args: string[]) => {
    const run = await runToEnd('go', args, { cwd: scratch, env: { ...env, GOWORK: 'off' } }, (line) => {
      if (line.startsWith('go: downloading ')) downloaded++;
      else if (/^[\w.-]+(\/[\w.-]+)*$/.test(line)) compiled++;
    });
    if (run.code !== 0) throw goFailure(wanted, args, run, proxy);
    return run.stdout;
  };

  log(
    `${wanted.title}: building it from its Go module into ${relative(process.cwd(), join(scratch, '..')) || '.'} ` +
      `(once, ${wanted.takes})`,
  );
  const progress = setInterval(() => {
    const seconds = Math.round((Date.now() - startedMs) / 1000);
    log(`${wanted.title}: ${seconds} s, ${downloaded} modules downloaded, ${compiled} packages compiled`);
  }, progressEveryMs);
  try {
    await wanted.build(go, scratch);
  } finally {
    clearInterval(progress);
  }
  log(`${wanted.title}: built in ${Math.round((Date.now() - startedMs) / 1000)} s`);
}

/** GOTOOLCHAIN is empty before Go 1.21. */
type GoSettings = { GOVERSION: string; GOTOOLCHAIN: string; GOPROXY: string };

/** Resolves to Go's effective GOPROXY. Rejects when Go cannot build the program. */
async function checkGo({ title, goNeeded }: GoProgram, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  const install =
    `${title} is built from its Go module and needs Go ${goNeeded} or newer. ` +
    'Install it from https://go.dev/dl/ (or with the package manager), put its bin folder on PATH and run this again.';
  const run = await runToEnd('go', ['env', '-json', 'GOVERSION', 'GOTOOLCHAIN', 'GOPROXY'], { cwd, env });
  // 127 and 126 are the shell's codes for a command that is missing or not executable.
  if (run.code === 127 || run.code === 126)
    throw new Error(`Go is missing: there is no \`go\` on PATH. ${install}`);
  if (run.code !== 0) throw goFailure({ title }, ['env'], run, '');
  const { GOVERSION, GOTOOLCHAIN, GOPROXY } = JSON.parse(run.stdout) as GoSettings;
  // From 1.21 on, Go downloads the version that a module needs, unless GOTOOLCHAIN forbids it.
  const fetchesNewer = isAtLeast(GOVERSION, '1.21') && GOTOOLCHAIN !== 'local';
  if (!isAtLeast(GOVERSION, goNeeded) && !fetchesNewer) {
    const cause = GOTOOLCHAIN === 'local' ? `${GOVERSION} with GOTOOLCHAIN=local` : GOVERSION;
    throw new Error(`Go is too old: \`go\` on PATH is ${cause}. ${install}`);
  }
  return GOPROXY;
}

/**
 * Whether `go1.25.4`, `go1.24rc1` or `go1.26-custom X:flags` is at least `1.24.6`; a development build counts
 * as new.
 */
function isAtLeast(goVersion: string, wanted: string): boolean {
  const parts = /^go(\d+)\.(\d+)(?:\.(\d+))?/.exec(goVersion)?.slice(1);
  if (parts === undefined) return true;
  const wantedParts = wanted.split('.');
  for (let i = 0; i < 3; i++) {
    const difference = Number(parts[i] ?? 0) - Number(wantedParts[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Go's messages for a proxy that does not answer, refuses, or is off. */
const unreachablePattern =
  /dial tcp|no such host|proxyconnect|i\/o timeout|TLS handshake|x509:|unexpected EOF|reading https?:\S+: \d{3} |disabled by GOPROXY/;

function goFailure({ title }: { title: string }, args: string[], run: CommandRun, proxy: string): Error {
  const output = `${run.stdout}\n${run.stderr}`;
  const unreachable = output.split('\n').find((line) => unreachablePattern.test(line));
  if (unreachable !== undefined) {
    const cause = unreachable
      .trim()
      .replace(/^"Error": "|",?$/g, '')
      .replaceAll('\\"', '"');
    return new Error(
      `${title} is built from its Go module, and Go cannot download it: ${withoutPassword(cause)}. ` +
        `GOPROXY is ${withoutPassword(proxy)}. ` +
        'Set GOPROXY to a Go module proxy that this machine reaches (HTTPS_PROXY where it goes through an HTTP proxy), and run this again.',
    );
  }
  return new Error(
    `\`go ${args.join(' ')}\` failed with code ${run.code}:\n${withoutPassword(lastLines(output.trim(), 15))}`,
  );
}

function withoutPassword(text: string): string {
  return text.replace(/\/\/[^/\s@]*@/g, '//***@');
}

export function lastLines(text: string, count: number): string {
  return text.split('\n').slice(-count).join('\n');
}

/** Elects one builder among processes. Resolves to a lock to release, or to undefined once `done` is true. */
async function takeLock(
  file: string,
  done: () => boolean,
  waits: () => void,
): Promise<{ release(): void } | undefined> {
  for (let waitedMs = 0; ; waitedMs += 500) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isAbandoned(file)) {
        // Two waiters that get here at the same instant both build, in separate folders, with the same
        // result.
        rmSync(file, { force: true });
        continue;
      }
      if (waitedMs % progressEveryMs === 0) waits();
      await sleep(500);
      if (done()) return undefined;
      continue;
    }
    const sign = setInterval(() => utimes(file, new Date(), new Date(), () => {}), 5_000);
    sign.unref();
    const release = () => {
      clearInterval(sign);
      rmSync(file, { force: true });
    };
    // Its former holder may have finished since the cache was checked.
    if (!done()) return { release };
    release();
    return undefined;
  }
}

/** A killed holder leaves its file, and its pid may be reused, so holders also update the file's time. */
function isAbandoned(file: string): boolean {
  try {
    if (Date.now() - statSync(file).mtimeMs > 60_000) return true;
    const pid = Number(readFileSync(file, 'utf8'));
    // Empty for the instant between creation and writing.
    return pid > 0 && !isRunning(pid);
  } catch {
    // Released meanwhile.
    return false;
  }
}

type CommandRun = { code: number | null; stdout: string; stderr: string };

/** Runs a command. `onLine` gets each line of stderr. */
async function runToEnd(
  command: string,
  args: string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
  onLine: (line: string) => void = () => {},
): Promise<CommandRun> {
  const { process: child } = spawnGuarded(command, args, { ...options, stdout: 'pipe', stderr: 'pipe' });
  const closed = once(child, 'close');
  const run: CommandRun = { code: null, stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => {
    run.stdout += chunk;
  });
  createInterface({ input: child.stderr as Readable }).on('line', (line) => {
    run.stderr += `${line}\n`;
    onLine(line);
  });
  const [code] = await closed;
  run.code = code;
  return run;
}
