/**
 * The program that sends when the app's process can no longer wait for anything: reads OTLP requests, sends
 * them by the app's senders, and reports each outcome as soon as it is known. It runs as a process
 * (sending-process.ts) or as a thread (sending-thread.ts).
 *
 * As a process, stdin is one line of JSON (LastRequest) and the bodies, one after the other; stdout is a line
 * of JSON (Outcome) for each. As a thread, workerData is a ThreadInput.
 */
import { readFileSync } from 'node:fs';
import { reasonFor } from '../otlp/reason.ts';
import type { OpenSender } from '../otlp/sender.ts';
import type { OtlpTarget } from '../otlp/target.ts';
import { type Outcome, type Report, sendInRounds } from './sending-rounds.ts';
import type { ThreadInput } from './sending-thread.ts';

export interface LastRequest {
  target: OtlpTarget;
  /** Length of each body, in bytes. */
  lengths: number[];
  /** PEM: what to trust instead of Node's default. */
  certificates?: readonly string[] | undefined;
}

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

if (isThread) runAsThread(process.getBuiltinModule('node:worker_threads').workerData as ThreadInput);
else runAsProcess();
