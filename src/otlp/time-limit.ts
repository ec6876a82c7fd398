/**
 * A limit in the time that the event loop has had: while the app computes, no answer can be read, so that time does
 * not count. A plain timer would fire before an answer that has been in the socket for long.
 */

/** A tick that comes late counts once, so a limit is at least as many turns of the event loop. */
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
    // Sockets are read between the timers and this.
    lastTurn = setImmediate(onOver);
  }, limitMs / TICKS).unref();
  return () => {
    clearInterval(timer);
    clearImmediate(lastTurn);
  };
}
