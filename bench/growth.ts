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

/** The hundred clients come last: they stay, and their heap must not affect runs with one client. */
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

/** The cost of a call at one size, in µs of CPU time. */
export interface Growth {
  /** The growing quantity, for instance `clients`. */
  by: string;
  operation: Point['operation'];
  size: number;
  /** Of its series. */
  isSmallest: boolean;
  /** Without a span, in the same processes. */
  untraced: Spread;
  /** Added by a span. */
  ours: Spread;
  /**
   * `ours` as a multiple of its lowest value at a smaller size; undefined for the smallest size or below the
   * noise.
   */
  oursToSmaller: number | undefined;
}

/** Largest ratio to a smaller size at which a cost counts as constant. */
export const FLAT = 1.5;

/**
 * The young generation is collected before each slice and holds the garbage of most slices (256 calls fill it
 * every other time); otherwise chance collections would exceed the cost of a span. No GC threads: their work
 * would count for whichever slice runs.
 */
const COLLECTIONS = [
  '--expose-gc',
  '--single-threaded-gc',
  '--min-semi-space-size=16',
  '--max-semi-space-size=16',
];

/**
 * Calls per slice: few, so that both slices of a pair see the same machine state, but at least one per call
 * in flight.
 */
const FEWEST_CALLS = 16;

const sliceCalls = ({ inFlight }: Point): number => Math.max(FEWEST_CALLS, inFlight);

/** Per turn: fewer of long slices, more of those in which the process sleeps and wakes, which vary most. */
function slicePairs({ inFlight }: Point): number {
  if (inFlight > FEWEST_CALLS) return 1;
  return inFlight === 1 ? 4 : 2;
}

/**
 * The cost of a call as the work around it grows, in the order of the series. Throws when spans are missing.
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
        throw new Error(`${results[0]?.traced} calls had a span, but ${received} spans arrived`);
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
 * The slices of one process, where a point of several series gets the pairs of all of them.
 *
 * @param slices by series, point and pair, as is the result
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
