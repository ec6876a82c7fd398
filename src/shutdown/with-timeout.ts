/**
 * Waits for `work`, but not longer than `limitMs`. Never rejects; a later result of `work` is ignored.
 */
export async function withinMs(limitMs: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    // After a blocked event loop, the answer may be in a socket. Sockets are read before immediates run.
    timer = setTimeout(() => setImmediate(resolve), limitMs);
  });
  await Promise.race([Promise.allSettled([work]), limit]);
  clearTimeout(timer);
}
