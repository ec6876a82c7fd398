/** Starts a real OpenTelemetry Collector or Jaeger for the tests. */

import { once } from 'node:events';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnGuarded } from '../processes/guarded-child.ts';
import { lastLines } from './go-program.ts';
import { isHealthy } from './health-check.ts';

const readyWithinMs = 60_000;

export interface TelemetryProgram {
  /** Its stderr so far, the last 64 kB. */
  log(): string;
  /** Resolves when it has ended. `gently` sends SIGTERM, so that it can flush; else it is killed. */
  stop(options?: { gently?: boolean }): Promise<void>;
}

/**
 * Resolves once `healthUrl` answers 200. In addition to `env`, the program inherits only PATH, since it reads
 * OTEL_* and more. It has its own folder and ends with this process. Rejects with the end of its log.
 */
export async function startTelemetryProgram(
  program: string,
  args: string[],
  env: Record<string, string>,
  healthUrl: string,
): Promise<TelemetryProgram> {
  // exec: a signal to the shell's child is one to the program.
  const server = spawnGuarded('/bin/sh', ['-c', 'echo "pid $$" >&2; exec "$@"', 'sh', program, ...args], {
    cwd: dirname(program),
    env: { PATH: process.env.PATH, ...env },
    stdout: 'ignore',
    stderr: 'pipe',
  });
  let output = '';
  let pid: number | undefined;
  server.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-64_000);
    pid ??= Number(/^pid (\d+)$/m.exec(output)?.[1]) || undefined;
  });
  const closed = once(server.process, 'close');
  let ended = false;
  server.ended.then(() => {
    ended = true;
  });
  const stop = async ({ gently = false } = {}) => {
    if (gently && !ended && pid !== undefined) {
      process.kill(pid, 'SIGTERM');
      await server.ended;
    }
    await server.stop();
    await closed;
  };

  const deadlineMs = performance.now() + readyWithinMs;
  while (!(await isHealthy(healthUrl))) {
    if (ended || performance.now() > deadlineMs) {
      await stop();
      throw new Error(
        `${program} ${ended ? 'ended' : `was not ready within ${readyWithinMs / 1000} s`}. The end of its log:\n${lastLines(output.trim(), 15)}`,
      );
    }
    await sleep(100);
  }
  return { log: () => output, stop };
}
