/**
 * Every way a process ends → flush, bounded → the app's own ending.
 *
 * The rule: with a handler of the app's, the app decides; without one, the process ends as it would have ended.
 */
import type { Diagnostics } from './diagnostics.ts';
import type { Telemetry } from './telemetry.ts';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
type EndingSignal = (typeof SIGNALS)[number];

export function flushAtEnd(telemetry: Telemetry, flushTimeoutMs: number, diagnostics: Diagnostics): void {
  const flush = () => flushBounded(telemetry, flushTimeoutMs, diagnostics);
  flushWhenIdle(telemetry, flush);
  for (const signal of SIGNALS) flushOnSignal(signal, telemetry, flush);
}

/** Flushes, but not for longer than the bound; says how much was left when the bound was reached. */
async function flushBounded(
  telemetry: Telemetry,
  flushTimeoutMs: number,
  diagnostics: Diagnostics,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const bound = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), flushTimeoutMs);
  });
  const outcome = await Promise.race([telemetry.flush(), bound]);
  clearTimeout(timer);
  if (outcome === 'late' && telemetry.unsent() > 0) {
    diagnostics.warn(
      `${telemetry.unsent()} spans were not sent before the end: the collector did not answer within ${flushTimeoutMs} ms (OTEL_NODE_FLUSH_TIMEOUT).`,
    );
  }
}

/**
 * The normal end. beforeExit says that nothing is left to do, unless a handler of the app's starts something: so a
 * turn later, when nothing was started, the process is at its end. It is then ended by process.exit(), which is what
 * Node would do next; going on would make beforeExit fire a second time for the app.
 */
function flushWhenIdle(telemetry: Telemetry, flush: () => Promise<void>): void {
  process.on('beforeExit', () => {
    if (telemetry.unsent() === 0) return;
    // Standard streams and the like are listed although they keep nothing alive.
    const idle = process.getActiveResourcesInfo();
    setImmediate(async () => {
      if (startedSince(idle, process.getActiveResourcesInfo())) return;
      await flush();
      process.exit();
    });
  });
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

function flushOnSignal(signal: EndingSignal, telemetry: Telemetry, flush: () => Promise<void>): void {
  const onSignal = async () => {
    if (telemetry.unsent() > 0) await flush();
    // The app may have added a handler while we waited: then it has missed nothing but this one.
    process.off(signal, onSignal);
    process.kill(process.pid, signal);
  };
  // Ours is there only while the app has none of its own. So the app's handlers, and libraries that count them,
  // see what they would see without us; and when the last one goes, the spans are still safe.
  const stepAside = (event: string | symbol, listener: unknown) => {
    if (event !== signal || listener === onSignal) return;
    // Not at once: with no listener left, Node would stop listening before the app's is in place.
    queueMicrotask(() => {
      if (process.listenerCount(signal) > 1) process.off(signal, onSignal);
    });
  };
  const stepIn = (event: string | symbol, listener: unknown) => {
    if (event === signal && listener !== onSignal && process.listenerCount(signal) === 0)
      process.on(signal, onSignal);
  };
  process.on('newListener', stepAside);
  process.on('removeListener', stepIn);
  process.on(signal, onSignal);
}
