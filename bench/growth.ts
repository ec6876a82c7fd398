import { type Bench, rotated, rounds, together } from './rounds.ts';
import { added, type Spread, spread } from './statistics.ts';
import type { Variant } from './variants.ts';

/** A way to call. */
interface Point {
  operation: 'search' | 'query';
  clients: number;
  collections: number;
  inFlight: number;
}

interface Series {
  what: string;
  points: Point[];
  size(point: Point): number;
}

/** The hundred clients come last: they stay, and their heap is not for those who call with one. */
const SERIES: Series[] = [
  {
    what: 'collections',
    points: [1, 30, 1000].map((collections) => ({
      operation: 'query',
      clients: 1,
      collections,
      inFlight: 8,
    })),
    size: ({ collections }) => collections,
  },
  {
    what: 'calls in flight',
    points: [1, 16, 256].map((inFlight) => ({ operation: 'search', clients: 1, collections: 1, inFlight })),
    size: ({ inFlight }) => inFlight,
  },
  {
    what: 'clients',
    points: [1, 10, 100].map((clients) => ({ operation: 'search', clients, collections: 1, inFlight: 8 })),
    size: ({ clients }) => clients,
  },
];

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
  /** The added cost as a multiple of that at the first size of the same series; undefined where that drowned in noise. */
  oursToFirst: number | undefined;
  stockToFirst: number | undefined;
}

/** As far as a cost that is said not to grow may be off from the first of its series. */
export const FLAT = 1.5;

/**
 * With V8's own young generation, a collection falls into every fifth slice or so. Small ones are many, and each slice has its
 * share of them.
 */
const SMALL_COLLECTIONS = ['--min-semi-space-size=2', '--max-semi-space-size=2'];

/**
 * At one point in one turn. As few as possible, so that all points of a turn meet the machine in the same state; but as many as
 * are in flight.
 */
const FEWEST_CALLS = 64;

const sliceCalls = ({ inFlight }: Point): number => Math.max(FEWEST_CALLS, inFlight);

/** The cost of a call as the work around it grows, in the order of the series. */
export async function growth(bench: Bench, variants: Variant[]): Promise<Growth[]> {
  const { growthRounds, growthTurns, growthWarmUp } = bench.plan;
  const env = {
    BENCH_WARM_UP: String(growthWarmUp),
    BENCH_TURNS: String(growthTurns),
    BENCH_SERIES: JSON.stringify(
      SERIES.map(({ points }) => points.map((point) => ({ ...point, calls: sliceCalls(point) }))),
    ),
  };
  const places = variants.map((_, at) => at);
  // A turn more for each series, in which the apps get ready for it.
  const turns = SERIES.flatMap(() =>
    Array.from({ length: 1 + growthTurns }, (_, turn) => rotated(places, turn)),
  ).flat();
  const options = { env, flags: SMALL_COLLECTIONS };
  const costs = await rounds(
    bench,
    'growing work',
    // The apps warm up by themselves.
    { count: growthRounds, warmUp: false },
    variants,
    (order) => together(bench, order, 'growth.mjs', options, turns),
  );
  return SERIES.flatMap((series, at) => {
    /** µs of a call, by round, point and turn. */
    const of = (name: string): number[][][] =>
      (costs.get(name) ?? []).map((cost) => {
        const slicesMs = (cost.pointCpuMs as number[][][])[at] as number[][];
        return series.points.map((point, index) =>
          (slicesMs[index] as number[]).map((ms) => (ms * 1000) / sliceCalls(point)),
        );
      });
    return rowsOf(series, of('none'), of('ours'), of('stock'));
  });
}

function rowsOf(
  { what, points, size }: Series,
  none: number[][][],
  ours: number[][][],
  stock: number[][][],
): Growth[] {
  const oursAdded = addedAtPoints(ours, none);
  const stockAdded = addedAtPoints(stock, none);
  const toFirst = (all: Spread[], at: number) => {
    const first = (all[0] as Spread).median;
    return first > 0 ? (all[at] as Spread).median / first : undefined;
  };
  return points.map((point, at) => ({
    by: what,
    operation: point.operation,
    size: size(point),
    isFirst: at === 0,
    none: spread(none.map((round) => median(round[at] as number[]))) as Spread,
    ours: oursAdded[at] as Spread,
    stock: stockAdded[at] as Spread,
    oursToFirst: toFirst(oursAdded, at),
    stockToFirst: toFirst(stockAdded, at),
  }));
}

const median = (values: number[]): number => (spread(values) as Spread).median;

/**
 * What a preload adds at each point: at the first one, against the app without it in the same turn; at the others, that and by how
 * much more a call costs there than at the first point in the same turn of the same process, beyond what it is without a
 * preload. Processes of the same app differ by tens of µs a call, whatever they do; their points do not.
 *
 * @param withPreload and `without`: µs of a call, by round, point and turn
 * @returns by point; the range is that of the rounds
 */
export function addedAtPoints(withPreload: number[][][], without: number[][][]): Spread[] {
  const rises = (round: number[][]) => round.map((turns) => median(added(turns, round[0] as number[])));
  const byRound = withPreload.map((round, at) => {
    const other = without[at] as number[][];
    const [rise, riseWithout] = [rises(round), rises(other)];
    return {
      first: median(added(round[0] as number[], other[0] as number[])),
      more: rise.map((value, point) => value - (riseWithout[point] as number)),
    };
  });
  const first = median(byRound.map((round) => round.first));
  return (byRound[0]?.more ?? []).map((_, point) => {
    const more = byRound.map((round) => round.more[point] as number);
    return {
      ...(spread(more.map((value, round) => value + (byRound[round]?.first as number))) as Spread),
      median: first + median(more),
    };
  });
}
