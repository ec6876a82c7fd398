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
  /** The place of the point that the others are held against: the smallest, unless that is too unsteady for it. */
  basis: number;
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
    basis: 0,
    size: ({ collections }) => collections,
  },
  {
    what: 'calls in flight',
    points: [1, 8, 256].map((inFlight) => ({ operation: 'search', clients: 1, collections: 1, inFlight })),
    // Between calls that are made one at a time the process sleeps and is woken, which costs more or less than all that is added.
    basis: 1,
    size: ({ inFlight }) => inFlight,
  },
  {
    what: 'clients',
    points: [1, 10, 100].map((clients) => ({ operation: 'search', clients, collections: 1, inFlight: 8 })),
    basis: 0,
    size: ({ clients }) => clients,
  },
];

/** What a call costs at one size of what grows, in µs of CPU time. */
export interface Growth {
  /** What grows, for instance `clients`. */
  by: string;
  operation: Point['operation'];
  size: number;
  /** Whether the others of its series are held against it. */
  isBasis: boolean;
  none: Spread;
  ours: Spread;
  stock: Spread;
  /** The added cost as a multiple of that at the basis; undefined where that drowned in noise. */
  oursToBasis: number | undefined;
  stockToBasis: number | undefined;
}

/** As far as a cost that is said not to grow may be above that at the basis. */
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
  { what, points, basis, size }: Series,
  none: number[][][],
  ours: number[][][],
  stock: number[][][],
): Growth[] {
  const oursAdded = addedAtPoints(ours, none, basis);
  const stockAdded = addedAtPoints(stock, none, basis);
  const toBasis = (all: Spread[], at: number) => {
    const atBasis = (all[basis] as Spread).median;
    return atBasis > 0 ? (all[at] as Spread).median / atBasis : undefined;
  };
  return points.map((point, at) => ({
    by: what,
    operation: point.operation,
    size: size(point),
    isBasis: at === basis,
    none: spread(none.map((round) => median(round[at] as number[]))) as Spread,
    ours: oursAdded[at] as Spread,
    stock: stockAdded[at] as Spread,
    oursToBasis: toBasis(oursAdded, at),
    stockToBasis: toBasis(stockAdded, at),
  }));
}

const median = (values: number[]): number => (spread(values) as Spread).median;

/**
 * What a preload adds at each point: at the basis, against the app without it in the same turn; at the others, that and by how
 * much more a call costs there than at the basis in the same turn of the same process, beyond what it is without a
 * preload. Processes of the same app differ by tens of µs a call, whatever they do; their points do not.
 *
 * @param withPreload and `without`: µs of a call, by round, point and turn
 * @param basis the place of a point
 * @returns by point; the range is that of the rounds
 */
export function addedAtPoints(withPreload: number[][][], without: number[][][], basis: number): Spread[] {
  const rises = (round: number[][]) => round.map((turns) => median(added(turns, round[basis] as number[])));
  const byRound = withPreload.map((round, at) => {
    const other = without[at] as number[][];
    const [rise, riseWithout] = [rises(round), rises(other)];
    return {
      atBasis: median(added(round[basis] as number[], other[basis] as number[])),
      more: rise.map((value, point) => value - (riseWithout[point] as number)),
    };
  });
  const atBasis = median(byRound.map((round) => round.atBasis));
  return (byRound[0]?.more ?? []).map((_, point) => {
    const more = byRound.map((round) => round.more[point] as number);
    return {
      ...(spread(more.map((value, round) => value + (byRound[round]?.atBasis as number))) as Spread),
      median: atBasis + median(more),
    };
  });
}
