import { type Bench, rotated, together } from './rounds.ts';
import { lowerQuartile, type Spread } from './statistics.ts';
import type { Variant } from './variants.ts';

/** A way to call. */
interface Point {
  operation: 'search' | 'query';
  clients: number;
  collections: number;
  inFlight: number;
}

type Grown = 'clients' | 'collections' | 'inFlight';

const SERIES: { by: Grown; sizes: number[]; point: Point }[] = [
  {
    by: 'clients',
    sizes: [1, 10, 100],
    point: { operation: 'search', clients: 1, collections: 1, inFlight: 8 },
  },
  {
    by: 'collections',
    sizes: [1, 30, 1000],
    point: { operation: 'query', clients: 1, collections: 1, inFlight: 8 },
  },
  {
    by: 'inFlight',
    sizes: [1, 16, 256],
    point: { operation: 'search', clients: 1, collections: 1, inFlight: 1 },
  },
];
const SHOWN: Record<Grown, string> = {
  clients: 'clients',
  collections: 'collections',
  inFlight: 'calls in flight',
};

/**
 * What a call costs at one size of what grows, in µs of CPU time. What disturbs a slice of calls (a collection, another process)
 * only ever adds to it, so of all slices the lower quartile counts; the range is that of the thirds of the rounds.
 */
export interface Growth {
  /** What grows, for instance `clients`. */
  by: string;
  operation: Point['operation'];
  size: number;
  isFirst: boolean;
  none: Spread;
  ours: Spread;
  stock: Spread;
  /** The added cost as a multiple of that at the first size of the same series. */
  oursToFirst: number;
  stockToFirst: number;
}

/** As far as a cost that is said not to grow may be off from the first of its series. */
export const FLAT = 1.5;

/**
 * With V8's own young generation, two or three collections fall into the calls of one turn, and one more or less of them
 * weighs more than what is measured. Small ones are many, and each turn has its share.
 */
const SMALL_COLLECTIONS = ['--min-semi-space-size=2', '--max-semi-space-size=2'];

/** The cost of a call as the work around it grows, in the order of the series. */
export async function growth(bench: Bench, variants: Variant[]): Promise<Growth[]> {
  const measured: Growth[] = [];
  // Processes of their own for each: the heap of a hundred clients is not for those who call with one.
  for (const series of SERIES) measured.push(...(await grow(bench, variants, series)));
  return measured;
}

async function grow(
  bench: Bench,
  variants: Variant[],
  { by, sizes, point }: (typeof SERIES)[number],
): Promise<Growth[]> {
  const { growthCalls, growthRounds, growthWarmUp } = bench.plan;
  const points = sizes.map((size) => ({ ...point, [by]: size }));
  const turns = Array.from({ length: growthRounds }, (_, round) =>
    // All variants at one point, then all at the next.
    points.flatMap(() =>
      rotated(
        variants.map((_, at) => at),
        round,
      ),
    ),
  ).flat();
  const turnsOfRound = points.length * variants.length;
  const onTurn = (turn: number) => {
    if (turn % turnsOfRound === 0)
      bench.progress(`growing work, ${SHOWN[by]}`, turn / turnsOfRound + 1, growthRounds);
  };
  const env = {
    BENCH_POINTS: JSON.stringify(points),
    BENCH_CALLS: String(growthCalls),
    BENCH_WARM_UP: String(growthWarmUp),
    BENCH_SLICES: String(growthRounds * points.length),
  };
  const options = { env, flags: SMALL_COLLECTIONS, onTurn };
  const costs = await together(bench, variants, 'growth.mjs', options, turns);
  const perCallUs = (name: string, point: number): number[] => {
    const slices = costs[variants.findIndex((variant) => variant.name === name)]?.sliceCpuMs as number[];
    return slices
      .filter((_, slice) => slice % points.length === point)
      .map((ms) => (ms * 1000) / growthCalls);
  };
  const measured = sizes.map((size, at) => {
    const none = perCallUs('none', at);
    return {
      by: SHOWN[by],
      operation: point.operation,
      size,
      isFirst: at === 0,
      none: quietly(none),
      ours: quietly(perCallUs('ours', at), none),
      stock: quietly(perCallUs('stock', at), none),
    };
  });
  const first = measured[0] as (typeof measured)[number];
  return measured.map((row) => ({
    ...row,
    oursToFirst: row.ours.median / first.ours.median,
    stockToFirst: row.stock.median / first.stock.median,
  }));
}

const THIRDS = [0, 1, 2];

/** What `values` are in the quieter slices, or are there above `without`. At least three values. */
function quietly(values: number[], without?: number[]): Spread {
  const above = (of: (values: number[]) => number[]) =>
    lowerQuartile(of(values)) - (without === undefined ? 0 : lowerQuartile(of(without)));
  const thirds = THIRDS.map((third) => above((all) => all.filter((_, round) => round % 3 === third)));
  return {
    median: above((all) => all),
    min: Math.min(...thirds),
    max: Math.max(...thirds),
    count: values.length,
  };
}
