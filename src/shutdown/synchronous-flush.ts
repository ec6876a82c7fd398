/**
 * Sends pending spans when no promise can be awaited any more: in the exit event, after process.exit(), an
 * uncaught exception or an unhandled rejection. A process sends them or, where none can be started, a thread.
 * The app waits for it, within a time limit.
 */
import type { OtlpTarget } from '../otlp/target.ts';
import { SENDING } from './handed-over.ts';
import { isPlainNode, runtimeOf } from './plain-node.ts';
import type { LastRequest } from './sender-process.ts';
import { sendByProcess } from './sending-process.ts';
import type { Failure, Outcome } from './sending-rounds.ts';
import { sendByThread } from './sending-thread.ts';

/** Result of a LastRequest. */
export interface Sent {
  /** For some bodies, all of them, or none. */
  outcomes: Outcome[];
  isLate: boolean;
  /** Why it could not be sent at all. */
  error: string | undefined;
}

const nowMs = (): number => process.uptime() * 1_000;

/** Codes of OpenSSL for a certificate without a trusted authority. */
const UNTRUSTED =
  /self[- ]signed certificate|unable to (?:get (?:local )?issuer certificate|verify the first certificate)/i;

/**
 * Sends `bodies` and waits for the outcomes, at most `timeoutMs`: what is left of `flushTimeoutMs`, the limit
 * that the user has set and that a reason names.
 *
 * @returns for each body null when it was accepted, else why not.
 */
export function sendNow(
  target: OtlpTarget,
  bodies: readonly Uint8Array[],
  timeoutMs: number,
  flushTimeoutMs: number,
): (Failure | null)[] {
  const deadlineMs = nowMs() + timeoutMs;
  const failures = send(target, bodies, flushTimeoutMs, deadlineMs);
  const untrusted = failures.flatMap((failure, index) =>
    failure !== null && UNTRUSTED.test(failure.reason) ? [index] : [],
  );
  if (untrusted.length === 0 || !target.url.startsWith('https:')) return failures;
  const certificates = defaultCertificates();
  if (certificates === undefined) return failures;
  const again = send(
    target,
    untrusted.map((index) => bodies[index] as Uint8Array),
    flushTimeoutMs,
    deadlineMs,
    certificates,
  );
  for (const [at, index] of untrusted.entries()) failures[index] = again[at] as Failure | null;
  return failures;
}

function send(
  target: OtlpTarget,
  bodies: readonly Uint8Array[],
  flushTimeoutMs: number,
  deadlineMs: number,
  certificates?: readonly string[],
): (Failure | null)[] {
  // Never from a sending process, even when the preload is loaded there.
  if (process.env[SENDING] !== undefined)
    return bodies.map(() => ({ reason: 'this process sends for another one' }));
  const request: LastRequest = { target, lengths: bodies.map(({ length }) => length), certificates };
  const leftMs = () => Math.max(1, Math.round(deadlineMs - nowMs()));
  let sent: Sent | undefined;
  if (isPlainNode(runtimeOf(process))) sent = sendByProcess(request, bodies, leftMs());
  // Not started, or exited without an answer: processes are not permitted, or the file is not on a disk.
  if (sent === undefined || (sent.outcomes.length === 0 && !sent.isLate)) {
    const byThread = sendByThread(request, bodies, leftMs());
    sent = { ...byThread, error: sent?.error ?? byThread.error };
  }
  const reason = sent.isLate
    ? `no answer within ${flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT)`
    : (sent.error ?? 'no answer');
  const failures: (Failure | null)[] = bodies.map(() => ({ reason }));
  for (const { index, failure } of sent.outcomes) failures[index] = failure;
  return failures;
}

/** The authorities that the app trusts now: no flag passes on those of tls.setDefaultCACertificates(). */
function defaultCertificates(): readonly string[] | undefined {
  const tls = process.getBuiltinModule('node:tls');
  return 'setDefaultCACertificates' in tls ? tls.getCACertificates('default') : undefined;
}
