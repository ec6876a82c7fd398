import { type Bench, oneByOne, receivedSpans, rounds } from './rounds.ts';
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
  /** Without a span, in the same processes. */
  untraced: Spread;
  /** How much more it is with one. */
  ours: Spread;
  /** That as a multiple of what it is at the basis; undefined where that drowned in noise. */
  oursToBasis: number | undefined;
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

/** The cost of a call as the work around it grows, in the order of the series. Throws when spans of it did not come in. */
export async function growth(bench: Bench, ours: Variant): Promise<Growth[]> {
  const { growthRounds, growthTurns, growthWarmUp } = bench.plan;
  const env = {
    BENCH_WARM_UP: String(growthWarmUp),
    BENCH_TURNS: String(growthTurns),
    BENCH_SERIES: JSON.stringify(
      SERIES.map(({ points }) => points.map((point) => ({ ...point, calls: sliceCalls(point) }))),
    ),
  };
  const options = { env, flags: SMALL_COLLECTIONS };
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
 * What one process measured, where a point that several series have gets the turns of all of them.
 *
 * @param slices by series, point and turn; the result as well
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

/** The CPU time in ms of the calls of one turn at one point, with spans and without. */
export interface Slice {
  traced: number;
  untraced: number;
}

/** @param slices by round, point and turn */
export function rowsOf({ what, points, basis, size }: Series, slices: Slice[][][]): Growth[] {
  const rows = points.map((point, at) => {
    /** µs of a call, by round. */
    const ofRounds = (of: (slice: Slice) => number) =>
      spread(
        slices.map((round) => (median((round[at] as Slice[]).map(of)) * 1000) / sliceCalls(point)),
      ) as Spread;
    return {
      by: what,
      operation: point.operation,
      size: size(point),
      isBasis: at === basis,
      untraced: ofRounds(({ untraced }) => untraced),
      ours: ofRounds(({ traced, untraced }) => traced - untraced),
    };
  });
  const atBasis = (rows[basis] as (typeof rows)[number]).ours.median;
  return rows.map((row) => ({ ...row, oursToBasis: atBasis > 0 ? row.ours.median / atBasis : undefined }));
}

const median = (values: number[]): number => (spread(values) as Spread).median;
