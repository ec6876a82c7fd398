/** Stops the servers and programs that a command has started, also at a signal. */
import { constants } from 'node:os';

/** The started servers and programs. Each is stopped once, in reverse order. */
export class Teardown {
  /** A stop failed; its error is on stderr. */
  failed = false;
  #stops = new Set<() => Promise<void>>();
  #stopped: Promise<void> | undefined;

  /** Returns a function that removes it, for a process that has ended by itself. */
  add(stop: () => Promise<void>): () => void {
    this.#stops.add(stop);
    return () => this.#stops.delete(stop);
  }

  run(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async #stopAll(): Promise<void> {
    for (const stop of [...this.#stops].reverse()) {
      // A failed stop must not prevent the others.
      await stop().catch((error: Error) => {
        this.failed = true;
        console.error(error.message);
      });
    }
  }
}

/**
 * Tears down at Ctrl-C, a closed terminal and `kill`, then reads the exit code. A repeated signal changes
 * nothing: npm and the terminal both deliver the same Ctrl-C.
 */
export function endOnSignals(
  teardown: Teardown,
  exitCodeFor: (usual: number) => number = (usual) => usual,
): void {
  let isEnding = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, async () => {
      if (isEnding) return;
      isEnding = true;
      const exitCode = exitCodeFor(128 + constants.signals[signal]);
      await teardown.run();
      process.exit(exitCode);
    });
  }
}
