/**
 * A limit that excludes time for which the event loop is blocked: no answer can be read meanwhile. A plain
 * timer would fire before an answer that is in the socket already.
 */

/** A late tick counts once, so a limit takes at least this number of event loop turns. */
const TICKS = 10;

/**
 * Calls `onOver` once, after `limitMs`; never for Infinity. It does not keep the process alive.
 *
 * @returns stops it
 */
export function startTimeLimit(limitMs: number, onOver: () => void): () => void {
  if (limitMs === Number.POSITIVE_INFINITY) return () => {};
  let ticks = 0;
  let lastTurn: NodeJS.Immediate | undefined;
  const timer = setInterval(() => {
    if (++ticks < TICKS) return;
    clearInterval(timer);
    // Sockets are read between timers and immediates.
    lastTurn = setImmediate(onOver);
  }, limitMs / TICKS).unref();
  return () => {
    clearInterval(timer);
    clearImmediate(lastTurn);
  };
}
