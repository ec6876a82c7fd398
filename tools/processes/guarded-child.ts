/** Child processes that cannot outlive this one, even after SIGKILL or a crash. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * A shell that runs $2… and reads a pipe from this process. When the pipe closes (at stop() or when this
 * process ends for any reason), the shell kills the command, removes the folder $1 (if any) and kills its
 * process group. When the command exits by itself, the shell exits with its code and removes nothing.
 */
const guard = `
exec 3<&0
folder=$1; shift
"$@" </dev/null 3<&- &
command=$!
# The watcher below ignores SIGTERM once it has begun to kill.
(read -r _ <&3; trap '' TERM; kill -KILL $command 2>/dev/null; exit 0) &
watcher=$!
# Drops the shell's own messages about killed jobs; the two above keep the caller's stderr.
exec 2>/dev/null
wait $command; code=$?
kill $watcher
if wait $watcher 2>/dev/null; then
  cd /
  [ -z "$folder" ] || rm -rf "$folder"
  kill -KILL 0
fi
exit $code`;

/** After this time, this process kills the whole process group itself. */
const stopDeadlineMs = 10_000;

export interface GuardedChild {
  /** The guard's process; its id is the id of the process group. stdout and stderr are the command's. */
  readonly process: ChildProcess;
  /** Settles when the command has ended: its exit code, null after stop(). */
  readonly ended: Promise<number | null>;
  /** Kills the command (SIGKILL). Resolves when its process group has ended and removeAtStop is gone. */
  stop(): Promise<void>;
}

export interface GuardedOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Each 'pipe', 'ignore', 'inherit', or a file descriptor. */
  stdout: 'pipe' | 'ignore' | 'inherit' | number;
  stderr: 'pipe' | 'ignore' | 'inherit' | number;
  /** A folder to remove at stop(). It stays when the command ends by itself: it may contain logs. */
  removeAtStop?: string;
}

/** Needs a POSIX shell. A missing command ends with code 127 and the shell's message on stderr. */
export function spawnGuarded(command: string, args: string[], options: GuardedOptions): GuardedChild {
  const { cwd, env, stdout, stderr, removeAtStop = '' } = options;
  const child = spawn('/bin/sh', ['-c', guard, 'sh', removeAtStop, command, ...args], {
    cwd,
    env,
    stdio: ['pipe', stdout, stderr],
    // A separate process group: Ctrl-C reaches only this process, which decides when the group ends.
    detached: true,
  });
  // The guard ended first, and `ended` reports it.
  child.stdin?.on('error', () => {});
  const ended = once(child, 'exit').then(([code]) => {
    // The command may have left children behind.
    killGroup(child);
    return code as number | null;
  });
  // A caller that ignores `ended` gets no unhandled rejection.
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
    // No such group, or (EPERM on macOS) only ended processes in it.
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Whether a process with this id exists, of any user. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
