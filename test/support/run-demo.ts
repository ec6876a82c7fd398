/**
 * The demos as users run them: child processes in a terminal's process group, with all their descendants
 * watched.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const root = path.join(import.meta.dirname, '..', '..');
/** Time limit for the guards of the demo's processes. */
const leftoverDeadlineMs = 5_000;

export interface Demo {
  child: ChildProcess;
  output: { stdout: string; stderr: string };
  /** Resolves when the output has the text; rejects when the demo exits without it. */
  waitForLine(text: string): Promise<void>;
  /** Ctrl-C in a terminal signals the whole foreground process group. */
  pressCtrlC(): void;
  ended: Promise<number | null>;
  /** Processes of the demo that still run. */
  leftovers(): Promise<string[]>;
}

/** @param task of scripts/run.mjs */
export function runDemo(
  t: TestContext,
  task: string,
  args: string[] = [],
  variables: Record<string, string | undefined> = {},
): Demo {
  const env = {
    ...process.env,
    MILVUS_ADDRESS: undefined,
    NO_COLOR: undefined,
    FORCE_COLOR: undefined,
    ...variables,
  };
  const child = spawn(process.execPath, [path.join(root, 'scripts', 'run.mjs'), task, ...args], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A separate process group, as in a terminal.
    detached: true,
  });
  const signalGroup = (signal: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), signal);
    } catch (error) {
      // ESRCH: it has ended.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  t.after(() => signalGroup('SIGKILL'));

  const started = new Map<number, string>();
  const watch = setInterval(() => {
    for (const { pid, command } of descendants(child.pid as number)) started.set(pid, command);
  }, 100);
  const output = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output.stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output.stderr += text;
  });
  const ended = once(child, 'close').then(([code]) => {
    clearInterval(watch);
    return code as number | null;
  });

  return {
    child,
    output,
    ended,
    async waitForLine(text) {
      while (!output.stdout.includes(text)) {
        assert.equal(child.exitCode, null, `ended without "${text}":\n${output.stdout}\n${output.stderr}`);
        await sleep(20);
      }
    },
    pressCtrlC: () => signalGroup('SIGINT'),
    async leftovers() {
      assert.ok(started.size > 0, 'no process was seen, so none could be missed');
      for (let waitedMs = 0; ; waitedMs += 100) {
        const running = new Map(processes().map(({ pid, command }) => [pid, command]));
        const left = [...started].filter(([pid, command]) => running.get(pid) === command);
        if (left.length === 0 || waitedMs >= leftoverDeadlineMs) return left.map(([, command]) => command);
        await sleep(100);
      }
    },
  };
}

interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Without zombies. */
function processes(): Process[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines.flatMap((line) => {
    const [, pid, parent, state, command = ''] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    return state === undefined || state.startsWith('Z')
      ? []
      : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

function descendants(ancestor: number): Process[] {
  const all = processes();
  const below = (parent: number): Process[] =>
    all.filter((each) => each.parent === parent).flatMap((each) => [each, ...below(each.pid)]);
  return below(ancestor);
}

export function lastLine(text: string): string | undefined {
  return text.trimEnd().split('\n').at(-1);
}
