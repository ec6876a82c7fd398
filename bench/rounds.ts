import { setTimeout as sleep } from 'node:timers/promises';
import type { ReceivedSpans } from './collector.ts';
import { type AppOptions, type Cost, type Program, type RunningApp, startApp } from './run-app.ts';
import type { SideProcess } from './side-process.ts';
import type { Variant } from './variants.ts';

/** Size of a run. */
export interface Plan {
  startUpRounds: number;
  /** Sets of processes: with the mixed workload, with the uniform one, and with and without metrics. */
  searchRounds: number;
  uniformRounds: number;
  metricsRounds: number;
  /** Of each process, in sequence. */
  searchStretches: number;
  /** Of each stretch. */
  searchCalls: number;
  /** Parts of a stretch's calls, made in turn by the variants; divides searchCalls evenly. */
  searchSlices: number;
  /** Of each process, before the counted calls: V8 compiles most of the code in them. */
  warmUpCalls: number;
  /** The first of them, which have a separate row. */
  firstCalls: number;
  /** Searches for the floor: rounds, calls of each, and warm-up calls. */
  floorRounds: number;
  floorCalls: number;
  floorWarmUpCalls: number;
  memoryRounds: number;
  memoryCalls: number;
  growthRounds: number;
  /** Of each process, in each series: at each point, pairs of slices of calls, with and without spans. */
  growthTurns: number;
  /** Of each process, at the first points. */
  growthWarmUp: number;
  peerSearchRounds: number;
  /** Searches of each process on the real Milvus, in slices, after some that do not count. */
  latencyCalls: number;
  latencySlices: number;
  latencyWarmUpCalls: number;
  burstRounds: number;
  burstCalls: number;
}

export const fullPlan: Plan = {
  startUpRounds: 15,
  searchRounds: 5,
  uniformRounds: 2,
  metricsRounds: 3,
  searchStretches: 2,
  searchCalls: 6000,
  searchSlices: 30,
  warmUpCalls: 9_000,
  firstCalls: 6000,
  floorRounds: 3,
  floorCalls: 3000,
  floorWarmUpCalls: 12_000,
  memoryRounds: 15,
  memoryCalls: 600,
  growthRounds: 2,
  growthTurns: 40,
  // Two thirds of them are searches.
  growthWarmUp: 9000,
  peerSearchRounds: 2,
  latencyCalls: 3000,
  latencySlices: 30,
  latencyWarmUpCalls: 1000,
  burstRounds: 3,
  burstCalls: 5000,
};

/** Only tests the bench: too few rounds for a judgement. */
export const quickPlan: Plan = {
  startUpRounds: 2,
  searchRounds: 1,
  uniformRounds: 1,
  metricsRounds: 1,
  searchStretches: 2,
  searchCalls: 600,
  searchSlices: 2,
  warmUpCalls: 600,
  firstCalls: 300,
  floorRounds: 1,
  floorCalls: 600,
  floorWarmUpCalls: 600,
  memoryRounds: 1,
  memoryCalls: 1000,
  growthRounds: 1,
  growthTurns: 3,
  growthWarmUp: 300,
  peerSearchRounds: 1,
  latencyCalls: 100,
  latencySlices: 2,
  latencyWarmUpCalls: 50,
  burstRounds: 1,
  burstCalls: 5000,
};

export interface Bench {
  plan: Plan;
  collector: SideProcess;
  milvus: SideProcess;
  signal: AbortSignal;
  /** Reports progress: the current step, and its round. */
  progress(what: string, round: number, rounds: number): void;
}

/** The costs of each round, by the variant's name. */
export type Costs = Map<string, Cost[]>;

/**
 * Runs every variant once per round, in rotated order, so that drift of the machine affects all alike. With
 * `warmUp`, a first round fills the file caches and does not count.
 */
export async function rounds(
  bench: Bench,
  what: string,
  options: { count: number; warmUp: boolean },
  variants: Variant[],
  run: (variants: Variant[]) => Promise<Cost[]>,
): Promise<Costs> {
  const costs: Costs = new Map(variants.map(({ name }) => [name, []]));
  for (let round = options.warmUp ? 0 : 1; round <= options.count; round += 1) {
    bench.progress(round === 0 ? `${what}, warming up` : what, round, options.count);
    const order = rotated(variants, round);
    const results = await run(order);
    if (round === 0) continue;
    for (const [at, { name }] of order.entries()) costs.get(name)?.push(results[at] as Cost);
  }
  return costs;
}

export function rotated<T>(values: T[], by: number): T[] {
  return values.map((_, at) => values[(at + by) % values.length] as T);
}

/** Starts a program under one variant, with the bench's collector and Milvus. */
export function start(
  bench: Bench,
  variant: Variant,
  program: Program,
  options: Partial<Omit<AppOptions, 'collector'>>,
): RunningApp {
  return startApp(variant, program, {
    collector: bench.collector.address,
    signal: bench.signal,
    ...options,
    env: { BENCH_MILVUS: bench.milvus.address, ...options.env },
  });
}

/** Runs a program under each variant in sequence. */
export async function oneByOne(
  bench: Bench,
  variants: Variant[],
  program: Program,
  options: Pick<AppOptions, 'env' | 'flags'> = {},
): Promise<Cost[]> {
  const costs: Cost[] = [];
  for (const variant of variants) costs.push(await start(bench, variant, program, options).ended);
  return costs;
}

export interface Load {
  calls: number;
  /** Parts of the calls; divides them evenly. */
  slices: number;
  inFlight: number;
  warmUp: number;
  /** Number of warm-up calls that are also measured. */
  first?: number;
  /** Without turns: time does not matter. */
  sideBySide?: boolean;
  /** A workload of bench/programs/load.mjs. */
  workload: Workload;
}

export type Workload = 'mixed' | 'uniform';

/**
 * One run of the searching app under each variant, with the number of its search spans at the collector
 * (including warm-up), by the variant's name. All warm up side by side, then search in turn, one slice each,
 * in rotated order: slow moments of the machine affect all alike, the more so with short slices.
 */
export async function search(
  bench: Bench,
  variants: Variant[],
  load: Load,
): Promise<{ costs: Cost[]; received: Map<string, number> }> {
  await bench.collector.ask('forget what came before');
  const env = {
    BENCH_CALLS: String(load.calls),
    BENCH_SLICES: String(load.slices),
    BENCH_IN_FLIGHT: String(load.inFlight),
    BENCH_WARM_UP: String(load.warmUp),
    BENCH_FIRST: String(load.first ?? 0),
    BENCH_WORKLOAD: load.workload,
  };
  const places = variants.map((_, at) => at);
  const oneAfterTheOther = (slice: number) => rotated(places, slice).map((place) => [place]);
  const turns = Array.from({ length: load.slices }, (_, slice) =>
    load.sideBySide ? [places] : oneAfterTheOther(slice),
  ).flat();
  const costs = await together(bench, variants, 'searches.mjs', env, turns);
  // Ours are named `search` and the collection, the others' after the RPC: `grpc.…MilvusService/Search`.
  return { costs, received: await receivedSpans(bench, variants, /search/i) };
}

/**
 * Starts the app under all variants, which warm up side by side, then run in turn. A turn has the indices in
 * `variants` of those that run together; each index occurs as often as the app waits for a `go`.
 */
export async function together(
  bench: Bench,
  variants: Variant[],
  program: Program,
  env: Record<string, string>,
  turns: number[][],
): Promise<Cost[]> {
  const stopped = new AbortController();
  const signal = AbortSignal.any([bench.signal, stopped.signal]);
  const apps: RunningApp[] = [];
  try {
    for (const variant of variants) apps.push(start(bench, variant, program, { signal, env }));
    await Promise.all(apps.map((app) => app.ready()));
    for (const [turn, places] of turns.entries()) {
      const later = new Set(turns.slice(turn + 1).flat());
      await Promise.all(
        places.map((at) => {
          const app = apps[at] as RunningApp;
          app.go();
          return later.has(at) ? app.ready() : app.ended;
        }),
      );
    }
    return await Promise.all(apps.map((app) => app.ended));
  } finally {
    // After one failure, the others still wait for their turn.
    stopped.abort();
  }
}

/** Number of client spans with such a name at the collector, once no more arrive, by the variant's name. */
export async function receivedSpans(
  bench: Bench,
  variants: Variant[],
  name: RegExp,
): Promise<Map<string, number>> {
  const received = new Map(variants.map((variant) => [variant.name, 0]));
  for (let quietPolls = 0; quietPolls < 3; ) {
    const spans = (await bench.collector.ask('what came?')) as ReceivedSpans;
    for (const variant of received.keys())
      for (const [spanName, count] of Object.entries(spans[variant] ?? {}))
        if (name.test(spanName)) received.set(variant, (received.get(variant) as number) + count);
    // The last export of an app may arrive after its exit.
    quietPolls = Object.keys(spans).length > 0 ? 0 : quietPolls + 1;
    await sleep(50);
  }
  return received;
}
