/**
 * Runs `parts`, `atOnce` of them at a time, and returns their results in order. When one fails or `signal`
 * aborts, the others' signal aborts; rejects with that failure once all have ended.
 */
export async function sideBySide<Result>(
  parts: ((signal: AbortSignal) => Promise<Result>)[],
  { atOnce = parts.length, signal }: { atOnce?: number; signal?: AbortSignal } = {},
): Promise<Result[]> {
  const stopped = new AbortController();
  const eitherSignal = AbortSignal.any(signal ? [signal, stopped.signal] : [stopped.signal]);
  const results: Result[] = [];
  const waiting = [...parts.entries()];
  const failures: unknown[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next && failures.length === 0; next = waiting.shift()) {
      const [at, part] = next;
      try {
        results[at] = await part(eitherSignal);
      } catch (failure) {
        failures.push(failure);
        stopped.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  if (failures.length > 0) throw failures[0];
  return results;
}
