import { type ChildProcess, fork } from 'node:child_process';
import { measuredEnvironment } from './environment.ts';

type Message = { address: string } | { answer: unknown };

export interface SideProcess {
  /** 127.0.0.1:port of its server. */
  address: string;
  /** Sends `question` and resolves to the result of the other side's `answerTo`. */
  ask(question: string): Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Runs a server's file in a separate process, so that its work does not count as the app's. Resolves once the
 * file has called `announce`; rejects when it exits before.
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
  // A caller that does not wait gets no unhandled rejection.
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

/** For the server: sends its address, answers questions, and exits with its parent process. */
export function announce(address: string, answerTo: (question: string) => unknown = () => undefined): void {
  process.on('message', (question) => process.send?.({ answer: answerTo(String(question)) }));
  // Also fires when the bench is killed, so that no server stays behind.
  process.on('disconnect', () => process.exit(0));
  // Ctrl-C reaches the whole process group, but the bench decides when servers exit.
  process.on('SIGINT', () => {});
  process.send?.({ address });
}
