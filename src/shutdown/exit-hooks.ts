/**
 * Every way a process ends → what is left is sent, bounded → the app's own ending.
 *
 * At the normal end, and at a signal that the app does not handle, there is time: the spans go the usual way and are
 * awaited. Everything else (process.exit(), an uncaught exception, a rejection) is met in the exit event, where
 * nothing can be awaited any more: a helper process sends what is left. The app's handlers are never touched.
 */
import type { Telemetry } from '../sdk/start-telemetry.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
type EndingSignal = (typeof SIGNALS)[number];

/** A clock that only goes forward; `performance` would be loaded for it. */
const nowMs = (): number => process.uptime() * 1_000;

export function flushAtEnd(telemetry: Telemetry, flushTimeoutMs: number): void {
  let deadline = Number.POSITIVE_INFINITY;
  const awaitFlush = async () => {
    if (!telemetry.hasRest()) return;
    deadline = nowMs() + flushTimeoutMs;
    await telemetry.flush(flushTimeoutMs);
  };
  // What the awaited flush has used of the bound, the helper process does not get again.
  const close = () => telemetry.close(Math.min(flushTimeoutMs, Math.max(0, Math.round(deadline - nowMs()))));

  flushWhenIdle(telemetry, awaitFlush);
  for (const signal of SIGNALS) {
    flushOnSignal(signal, async () => {
      await awaitFlush();
      close();
    });
  }
  process.on('exit', close);
}

/**
 * The normal end. beforeExit says that nothing is left to do, unless a handler of the app's starts something: so a
 * turn later, when nothing was started, the process is at its end, and only the sending keeps it alive a little.
 */
function flushWhenIdle(telemetry: Telemetry, flush: () => Promise<void>): void {
  process.on('beforeExit', () => {
    if (!telemetry.hasRest()) return;
    // Standard streams and the like are listed although they keep nothing alive.
    const idle = process.getActiveResourcesInfo();
    setImmediate(async () => {
      if (startedSince(idle, process.getActiveResourcesInfo())) return;
      const handles = new Set(activeHandles());
      await flush();
      hideNextBeforeExit();
      if (telemetry.hasRest()) letGo(activeHandles().filter((handle) => !handles.has(handle)));
    });
  });
}

/** What we kept alive ends in a second beforeExit, which the app's handlers would not see without us. */
function hideNextBeforeExit(): void {
  const own = Object.getOwnPropertyDescriptor(process, 'emit');
  const emit = process.emit;
  const restore = () => {
    if (own !== undefined) Object.defineProperty(process, 'emit', own);
    else Reflect.deleteProperty(process, 'emit');
  };
  const filtered = function (this: NodeJS.Process, event: string, ...args: unknown[]): boolean {
    if (event !== 'beforeExit') return Reflect.apply(emit, this, [event, ...args]);
    restore();
    return false;
  };
  Object.defineProperty(process, 'emit', { value: filtered, configurable: true, writable: true });
}

interface Handle {
  unref?(): void;
}

// Undocumented but there since Node 0.x; without it, the process is ended by process.exit() below.
const activeHandles = (): Handle[] =>
  (process as { _getActiveHandles?: () => Handle[] })._getActiveHandles?.() ?? [];

/** The collector does not answer: what waits for it must not keep the process alive any longer. */
function letGo(handles: readonly Handle[]): void {
  for (const handle of handles) handle.unref?.();
  // Runs only if something else still does.
  setTimeout(() => process.exit(), 20).unref();
}

/** Whether `now` lists anything that `before` did not, apart from the immediate that asks. */
function startedSince(before: readonly string[], now: readonly string[]): boolean {
  const known = [...before, 'Immediate'];
  return now.some((resource) => {
    const index = known.indexOf(resource);
    if (index !== -1) known.splice(index, 1);
    return index === -1;
  });
}

function flushOnSignal(signal: EndingSignal, flush: () => Promise<void>): void {
  let flushing = false;
  let leaving = false;
  const leave = () => {
    leaving = true;
    process.off(signal, onSignal);
    leaving = false;
  };
  const onSignal = async () => {
    // A terminal and npm each send one for the same Ctrl-C.
    if (flushing) return;
    flushing = true;
    await flush();
    leave();
    process.kill(process.pid, signal);
  };
  // Ours is there only while the app has none of its own. So the app's handlers, and libraries that count them,
  // see what they would see without us; and when the last one goes, the spans are still safe.
  const stepAside = (event: string | symbol, listener: unknown) => {
    if (event !== signal || listener === onSignal) return;
    // Not at once: with no listener left, Node would stop listening before the app's is in place.
    queueMicrotask(() => {
      if (process.listenerCount(signal) > 1) leave();
    });
  };
  const stepIn = (event: string | symbol) => {
    // Also after removeAllListeners(), which takes ours away with the app's.
    if (event === signal && !leaving && process.listenerCount(signal) === 0) process.on(signal, onSignal);
  };
  process.on('newListener', stepAside);
  process.on('removeListener', stepIn);
  // Another preload may have been faster, or Node itself, whose --report-on-signal listens too.
  if (process.listenerCount(signal) === 0) process.on(signal, onSignal);
}
