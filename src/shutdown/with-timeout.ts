/**
 * Waits for `work`, but not longer than `limitMs`. What becomes of it later is nobody's concern; never
 * rejects.
 */
export async function withinMs(limitMs: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    // Where the event loop was blocked, what settles it may be in a socket, which is read before the immediates.
    timer = setTimeout(() => setImmediate(resolve), limitMs);
  });
  await Promise.race([Promise.allSettled([work]), limit]);
  clearTimeout(timer);
}
