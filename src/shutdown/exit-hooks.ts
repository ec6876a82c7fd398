/**
 * Every way a process exits → unsent spans are sent, bounded → the app's own exit.
 *
 * When the event loop drains, and at a signal that the app does not handle, there is time: the spans go the
 * usual way and are awaited. Everything else (process.exit(), an uncaught exception, a rejection) leaves no
 * time to await anything: there a process, or a thread, sends what is unsent. The app's handlers are never
 * replaced.
 */
import type { Telemetry } from '../sdk/start-telemetry.ts';

/** Signals by which a process is asked to exit, and exits unless it handles them. nodemon sends SIGUSR2. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const;
type EndingSignal = (typeof SIGNALS)[number];

/** A clock that only goes forward; `performance` would be loaded for it. */
const nowMs = (): number => process.uptime() * 1_000;

export function flushAtExit(telemetry: Telemetry, flushTimeoutMs: number): void {
  let deadline = Number.POSITIVE_INFINITY;
  let closed = false;
  const awaitFlush = async () => {
    if (!telemetry.hasRest()) return;
    deadline = nowMs() + flushTimeoutMs;
    await telemetry.flush(flushTimeoutMs);
  };
  const close = () => {
    if (closed) return;
    closed = true;
    // What the awaited flush has used of the bound, the sending process does not get again.
    telemetry.close(Math.min(flushTimeoutMs, Math.max(0, Math.round(deadline - nowMs()))));
  };

  flushWhenIdle(telemetry, awaitFlush);
  for (const signal of SIGNALS) {
    flushOnSignal(signal, async () => {
      await awaitFlush();
      close();
    });
  }
  afterExitHandlers(close);
}

/**
 * Calls `close` when the app's handlers of 'exit' have run: they may end spans, such as the root span of a
 * command-line tool.
 *
 * When the event loop has drained, and before an uncaught exception ends the process, our handler is put
 * last. process.exit() gives no such notice, but calls process.reallyExit() after the handlers.
 */
function afterExitHandlers(close: () => void): void {
  let exiting = false;
  process.on('exit', () => {
    exiting = true;
  });
  const closeLast = () => {
    process.off('exit', close);
    process.on('exit', close);
  };
  // A microtask later the app's handlers of the same event have run, too.
  process.on('beforeExit', () => queueMicrotask(closeLast));
  process.on('uncaughtExceptionMonitor', () => {
    // Thrown by a handler of 'exit': those after it are not called any more.
    if (exiting) close();
    else closeLast();
  });

  // Undocumented, but what signal-exit and others wrap too: nothing public is called after the handlers.
  const unpatched = process as unknown as { reallyExit?: (code: number) => never };
  const { reallyExit } = unpatched;
  if (typeof reallyExit !== 'function') {
    process.on('exit', close);
    return;
  }
  unpatched.reallyExit = function (this: NodeJS.Process, code: number): never {
    close();
    return Reflect.apply(reallyExit, this, [code]);
  };
}

/**
 * The event loop has drained. A handler of beforeExit may still start something: so a turn later, when
 * nothing was started, the process is about to exit, and only the sending keeps it alive a little.
 */
function flushWhenIdle(telemetry: Telemetry, flush: () => Promise<void>): void {
  process.on('beforeExit', () => {
    if (!telemetry.hasRest()) return;
    // Standard streams and the like are listed although they keep nothing alive.
    const idle = process.getActiveResourcesInfo();
    setImmediate(async () => {
      if (startedSince(idle, process.getActiveResourcesInfo())) return;
      await flush();
      hideNextBeforeExit();
      exitSoon();
    });
  });
}

/**
 * The sending kept the process alive, so beforeExit is emitted a second time, which the app's handlers would
 * not see without the preload. They are set aside until then.
 */
function hideNextBeforeExit(): void {
  const listeners = process.rawListeners('beforeExit') as (() => void)[];
  for (const listener of listeners) process.off('beforeExit', listener);
  process.once('beforeExit', () => {
    for (const listener of listeners) process.on('beforeExit', listener);
  });
}

/**
 * Spans in flight keep nothing alive. Exporters of metrics and logs do, for longer than the bound, and cannot be
 * cancelled.
 */
function exitSoon(): void {
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
