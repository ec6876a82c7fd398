/** The time that a collector gives before the next attempt. Pure. */
import { integer, messages, text } from './protobuf.ts';

const RETRY_INFO = /\/google\.rpc\.RetryInfo$/;

/**
 * google.rpc.Status: details = 3, each an Any: type_url = 1, value = 2. The value of a RetryInfo:
 * retry_delay = 1, a Duration: seconds = 1, nanos = 2.
 *
 * @param status the header grpc-status-details-bin
 * @returns ms; undefined when there is none, or for any other message
 */
export function retryDelayIn(status: unknown): number | undefined {
  if (!(status instanceof Uint8Array)) return undefined;
  try {
    const info = messages(status, 3).find((any) => RETRY_INFO.test(text(any, 1)));
    const delay = info && messages(info, 2).flatMap((value) => messages(value, 1))[0];
    if (delay === undefined) return undefined;
    const ms = Number(BigInt.asIntN(64, integer(delay, 1))) * 1_000 + Number(integer(delay, 2)) / 1e6;
    return ms >= 0 ? Math.ceil(ms) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The HTTP header Retry-After: seconds, or a date.
 *
 * @returns ms; undefined when there is none, or none that can be read
 */
export function retryAfter(header: string | undefined, nowMs = Date.now()): number | undefined {
  if (header === undefined) return undefined;
  const seconds = /^\d+$/.exec(header.trim());
  // Date.parse returns a date for nearly any other text.
  const date = header.endsWith('GMT') ? Date.parse(header) : Number.NaN;
  const ms = seconds ? Number(header) * 1_000 : date - nowMs;
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
