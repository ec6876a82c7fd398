/** What becomes of a batch after a failed attempt: the one place where statuses of gRPC and HTTP are judged. Pure. */
import { GrpcStatus } from '../grpc-status.ts';
import { OtlpError } from './sender.ts';

export type Verdict =
  /** Later; not before `afterMs`, where the collector says so. */
  | { kind: 'retry'; afterMs?: number; mayBeTooLarge?: boolean }
  /** Not that many at once. */
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

/** What servers say of a message beyond their limit: gRPC for Go and JavaScript, Java, Rust, .NET, a web server before them. */
const SAYS_TOO_LARGE =
  /larger than max|exceeds (the )?maximum (configured message )?size|message length too large|status code 413/i;

/** Any other error than OtlpError is of a request that cannot be sent at all. */
export function verdictOn(error: unknown): Verdict {
  if (!(error instanceof OtlpError)) return REFUSED;
  const { status, isGrpc, retryAfterMs, message } = error;
  if (isGrpc ? SAYS_TOO_LARGE.test(message) : status === TOO_LARGE_HTTP) return TOO_LARGE;
  if (status !== undefined && !(isGrpc ? RETRYABLE_GRPC : RETRYABLE_HTTP).has(status)) return REFUSED;
  if (retryAfterMs !== undefined) return { kind: 'retry', afterMs: retryAfterMs };
  // Where it asks for another attempt, a collector says when; else this may be a size, a quota, or its memory.
  return isGrpc && status === GrpcStatus.RESOURCE_EXHAUSTED
    ? { kind: 'retry', mayBeTooLarge: true }
    : { kind: 'retry' };
}
