/**
 * The program that sends when the app's process can no longer wait for anything: reads OTLP requests, sends
 * them by the app's senders, and reports each outcome as soon as it is known. It runs as a process
 * (sending-process.ts) or as a thread (sending-thread.ts).
 *
 * As a process, stdin is one line of JSON (LastRequest) and the bodies, one after the other; stdout is a line
 * of JSON (Outcome) for each. As a thread, workerData is a ThreadInput.
 */
import { readFileSync } from 'node:fs';
import { rejectionIn } from '../otlp/partial-success.ts';
import { reasonFor } from '../otlp/reason.ts';
import { NO_LIMIT, type OpenSender, OtlpError, type OtlpSender } from '../otlp/sender.ts';
import { verdictOn } from '../otlp/status.ts';
import type { OtlpTarget } from '../otlp/target.ts';
import type { ThreadInput } from './sending-thread.ts';

export interface LastRequest {
  target: OtlpTarget;
  /** Length of each body, in bytes. */
  lengths: number[];
  /** PEM: what to trust instead of Node's default. */
  certificates?: readonly string[] | undefined;
}

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

type Report = (outcome: Outcome) => void;

/** Requests in flight at a time: over HTTP/1.1, each has a connection. */
const IN_FLIGHT = 16;

/** process.abort() is disabled in workers. This check does not load node:worker_threads. */
const isThread = (process.abort as { disabled?: boolean }).disabled === true;

async function runAsProcess(): Promise<void> {
  const input = readFileSync(0);
  const lineEnd = input.indexOf(10);
  const request = JSON.parse(input.toString('utf8', 0, lineEnd)) as LastRequest;
  let offset = lineEnd + 1;
  const bodies = request.lengths.map((length) => {
    const body = input.subarray(offset, offset + length);
    offset += length;
    return body;
  });
  await sendAll(request, bodies, (outcome) => process.stdout.write(`${JSON.stringify(outcome)}\n`));
}

async function runAsThread({ request, bodies, port, posted }: ThreadInput): Promise<void> {
  const post = (message: Outcome | null) => {
    port.postMessage(message);
    Atomics.add(posted, 0, 1);
    Atomics.notify(posted, 0);
  };
  await sendAll(request, bodies, post);
  post(null);
}

/** Never rejects. */
async function sendAll(request: LastRequest, bodies: readonly Uint8Array[], report: Report): Promise<void> {
  const { target, certificates } = request;
  try {
    if (certificates !== undefined)
      process.getBuiltinModule('node:tls').setDefaultCACertificates(certificates);
    const sender = (await senderFor(target))(target, { keepsAlive: true });
    await sendInRounds(sender, target, bodies, report);
    sender.close();
  } catch (error) {
    const reason = reasonFor(error, target);
    for (const index of bodies.keys()) report({ index, failure: { reason } });
  }
}

const senderFor = async ({ protocol }: OtlpTarget): Promise<OpenSender> =>
  protocol === 'grpc'
    ? (await import('../otlp/grpc-sender.ts')).openGrpcSender
    : (await import('../otlp/http-sender.ts')).openHttpSender;

/**
 * Servers close connections after some requests, or accept a few at a time. Bodies that failed for that
 * reason are sent in another round, as long as each round succeeds in part. A connection that breaks takes
 * all its requests with it: when none has succeeded, they are sent one at a time.
 */
async function sendInRounds(
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
          if (atOnce === 1 && accepted === 0) for (const rest of queue) failed.set(rest, failure);
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

if (isThread) runAsThread(process.getBuiltinModule('node:worker_threads').workerData as ThreadInput);
else runAsProcess();
