export interface Spread {
  /** Or another representative value, where documented. */
  median: number;
  min: number;
  max: number;
  /** Number of values. */
  count: number;
}

/** Median, smallest and largest value; undefined without values. */
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

/** The cost that a preload adds, by round: each value minus that of the same round without a preload. */
export function added(withPreload: number[], without: number[]): number[] {
  return withPreload.map((value, round) => value - (without[round] as number));
}

/**
 * Ratio of the means of two added costs over all rounds: single rounds vary by more than either cost. The
 * range is that of single rounds. Undefined when the other side has no measurable cost.
 */
export function ratioOfMeans(ours: number[], theirs: number[]): Spread | undefined {
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const single = spread(ratios(ours, theirs));
  return single && sum(theirs) > 0 ? { ...single, median: sum(ours) / sum(theirs) } : undefined;
}

/**
 * Ratio of two added costs, by round. Rounds in which the other side has no measurable cost are left out,
 * which shows in the count.
 */
export function ratios(ours: number[], theirs: number[]): number[] {
  return ours.flatMap((value, round) => {
    const other = theirs[round] as number;
    return other > 0 ? [value / other] : [];
  });
}
