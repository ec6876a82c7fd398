export interface Spread {
  /** Or another value that stands for all of them, where that is said. */
  median: number;
  min: number;
  max: number;
  /** How many values it is made of. */
  count: number;
}

/** Median, smallest and largest value; undefined for no value at all. */
export function spread(values: number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined) return undefined;
  return {
    median: (low + high) / 2,
    min: sorted[0] as number,
    max: sorted.at(-1) as number,
    count: sorted.length,
  };
}

/** What a preload added, round by round: each value minus the one of the same round without a preload. */
export function added(withPreload: number[], without: number[]): number[] {
  return withPreload.map((value, round) => value - (without[round] as number));
}

/**
 * Ratio of two added costs, round by round. A round in which the other side seems to have added nothing has no ratio:
 * it was drowned in noise and is left out, which shows in the count.
 */
export function ratios(ours: number[], theirs: number[]): number[] {
  return ours.flatMap((value, round) => {
    const other = theirs[round] as number;
    return other > 0 ? [value / other] : [];
  });
}
