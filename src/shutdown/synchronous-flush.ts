/**
 * Sends what is left when the process can no longer wait for a promise: in the exit event, after process.exit(), an
 * uncaught exception or an unhandled rejection. A helper process does the sending, and is waited for, bounded.
 */
import { join } from 'node:path';
import type { OtlpTarget } from '../otlp/target.ts';
import type { Failure, LastAnswer, LastRequest } from './sender-process.ts';

declare const __dirname: string;

/**
 * Posts `bodies` and waits for it, at most `timeoutMs`.
 *
 * @returns for each body null when it was accepted, else why not.
 */
export function sendNow(
  target: OtlpTarget,
  bodies: readonly Uint8Array[],
  timeoutMs: number,
): (Failure | null)[] {
  const request: LastRequest = { target, lengths: bodies.map(({ length }) => length) };
  // Loaded here: it takes milliseconds, and most processes never need it.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const { stdout, error } = spawnSync(process.execPath, [join(__dirname, 'sender-process.cjs')], {
    input: Buffer.concat([Buffer.from(`${JSON.stringify(request)}\n`), ...bodies]),
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    // Not the app's environment: its NODE_OPTIONS would load the preload again.
    env: sendersEnvironment(process.env),
    windowsHide: true,
  });
  const late = (error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT';
  const reason = late
    ? `no answer within ${timeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`
    : (error?.message ?? 'no answer');
  let answer: LastAnswer = { failures: [] };
  try {
    answer = JSON.parse(String(stdout)) as LastAnswer;
  } catch {
    // Ended before it could answer: the reason above says why.
  }
  return bodies.map((_, index) =>
    index in answer.failures ? (answer.failures[index] ?? null) : (answer.failures[0] ?? { reason }),
  );
}

const KEPT = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'SystemRoot', 'ELECTRON_RUN_AS_NODE'];

const sendersEnvironment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(KEPT.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
