/**
 * A program of its own, run by last-flush.ts when the app's process can no longer wait for anything: reads OTLP
 * requests from stdin, sends them by the senders that the app has, and prints what became of each.
 *
 * stdin: one line of JSON (LastRequest), then the bodies, one after the other.
 * stdout: one line of JSON (LastAnswer).
 */
import { readFileSync } from 'node:fs';
import { rejectionIn } from '../otlp/partial-success.ts';
import { reasonFor } from '../otlp/reason.ts';
import { NO_LIMIT, type OpenSender } from '../otlp/sender.ts';
import type { OtlpTarget } from '../otlp/target.ts';

export interface LastRequest {
  target: OtlpTarget;
  /** Length of each body, in bytes. */
  lengths: number[];
}

export interface LastAnswer {
  /** For each body: null when it was accepted. One for all of them when none could be sent. */
  failures: (Failure | null)[];
}

export interface Failure {
  reason: string;
  /** Spans, where the others were accepted. */
  count?: number;
}

async function main(): Promise<void> {
  const input = readFileSync(0);
  const lineEnd = input.indexOf(10);
  const { target, lengths } = JSON.parse(input.toString('utf8', 0, lineEnd)) as LastRequest;
  let offset = lineEnd + 1;
  const bodies = lengths.map((length) => {
    const body = input.subarray(offset, offset + length);
    offset += length;
    return body;
  });
  const sender = (await senderFor(target))(target, { keepsAlive: true });
  const isJson = target.protocol === 'http/json';
  const failures = await Promise.all(
    bodies.map((body) =>
      sender.send(body, NO_LIMIT).then(
        (answer) => {
          const rejection = rejectionIn(answer, isJson);
          return rejection === undefined || rejection.count === 0 ? null : rejection;
        },
        (error: unknown) => ({ reason: reasonFor(error, target) }),
      ),
    ),
  );
  sender.close();
  process.stdout.write(`${JSON.stringify({ failures } satisfies LastAnswer)}\n`);
}

const senderFor = async ({ protocol }: OtlpTarget): Promise<OpenSender> =>
  protocol === 'grpc'
    ? (await import('../otlp/grpc-sender.ts')).openGrpcSender
    : (await import('../otlp/http-sender.ts')).openHttpSender;

main().catch((error: Error) => {
  process.stdout.write(`${JSON.stringify({ failures: [{ reason: error.message }] } satisfies LastAnswer)}\n`);
});
