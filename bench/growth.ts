import { type Bench, oneByOne, receivedSpans, rounds } from './rounds.ts';
import type { Slice } from './run-app.ts';
import { type Spread, spread } from './statistics.ts';
import type { Variant } from './variants.ts';

/** A way to call. */
interface Point {
  operation: 'search' | 'query';
  clients: number;
  collections: number;
  inFlight: number;
}

export interface Series {
  what: string;
  /** The smallest first. */
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
    points: [1, 8, 256].map((inFlight) => ({ operation: 'search', clients: 1, collections: 1, inFlight })),
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
  /** Of its series. */
  isSmallest: boolean;
  /** Without a span, in the same processes. */
  untraced: Spread;
  /** How much more it is with one. */
  ours: Spread;
  /**
   * That as a multiple of the least that it is at a smaller size; undefined where that drowned in noise, or
   * nothing is smaller.
   */
  oursToSmaller: number | undefined;
}

/** As far as a cost that is said not to grow may be above that at a smaller size. */
export const FLAT = 1.5;

/**
 * The young generation is collected before each slice, and has room for what most of them leave (256 calls
 * fill it every other time): how many collections fall into one would be chance otherwise, and more than what
 * a span adds. No threads: what they do would count for whichever slice is under way.
 */
const COLLECTIONS = [
  '--expose-gc',
  '--single-threaded-gc',
  '--min-semi-space-size=16',
  '--max-semi-space-size=16',
];

/**
 * Of a slice: as few as possible, so that both of a pair meet the machine in the same state, but two each of
 * those in flight; or as many as are in flight.
 */
const FEWEST_CALLS = 16;

const sliceCalls = ({ inFlight }: Point): number => Math.max(FEWEST_CALLS, inFlight);

/**
 * In one turn: fewer of the long slices, more of those in which the process sleeps and is woken, which differ
 * most.
 */
function slicePairs({ inFlight }: Point): number {
  if (inFlight > FEWEST_CALLS) return 1;
  return inFlight === 1 ? 4 : 2;
}

/**
 * The cost of a call as the work around it grows, in the order of the series. Throws when spans of it did not
 * come in.
 */
export async function growth(bench: Bench, ours: Variant): Promise<Growth[]> {
  const { growthRounds, growthTurns, growthWarmUp } = bench.plan;
  const env = {
    BENCH_WARM_UP: String(growthWarmUp),
    BENCH_TURNS: String(growthTurns),
    BENCH_SERIES: JSON.stringify(
      SERIES.map(({ points }) =>
        points.map((point) => ({ ...point, calls: sliceCalls(point), pairs: slicePairs(point) })),
      ),
    ),
  };
  const options = { env, flags: COLLECTIONS };
  const costs = await rounds(
    bench,
    'growing work',
    // The app warms up by itself.
    { count: growthRounds, warmUp: false },
    [ours],
    async (variants) => {
      await bench.collector.ask('forget what came before');
      const results = await oneByOne(bench, variants, 'growth.mjs', options);
      const received = (await receivedSpans(bench, variants, /^(search|query) /)).get(ours.name);
      if (received !== results[0]?.traced)
        throw new Error(`${results[0]?.traced} calls had a span, and ${received} spans came in`);
      return results;
    },
  );
  const processes = (costs.get(ours.name) ?? []).map((cost) =>
    pooled(SERIES, cost.sliceCpuMs as Slice[][][]),
  );
  return SERIES.flatMap((series, at) =>
    rowsOf(
      series,
      processes.map((slices) => slices[at] as Slice[][]),
    ),
  );
}

/**
 * What one process measured, where a point that several series have gets the pairs of all of them.
 *
 * @param slices by series, point and pair; the result as well
 */
export function pooled(allSeries: readonly Pick<Series, 'points'>[], slices: Slice[][][]): Slice[][][] {
  const keyOf = ({ operation, clients, collections, inFlight }: Point) =>
    [operation, clients, collections, inFlight].join();
  const all = new Map<string, Slice[]>();
  for (const [at, { points }] of allSeries.entries())
    for (const [place, point] of points.entries()) {
      const key = keyOf(point);
      all.set(key, [...(all.get(key) ?? []), ...((slices[at] as Slice[][])[place] as Slice[])]);
    }
  return allSeries.map(({ points }) => points.map((point) => all.get(keyOf(point)) as Slice[]));
}

/** @param slices by round, point and pair */
export function rowsOf({ what, points, size }: Series, slices: Slice[][][]): Growth[] {
  let leastUs = Number.POSITIVE_INFINITY;
  return points.map((point, at) => {
    /** µs of a call, by round. */
    const ofRounds = (of: (slice: Slice) => number) =>
      spread(
        slices.map((round) => (median((round[at] as Slice[]).map(of)) * 1000) / sliceCalls(point)),
      ) as Spread;
    const ours = ofRounds(({ traced, untraced }) => traced - untraced);
    const isSmallest = at === 0;
    const oursToSmaller = !isSmallest && leastUs > 0 ? ours.median / leastUs : undefined;
    leastUs = Math.min(leastUs, ours.median);
    return {
      by: what,
      operation: point.operation,
      size: size(point),
      isSmallest,
      untraced: ofRounds(({ untraced }) => untraced),
      ours,
      oursToSmaller,
    };
  });
}

const median = (values: number[]): number => (spread(values) as Spread).median;
