/** All ways in which a process exits: the program's arguments, and whether its twenty searches arrive. */
import type { RunningFixture } from '../processes/run-fixture.ts';

export interface Exit {
  /** Name of the exit in the tables. */
  what: string;
  file: string;
  args: string[];
  /** Sent once the program has printed that it is ready. */
  signal?: NodeJS.Signals;
  twice?: true;
  /** Stdout at which it is ready for the signal. */
  readyAt?: RegExp;
  /** Searches in addition to the twenty of every program. */
  moreSearches?: number;
  /** Spans are lost: the preload cannot run at such an exit. */
  sudden?: true;
}

const exits = 'test/fixtures/exits.mjs';
const children = 'test/fixtures/children.mjs';

const own = (what: string, way: string, more: Partial<Exit> = {}): Exit => ({
  what,
  file: exits,
  args: [way],
  ...more,
});

const child = (what: string, kind: string, way: string, more: Partial<Exit> = {}): Exit => ({
  what,
  file: children,
  args: [kind, way],
  ...more,
});

const signalled = (signal: NodeJS.Signals): Exit[] => [
  own(`${signal}, no handler in the app`, 'wait', { signal }),
  own(`${signal}, a handler that shuts down in 1 s with more calls, then exits`, 'signal-closes-down', {
    signal,
    moreSearches: 2,
  }),
];

export const EXITS: readonly Exit[] = [
  own('event loop drains', 'drain'),
  own('event loop drains, process.exitCode = 3', 'exit-code'),
  own('event loop drains, handlers of beforeExit and exit', 'exit-handlers'),
  own(
    'event loop drains, a handler of beforeExit that shuts down in 1 s with more calls',
    'closes-down-before-exit',
    {
      moreSearches: 2,
    },
  ),
  own('process.exit(9)', 'exit'),
  own('process.exit(6) in a handler of beforeExit', 'exit-before-exit'),
  own('process.exit(8) in a handler of exit', 'exit-in-exit'),
  own('an error thrown in a handler of exit', 'throw-in-exit'),
  own('process.exit(9), all listeners of exit removed', 'exit-listeners-removed'),
  own('uncaught exception', 'throw'),
  own('uncaught exception, a handler that continues', 'uncaught-goes-on'),
  own('uncaught exception, a handler that exits', 'uncaught-exits'),
  own(
    'uncaught exception, a handler that shuts down in 1 s with more calls, then exits',
    'uncaught-closes-down',
    {
      moreSearches: 2,
    },
  ),
  own('uncaught exception, a monitor', 'uncaught-monitored'),
  own('uncaught exception, a capture callback', 'uncaught-captured'),
  own('unhandled rejection', 'reject'),
  own('unhandled rejection, a handler that exits', 'rejection-exits'),
  own('top-level await that never settles', 'never-settle'),
  ...signalled('SIGTERM'),
  own('SIGTERM, a handler that calls process.exit()', 'signal-exits', { signal: 'SIGTERM' }),
  own(
    'SIGTERM, a handler that shuts down in 1 s with more calls and lets the event loop drain',
    'signal-drains',
    {
      signal: 'SIGTERM',
      moreSearches: 2,
    },
  ),
  own('SIGTERM, a handler that cleans up and sends the signal again', 'signal-again', { signal: 'SIGTERM' }),
  own('SIGTERM, a handler that the app has removed again', 'signal-handlers-gone', { signal: 'SIGTERM' }),
  own('SIGTERM, all listeners removed', 'signal-listeners-removed', { signal: 'SIGTERM' }),
  own('SIGTERM twice, as npm and a terminal send it together', 'wait', { signal: 'SIGTERM', twice: true }),
  own('SIGTERM sent by the app to itself', 'signals-itself'),
  ...signalled('SIGINT'),
  ...signalled('SIGHUP'),
  ...signalled('SIGQUIT'),
  ...signalled('SIGUSR2'),
  child('worker thread that returns', 'worker', 'drain'),
  child('worker thread that calls process.exit(3)', 'worker', 'exit'),
  child('worker thread that throws', 'worker', 'throw'),
  child('worker thread that its parent terminates', 'worker', 'terminate'),
  child('worker thread of a process that calls process.exit(5)', 'worker', 'exit-of-main'),
  child('forked process that disconnects', 'fork', 'drain'),
  child('forked process that calls process.exit(3)', 'fork', 'exit'),
  child('forked process that its parent disconnects', 'fork', 'disconnect'),
  child('forked process that its parent kills (SIGTERM)', 'fork', 'kill'),
  child('forked process that its parent kills (SIGINT)', 'fork', 'interrupt'),
  child('cluster worker that disconnects', 'cluster', 'drain'),
  child('cluster worker that calls process.exit(3)', 'cluster', 'exit'),
  child('cluster worker that throws', 'cluster', 'throw'),
  child('cluster worker that its primary disconnects', 'cluster', 'disconnect'),
  child('cluster worker that its primary kills', 'cluster', 'kill'),
  child('cluster whose workers are all disconnected', 'cluster', 'disconnect-all'),
  own('SIGKILL', 'wait', { signal: 'SIGKILL', sudden: true }),
  // Node ends at once with code 7: no exit event.
  own('uncaught exception, a handler that throws', 'uncaught-throws', { sudden: true }),
  own('process.abort()', 'abort', { sudden: true }),
];

/** Sends the signal of the exit once the program is ready for it. */
export async function exitBySignal(
  fixture: RunningFixture,
  { signal, twice, readyAt = /ready/ }: Exit,
): Promise<void> {
  if (signal === undefined) return;
  await fixture.waitForStdout(readyAt);
  fixture.kill(signal);
  if (twice) fixture.kill(signal);
}
