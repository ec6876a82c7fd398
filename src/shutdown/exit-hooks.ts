/**
 * Every way a process exits → pending spans are sent, within a time limit → the app's own exit.
 *
 * When the event loop drains, and at a signal that the app does not handle, the usual flush is awaited.
 * Nothing can be awaited at the other exits (process.exit(), an uncaught exception, a rejection): a process
 * or a thread sends pending spans there. The app's handlers are never replaced.
 */
import type { Telemetry } from '../sdk/start-telemetry.ts';

/** Signals that request an exit. Without a handler, they end the process. nodemon sends SIGUSR2. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const;
type ExitSignal = (typeof SIGNALS)[number];

/** A monotonic clock, without loading `performance`. */
const nowMs = (): number => process.uptime() * 1_000;

export function flushAtExit(telemetry: Telemetry, flushTimeoutMs: number): void {
  let deadline = Number.POSITIVE_INFINITY;
  let closed = false;
  const awaitFlush = async () => {
    if (!telemetry.hasPendingSpans()) return true;
    deadline = nowMs() + flushTimeoutMs;
    return telemetry.flush(flushTimeoutMs);
  };
  const close = () => {
    if (closed) return;
    closed = true;
    // The sending process gets only the time that the awaited flush has left.
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
 * Calls `close` after the app's handlers of 'exit': they may end spans, such as the root span of a
 * command-line tool.
 *
 * When the event loop has drained, and before an uncaught exception ends the process, the preload's handler
 * is moved to the end. process.exit() has no such event, but calls process.reallyExit() after the handlers.
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
  // A microtask later, the app's handlers of the same event have run too.
  process.on('beforeExit', () => queueMicrotask(closeLast));
  process.on('uncaughtExceptionMonitor', () => {
    // Thrown by a handler of 'exit': Node does not call the handlers after it.
    if (exiting) close();
    else closeLast();
  });

  // Undocumented. signal-exit and others wrap it too, since no public function is called after the handlers.
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
 * The event loop has drained. A handler of beforeExit may still start work. When nothing was started one turn
 * later, the process is about to exit, and only the flush keeps it alive.
 */
function flushWhenIdle(telemetry: Telemetry, flush: () => Promise<boolean>): void {
  process.on('beforeExit', () => {
    if (!telemetry.hasPendingSpans()) return;
    openStandardStreams();
    const idle = process.getActiveResourcesInfo();
    const flushIfIdle = async () => {
      const isOver = await flush();
      hideNextBeforeExit();
      if (!isOver) exitSoon();
    };
    const look = (turns: number) =>
      setImmediate(() => {
        if (!startedSince(idle, process.getActiveResourcesInfo())) flushIfIdle().catch(ignore);
        else if (turns > 1) look(turns - 1);
      });
    look(IDLE_TURNS);
  });
}

/**
 * grpc-js keeps the process alive for up to two turns of the event loop when a request with spans begins.
 * Work of the app that takes a thread, a socket or a timer is not over so soon.
 */
const IDLE_TURNS = 5;

/** A hook that fails, on a process object that the app has frozen for instance, is not the app's error. */
const ignore = (): void => {};

/**
 * Node opens them at their first use. They are listed as active resources, although they do not keep the
 * process alive: when a handler of beforeExit writes the first output of the app, they must not look like
 * work that it has started.
 */
function openStandardStreams(): void {
  for (const name of ['stdout', 'stderr'] as const) {
    try {
      process[name];
    } catch {
      // Closed, or replaced by the app.
    }
  }
}

/**
 * The flush kept the process alive, so Node emits beforeExit a second time. The app's handlers would not see
 * that without the preload, so they are removed until then.
 */
function hideNextBeforeExit(): void {
  const listeners = process.rawListeners('beforeExit') as (() => void)[];
  for (const listener of listeners) process.off('beforeExit', listener);
  process.once('beforeExit', () => {
    for (const listener of listeners) process.on('beforeExit', listener);
  });
}

/**
 * The time limit is over and a request is in flight. Those of the preload's senders do not keep the process
 * alive. Zipkin's exporter and those of a configuration file do, and cannot be cancelled.
 */
function exitSoon(): void {
  setTimeout(() => process.exit(), 20).unref();
}

/** Whether `now` lists a resource that `before` did not, apart from the immediate of this check. */
function startedSince(before: readonly string[], now: readonly string[]): boolean {
  const known = [...before, 'Immediate'];
  return now.some((resource) => {
    const index = known.indexOf(resource);
    if (index !== -1) known.splice(index, 1);
    return index === -1;
  });
}

function flushOnSignal(signal: ExitSignal, flush: () => Promise<void>): void {
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
    await flush().catch(ignore);
    leave();
    process.kill(process.pid, signal);
  };
  // The preload's handler is installed only while the app has none. So the app, and libraries that count
  // handlers, see the same as without the preload. When the app removes its last handler, the preload's is
  // installed again.
  const stepAside = (event: string | symbol, listener: unknown) => {
    if (event !== signal || listener === onSignal) return;
    // Not at once: without a listener, Node would stop handling the signal before the app's handler is
    // installed.
    queueMicrotask(() => {
      if (process.listenerCount(signal) > 1) leave();
    });
  };
  const stepIn = (event: string | symbol) => {
    // Also after removeAllListeners(), which removes the preload's handler with the app's.
    if (event === signal && !leaving && process.listenerCount(signal) === 0) process.on(signal, onSignal);
  };
  process.on('newListener', stepAside);
  process.on('removeListener', stepIn);
  // An earlier preload may handle it, or Node itself by --report-on-signal.
  if (process.listenerCount(signal) === 0) process.on(signal, onSignal);
}
