import { type Bench, rotated, together } from './rounds.ts';
import { added, type Spread, spread } from './statistics.ts';
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

/** What a call costs at one size of what grows, in µs of CPU time. */
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

/** Under 15 minutes on the slowest machine; the apps live as long as the series takes. */
const DEADLINE_MS = 900_000;

/** The cost of a call as the work around it grows, in the order of the series. */
export async function growth(bench: Bench, variants: Variant[]): Promise<Growth[]> {
  const { growthCalls, growthRounds } = bench.plan;
  const points = SERIES.flatMap(({ by, sizes, point }) => sizes.map((size) => ({ ...point, [by]: size })));
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
    if (turn % turnsOfRound === 0) bench.progress('growing work', turn / turnsOfRound + 1, growthRounds);
  };
  const env = {
    BENCH_MILVUS: bench.milvus.address,
    BENCH_POINTS: JSON.stringify(points),
    BENCH_CALLS: String(growthCalls),
    BENCH_SLICES: String(growthRounds * points.length),
  };
  const options = { env, deadlineMs: DEADLINE_MS, onTurn };
  const costs = await together(bench, variants, 'growth.mjs', options, turns);
  const perCallUs = (name: string, point: number): number[] => {
    const slices = costs[variants.findIndex((variant) => variant.name === name)]?.sliceCpuMs as number[];
    return slices
      .filter((_, slice) => slice % points.length === point)
      .map((ms) => (ms * 1000) / growthCalls);
  };
  const rows = SERIES.flatMap(({ by, sizes, point }) =>
    sizes.map((size, at) => ({ by: SHOWN[by], operation: point.operation, size, isFirst: at === 0 })),
  );
  const measured = rows.map((row, point) => {
    const none = perCallUs('none', point);
    return {
      ...row,
      none: spread(none) as Spread,
      ours: spread(added(perCallUs('ours', point), none)) as Spread,
      stock: spread(added(perCallUs('stock', point), none)) as Spread,
    };
  });
  return measured.map((row) => {
    const first = measured.find(({ by }) => by === row.by) as (typeof measured)[number];
    return {
      ...row,
      // Of the medians, not the median of the ratios: what is added is small beside what varies from round to round.
      oursToFirst: row.ours.median / first.ours.median,
      stockToFirst: row.stock.median / first.stock.median,
    };
  });
}
