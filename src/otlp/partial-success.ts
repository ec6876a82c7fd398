/** The collector's report on rejected items, in an answer that accepts the others. */
import { integer, messages, text } from './protobuf.ts';

export interface Rejection {
  /** Spans, data points or log records; 0 where the reason is only a warning. */
  count: number;
  reason: string;
}

/**
 * ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1, error_message = 2 } }; in those of
 * other signals, only the first name differs.
 *
 * @returns undefined when all were accepted without a message, also for an unknown answer: its status was
 *   success
 */
export function rejectionIn(response: Uint8Array, isJson: boolean): Rejection | undefined {
  try {
    const [count, reason] = isJson ? inJson(response) : inProtobuf(response);
    return count > 0 || reason !== '' ? { count: Math.max(0, count), reason } : undefined;
  } catch {
    return undefined;
  }
}

function inProtobuf(response: Uint8Array): [count: number, reason: string] {
  const partial = messages(response, 1).at(-1);
  return partial === undefined ? [0, ''] : [Number(integer(partial, 1)), text(partial, 2)];
}

function inJson(response: Uint8Array): [count: number, reason: string] {
  const { partialSuccess } = JSON.parse(Buffer.from(response).toString('utf8'));
  const { rejectedSpans, rejectedDataPoints, rejectedLogRecords, errorMessage } = partialSuccess ?? {};
  return [Number(rejectedSpans ?? rejectedDataPoints ?? rejectedLogRecords ?? 0), String(errorMessage ?? '')];
}
