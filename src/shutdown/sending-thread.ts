/** Runs sender-process.cjs in a thread and waits for it, where process.execPath is not a plain Node. */
import { join } from 'node:path';
import type { MessagePort, Worker, WorkerOptions } from 'node:worker_threads';
import { connectionFlags, sendersEnvironment } from './handed-over.ts';
import type { LastRequest } from './sender-process.ts';
import { routeFlags } from './sending-process.ts';
import type { Outcome } from './sending-rounds.ts';
import type { Sent } from './synchronous-flush.ts';

declare const __dirname: string;

const nowMs = (): number => process.uptime() * 1_000;

/** workerData of the thread. */
export interface ThreadInput {
  request: LastRequest;
  bodies: readonly Uint8Array[];
  /** An Outcome for each body, then null. */
  port: MessagePort;
  /** Number of messages; Atomics.notify is called for each. */
  posted: Int32Array;
}

export function sendByThread(request: LastRequest, bodies: readonly Uint8Array[], limitMs: number): Sent {
  const { MessageChannel, receiveMessageOnPort } = process.getBuiltinModule('node:worker_threads');
  const deadlineMs = nowMs() + limitMs;
  const { port1, port2 } = new MessageChannel();
  const posted = new Int32Array(new SharedArrayBuffer(4));
  const outcomes: Outcome[] = [];
  try {
    startThread({ request, bodies, port: port2, posted });
  } catch (error) {
    return { outcomes, isLate: false, error: (error as Error).message };
  }
  for (;;) {
    const seen = Atomics.load(posted, 0);
    for (;;) {
      const received = receiveMessageOnPort(port1) as { message: Outcome | null } | undefined;
      if (received === undefined) break;
      if (received.message === null) return { outcomes, isLate: false, error: undefined };
      outcomes.push(received.message);
    }
    const leftMs = deadlineMs - nowMs();
    if (leftMs <= 0) return { outcomes, isLate: true, error: undefined };
    Atomics.wait(posted, 0, seen, leftMs);
  }
}

function startThread(input: ThreadInput): void {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  const options: WorkerOptions = {
    workerData: input,
    transferList: [input.port],
    // Neither the app's preloads nor its arguments.
    argv: [],
    env: sendersEnvironment(process.env),
    stdout: true,
    stderr: true,
  };
  const flags = [...connectionFlags(process.execArgv, process.env.NODE_OPTIONS), ...routeFlags()];
  const start = (execArgv: string[]): Worker =>
    new Worker(join(__dirname, 'sender-process.cjs'), { ...options, execArgv });
  try {
    start(flags).unref();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_WORKER_INVALID_EXEC_ARGV') throw error;
    // Workers reject flags that apply to the process. These apply in each thread anyway.
    start(flags.filter((flag) => !message.includes(flag))).unref();
  }
}
