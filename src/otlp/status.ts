/**
 * The verdict on a batch after a failed attempt. The only file that classifies gRPC and HTTP statuses. Pure.
 */
import { GrpcStatus } from '../grpc-status.ts';
import { OtlpError } from './sender.ts';

export type Verdict =
  /** Later; not before `afterMs`, if the collector gives a time. */
  | { kind: 'retry'; afterMs?: number; mayBeTooLarge?: boolean }
  /** Again, in smaller parts. */
  | { kind: 'too large' }
  /** Never. */
  | { kind: 'refused' };

const REFUSED: Verdict = { kind: 'refused' };
const TOO_LARGE: Verdict = { kind: 'too large' };

/** Source: the specification of OTLP, section "Failures" of OTLP/gRPC. */
const RETRYABLE_GRPC: ReadonlySet<number> = new Set([
  GrpcStatus.CANCELLED,
  GrpcStatus.DEADLINE_EXCEEDED,
  GrpcStatus.RESOURCE_EXHAUSTED,
  GrpcStatus.ABORTED,
  GrpcStatus.OUT_OF_RANGE,
  GrpcStatus.UNAVAILABLE,
  GrpcStatus.DATA_LOSS,
]);

/** Source: the specification of OTLP, section "Retryable Response Codes" of OTLP/HTTP. */
const RETRYABLE_HTTP: ReadonlySet<number> = new Set([429, 502, 503, 504]);

const TOO_LARGE_HTTP = 413;

/**
 * Texts for a message beyond the limit: gRPC for Go and JavaScript, Java, Rust, .NET, a web server in front
 * of them.
 */
const SAYS_TOO_LARGE =
  /larger than max|exceeds (the )?maximum (configured message )?size|message length too large|status code 413/i;

/** An error other than OtlpError means that the request cannot be sent at all. */
export function verdictOn(error: unknown): Verdict {
  if (!(error instanceof OtlpError)) return REFUSED;
  const { status, isGrpc, retryAfterMs, message } = error;
  if (isGrpc ? SAYS_TOO_LARGE.test(message) : status === TOO_LARGE_HTTP) return TOO_LARGE;
  if (status !== undefined && !(isGrpc ? RETRYABLE_GRPC : RETRYABLE_HTTP).has(status)) return REFUSED;
  if (retryAfterMs !== undefined) return { kind: 'retry', afterMs: retryAfterMs };
  // With RetryInfo it is retryable. Without, the reason may be a size, a quota, or the collector's memory.
  return isGrpc && status === GrpcStatus.RESOURCE_EXHAUSTED
    ? { kind: 'retry', mayBeTooLarge: true }
    : { kind: 'retry' };
}
