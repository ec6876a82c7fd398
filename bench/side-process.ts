import { type ChildProcess, fork } from 'node:child_process';
import { measuredEnvironment } from './environment.ts';

type Message = { address: string } | { answer: unknown };

export interface SideProcess {
  /** 127.0.0.1:port of what it serves. */
  address: string;
  /** Sends `question` and gives what the other side's `answerTo` returned. */
  ask(question: string): Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Runs a server's file in a separate process, so that its work never counts as the app's. Resolves once the
 * file has called `announce`; rejects when it ends before that.
 */
export async function startSideProcess(file: URL): Promise<SideProcess> {
  const child = fork(file, {
    env: measuredEnvironment(),
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`${file.pathname} ended early (${signal ?? code})`)),
    );
  });
  // The end of a side process matters only to whoever waits for it at that moment.
  ended.catch(() => {});
  const first = await Promise.race([nextMessage(child), ended]);
  if (!('address' in first)) throw new Error(`${file.pathname} answered before it was asked`);
  return {
    address: first.address,
    ask: async (question) => {
      child.send(question);
      const reply = await Promise.race([nextMessage(child), ended]);
      return 'answer' in reply ? reply.answer : undefined;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      await gone;
    },
  };
}

function nextMessage(child: ChildProcess): Promise<Message> {
  return new Promise((resolve) => child.once('message', (message) => resolve(message as Message)));
}

/**
 * On the server's side: tells its address, answers what is asked, and ends with the process that started it.
 */
export function announce(address: string, answerTo: (question: string) => unknown = () => undefined): void {
  process.on('message', (question) => process.send?.({ answer: answerTo(String(question)) }));
  // Also fires when the bench is killed outright: no server of ours stays behind.
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole process group; the bench says when we end.
  process.on('SIGINT', () => {});
  process.send?.({ address });
}
