/** Starts sender-process.cjs as a process and waits for it. */
import type { SpawnSyncReturns } from 'node:child_process';
import { join } from 'node:path';
import { connectionFlags, sendersEnvironment } from './handed-over.ts';
import type { LastRequest } from './sender-process.ts';
import type { Outcome } from './sending-rounds.ts';
import type { Sent } from './synchronous-flush.ts';

declare const __dirname: string;

export function sendByProcess(request: LastRequest, bodies: readonly Uint8Array[], limitMs: number): Sent {
  // Loaded here: it takes milliseconds, and most processes never need it.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const flags = [...connectionFlags(process.execArgv, process.env.NODE_OPTIONS), ...routeFlags()];
  let result: SpawnSyncReturns<Buffer>;
  try {
    result = spawnSync(process.execPath, [...flags, join(__dirname, 'sender-process.cjs')], {
      input: Buffer.concat([Buffer.from(`${JSON.stringify(request)}\n`), ...bodies]),
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: limitMs,
      killSignal: 'SIGKILL',
      env: sendersEnvironment(process.env),
      windowsHide: true,
    });
  } catch (error) {
    // Not allowed by --permission.
    return { outcomes: [], isLate: false, error: (error as Error).message };
  }
  const { stdout, error } = result;
  const isLate = (error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT';
  return { outcomes: outcomesIn(String(stdout ?? '')), isLate, error: error?.message };
}

/** Settings that the app may also change by calls. */
export function routeFlags(): string[] {
  const { getDefaultResultOrder } = process.getBuiltinModule('node:dns');
  const { getDefaultAutoSelectFamily, getDefaultAutoSelectFamilyAttemptTimeout } =
    process.getBuiltinModule('node:net');
  return [
    `--dns-result-order=${getDefaultResultOrder()}`,
    `--${getDefaultAutoSelectFamily() ? '' : 'no-'}network-family-autoselection`,
    `--network-family-autoselection-attempt-timeout=${getDefaultAutoSelectFamilyAttemptTimeout()}`,
  ];
}

/** One line per outcome; the last one may be incomplete. */
function outcomesIn(stdout: string): Outcome[] {
  return stdout.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as Outcome];
    } catch {
      return [];
    }
  });
}
