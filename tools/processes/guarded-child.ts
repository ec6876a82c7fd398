/** Child processes that cannot outlive this one, whatever way it ends: SIGKILL and a crash included. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * A shell that runs $2… and holds our end of a pipe as its standard input. The pipe closes when we ask or
 * when our process ends, by whatever cause; then the shell kills the command, removes the folder $1 (when not
 * empty) and kills its whole process group. When the command ends by itself, the shell ends with the
 * command's exit code and removes nothing.
 */
const guard = `
exec 3<&0
folder=$1; shift
"$@" </dev/null 3<&- &
command=$!
# The signal that ends the watcher below is for the time in which it waits: once it has begun to kill, it finishes.
(read -r _ <&3; trap '' TERM; kill -KILL $command 2>/dev/null; exit 0) &
watcher=$!
# Both have the caller's stderr; what the shell itself has to say about jobs that were killed is for nobody.
exec 2>/dev/null
wait $command; code=$?
kill $watcher
if wait $watcher 2>/dev/null; then
  cd /
  [ -z "$folder" ] || rm -rf "$folder"
  kill -KILL 0
fi
exit $code`;

/** When nothing has ended after this long, the whole process group is killed from here. */
const stopDeadlineMs = 10_000;

export interface GuardedChild {
  /** The guard's process; its id is the id of the process group. stdout and stderr are the command's. */
  readonly process: ChildProcess;
  /** Settles when the command has ended, by itself or by stop(): its exit code, null when it was stopped. */
  readonly ended: Promise<number | null>;
  /**
   * Kills the command at once (SIGKILL), resolves when every process of its group has ended and removeAtStop
   * is gone.
   */
  stop(): Promise<void>;
}

export interface GuardedOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Each 'pipe', 'ignore', 'inherit', or a file descriptor. */
  stdout: 'pipe' | 'ignore' | 'inherit' | number;
  stderr: 'pipe' | 'ignore' | 'inherit' | number;
  /**
   * A folder that has no use without the command. It stays when the command ends by itself: logs may be in
   * it.
   */
  removeAtStop?: string;
}

/**
 * Needs a POSIX shell. A command that does not exist ends with code 127 and the shell's message on stderr.
 */
export function spawnGuarded(command: string, args: string[], options: GuardedOptions): GuardedChild {
  const { cwd, env, stdout, stderr, removeAtStop = '' } = options;
  const child = spawn('/bin/sh', ['-c', guard, 'sh', removeAtStop, command, ...args], {
    cwd,
    env,
    stdio: ['pipe', stdout, stderr],
    // A process group of its own: Ctrl-C in the terminal reaches us alone, and we decide when it ends.
    detached: true,
  });
  // The guard ended first: there is nobody to tell, and `ended` says so already.
  child.stdin?.on('error', () => {});
  const ended = once(child, 'exit').then(([code]) => {
    // The command may have left children of its own behind.
    killGroup(child);
    return code as number | null;
  });
  // Whoever does not look at `ended` shall not die of it.
  ended.catch(() => {});

  return {
    process: child,
    ended,
    async stop() {
      const deadline = setTimeout(() => killGroup(child), stopDeadlineMs);
      child.stdin?.end();
      await ended.catch(() => {});
      clearTimeout(deadline);
    },
  };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    // No such group, or (EPERM on macOS) nothing but ended processes in it: what was wanted.
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Whether a process with this id is there, ours or somebody else's. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
