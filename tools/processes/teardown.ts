/** The end of a command that has started servers and programs: all of them are stopped, at a signal too. */
import { constants } from 'node:os';

/** What was started, for the end of the run: all of it is stopped once, the last started first. */
export class Teardown {
  /** Something could not be stopped; it was said on stderr. */
  failed = false;
  #stops = new Set<() => Promise<void>>();
  #stopped: Promise<void> | undefined;

  /** Gives a function that takes it off again, for what has ended by itself. */
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
      // What cannot be stopped shall not keep the rest alive.
      await stop().catch((error: Error) => {
        this.failed = true;
        console.error(error.message);
      });
    }
  }
}

/**
 * Ctrl-C, a closed terminal and `kill` tear down first. The code to exit with is asked for at that time. A
 * signal that comes again changes nothing: npm and the terminal both deliver the same Ctrl-C.
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
