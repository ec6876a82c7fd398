/**
 * Sends what is unsent when the process can no longer wait for a promise: in the exit event, after
 * process.exit(), an uncaught exception or an unhandled rejection. A process sends it or, where none can be
 * started, a thread; either is waited for, bounded.
 */
import type { OtlpTarget } from '../otlp/target.ts';
import { SENDING } from './handed-over.ts';
import { isPlainNode, runtimeOf } from './plain-node.ts';
import type { Failure, LastRequest, Outcome } from './sender-process.ts';
import { sendByProcess } from './sending-process.ts';
import { sendByThread } from './sending-thread.ts';

/** What came of a LastRequest. */
export interface Sent {
  /** Of some bodies, of all of them, or of none. */
  outcomes: Outcome[];
  isLate: boolean;
  /** Why it could not be sent at all. */
  error: string | undefined;
}

const nowMs = (): number => process.uptime() * 1_000;

/** Codes of OpenSSL for a certificate that nothing known vouches for. */
const UNTRUSTED =
  /self[- ]signed certificate|unable to (?:get (?:local )?issuer certificate|verify the first certificate)/i;

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
  const deadlineMs = nowMs() + timeoutMs;
  const failures = send(target, bodies, timeoutMs, deadlineMs);
  const untrusted = failures.flatMap((failure, index) =>
    failure !== null && UNTRUSTED.test(failure.reason) ? [index] : [],
  );
  if (untrusted.length === 0 || !target.url.startsWith('https:')) return failures;
  const certificates = defaultCertificates();
  if (certificates === undefined) return failures;
  const again = send(
    target,
    untrusted.map((index) => bodies[index] as Uint8Array),
    timeoutMs,
    deadlineMs,
    certificates,
  );
  for (const [at, index] of untrusted.entries()) failures[index] = again[at] as Failure | null;
  return failures;
}

function send(
  target: OtlpTarget,
  bodies: readonly Uint8Array[],
  timeoutMs: number,
  deadlineMs: number,
  certificates?: readonly string[],
): (Failure | null)[] {
  // Never from a process that sends for another one, whatever has loaded the preload there.
  if (process.env[SENDING] !== undefined)
    return bodies.map(() => ({ reason: 'this process sends for another one' }));
  const request: LastRequest = { target, lengths: bodies.map(({ length }) => length), certificates };
  const leftMs = () => Math.max(1, Math.round(deadlineMs - nowMs()));
  let sent: Sent | undefined;
  if (isPlainNode(runtimeOf(process))) sent = sendByProcess(request, bodies, leftMs());
  // Not started, or gone without a word: there is no right to start one, or its file is not on a disk.
  if (sent === undefined || (sent.outcomes.length === 0 && !sent.isLate)) {
    const byThread = sendByThread(request, bodies, leftMs());
    sent = { ...byThread, error: sent?.error ?? byThread.error };
  }
  const reason = sent.isLate
    ? `no answer within ${timeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`
    : (sent.error ?? 'no answer');
  const failures: (Failure | null)[] = bodies.map(() => ({ reason }));
  for (const { index, failure } of sent.outcomes) failures[index] = failure;
  return failures;
}

/** What the app trusts by now: no flag hands over what it gave to tls.setDefaultCACertificates(). */
function defaultCertificates(): readonly string[] | undefined {
  const tls = process.getBuiltinModule('node:tls');
  return 'setDefaultCACertificates' in tls ? tls.getCACertificates('default') : undefined;
}
