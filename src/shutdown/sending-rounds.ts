/** Sends several OTLP requests when there is no later: again at once, as long as that helps. */
import { rejectionIn } from '../otlp/partial-success.ts';
import { reasonFor } from '../otlp/reason.ts';
import { NO_LIMIT, OtlpError, type OtlpSender } from '../otlp/sender.ts';
import { verdictOn } from '../otlp/status.ts';
import type { OtlpTarget } from '../otlp/target.ts';

/** The outcome of one body. */
export interface Outcome {
  index: number;
  /** null: accepted. */
  failure: Failure | null;
}

export interface Failure {
  reason: string;
  /** Number of rejected spans, where the others were accepted. */
  count?: number;
}

export type Report = (outcome: Outcome) => void;

/** Requests in flight at a time: over HTTP/1.1, each has a connection. */
const IN_FLIGHT = 16;

/**
 * Reports one outcome for each body.
 *
 * Servers close connections after some requests, or accept a few at a time. Bodies that failed for that
 * reason are sent in another round, as long as each round succeeds in part. A connection that breaks takes
 * all its requests with it: when none has succeeded, they are sent one at a time.
 */
export async function sendInRounds(
  sender: OtlpSender,
  target: OtlpTarget,
  bodies: readonly Uint8Array[],
  report: Report,
): Promise<void> {
  const isJson = target.protocol === 'http/json';
  let pending = [...bodies.keys()];
  let atOnce = IN_FLIGHT;
  for (;;) {
    const failed = new Map<number, Failure>();
    let accepted = 0;
    let hasBroken = false;
    const queue = pending.values();
    const sendFromQueue = async () => {
      for (const index of queue) {
        try {
          const answer = await sender.send(bodies[index] as Uint8Array, NO_LIMIT);
          accepted += 1;
          const rejection = rejectionIn(answer, isJson);
          report({ index, failure: rejection === undefined || rejection.count === 0 ? null : rejection });
        } catch (error) {
          const failure = { reason: reasonFor(error, target) };
          if (verdictOn(error).kind !== 'retry') {
            report({ index, failure });
            continue;
          }
          failed.set(index, failure);
          hasBroken ||= isBroken(error);
          // Two in a row: the cause is not in one body.
          if (atOnce === 1 && accepted === 0 && failed.size === 2)
            for (const rest of queue) failed.set(rest, failure);
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, sendFromQueue));
    if (failed.size === 0) return;
    if (accepted === 0 && atOnce > 1 && hasBroken && failed.size > 1) atOnce = 1;
    else if (accepted === 0) {
      for (const [index, failure] of failed) report({ index, failure });
      return;
    }
    pending = [...failed.keys()];
  }
}

/** A request that had a connection and got no answer. */
const isBroken = (error: unknown): boolean =>
  error instanceof OtlpError && error.status === undefined && !error.isUnreachable;
