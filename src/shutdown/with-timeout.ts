/**
 * Waits for `work`, but not longer than `limitMs`, and resolves to whether it has settled by then. Never
 * rejects; a later result of `work` is ignored.
 */
export async function settlesWithin(limitMs: number, work: Promise<unknown> | undefined): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<boolean>((resolve) => {
    // After a blocked event loop, the answer may be in a socket. Sockets are read before immediates run.
    timer = setTimeout(() => setImmediate(resolve, false), limitMs);
  });
  const isSettled = await Promise.race([Promise.allSettled([work]).then(() => true), limit]);
  clearTimeout(timer);
  return isSettled;
}
