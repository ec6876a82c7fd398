import { setTimeout as sleep } from 'node:timers/promises';
import type { ReceivedSpans } from './collector.ts';
import { type Cost, type RunningApp, startApp } from './run-app.ts';
import type { SideProcess } from './side-process.ts';
import { added, ratios, type Spread, spread } from './statistics.ts';
import { type Installed, installedBytes, type Variant, type VariantName } from './variants.ts';

export const measureNames = ['startup', 'cpu', 'memory', 'size', 'burst'] as const;
export type MeasureName = (typeof measureNames)[number];

/** One line of the table. */
export interface Row {
  measure: MeasureName;
  what: string;
  unit: 'ms' | 'µs' | 'MiB' | 'spans';
  /** The app without a preload; not for what only a preload can do. */
  none?: Spread;
  /** What each preload added to it. */
  ours: Spread;
  stock: Spread;
  ratio?: Spread;
  /** The largest ratio that is aimed at, or for lost spans the largest number; rows for comparison have none. */
  target?: number;
}

/** How much is run. */
export interface Plan {
  startUpRounds: number;
  searchRounds: number;
  searchCalls: number;
  /** Parts of a round's calls, made in turn by the variants; divides searchCalls evenly. */
  searchSlices: number;
  /** More than one export's batch, so that what a preload loads at its first export is loaded. */
  warmUpCalls: number;
  burstRounds: number;
  burstCalls: number;
}

export const fullPlan: Plan = {
  startUpRounds: 21,
  searchRounds: 15,
  searchCalls: 6000,
  searchSlices: 12,
  warmUpCalls: 1000,
  burstRounds: 3,
  burstCalls: 5000,
};

/** Only shows that the bench itself works: too few rounds to judge anything by. */
export const quickPlan: Plan = {
  startUpRounds: 2,
  searchRounds: 1,
  searchCalls: 600,
  searchSlices: 2,
  warmUpCalls: 600,
  burstRounds: 1,
  burstCalls: 5000,
};

export interface Bench {
  plan: Plan;
  installed: Installed;
  collector: SideProcess;
  milvus: SideProcess;
  signal: AbortSignal;
  /** Reports progress: what is running, which round of how many. */
  progress(what: string, round: number, rounds: number): void;
}

type Costs = Partial<Record<VariantName, Cost[]>>;

/** Runs what the wanted rows need, each run once, and gives the rows in the order of the table. */
export async function measure(bench: Bench, wanted: Set<MeasureName>): Promise<Row[]> {
  const rows: Row[] = [];
  if (wanted.has('startup') || wanted.has('memory')) rows.push(...(await startUp(bench)));
  if (wanted.has('cpu') || wanted.has('memory')) rows.push(...(await searches(bench)));
  if (wanted.has('size')) rows.push(await size(bench));
  if (wanted.has('burst')) rows.push(await burst(bench));
  return rows.filter((row) => wanted.has(row.measure));
}

async function startUp(bench: Bench): Promise<Row[]> {
  const costs = await rounds(
    bench,
    'start-up',
    { count: bench.plan.startUpRounds, warmUp: true },
    startUpNames,
    async (variants) => {
      const round: Cost[] = [];
      for (const variant of variants)
        round.push(
          await startApp(variant, 'start-up.mjs', {
            collector: bench.collector.address,
            signal: bench.signal,
          }).ended,
        );
      return round;
    },
  );
  const wall = startUpRows('startup', 'start-up added, wall', 'ms', costs, (cost) => cost.wallMs);
  const cpu = startUpRows('startup', 'start-up added, CPU', 'ms', costs, (cost) => cost.cpuMs);
  const peak = startUpRows('memory', 'peak memory added, at start-up', 'MiB', costs, (cost) => cost.peakMiB);
  return [
    { ...wall.cheaper, target: 0.2 },
    { ...cpu.cheaper, target: 0.2 },
    wall.dearer,
    cpu.dearer,
    { ...peak.cheaper, target: 0.4 },
  ];
}

const WITH_DEFAULTS = 'stock, its default detectors';
const startUpNames: VariantName[] = ['none', 'ours', 'stock', WITH_DEFAULTS];

/** The ratio that counts is the one against whichever stock adds less; the other one stands beside it. */
function startUpRows(
  measure: MeasureName,
  what: string,
  unit: Row['unit'],
  costs: Costs,
  of: (cost: Cost) => number,
): { cheaper: Row; dearer: Row } {
  const local = addedRow({ measure, what, unit, costs, of, against: 'stock' });
  const defaults = addedRow({ measure, what, unit, costs, of, against: WITH_DEFAULTS });
  return local.stock.median <= defaults.stock.median
    ? { cheaper: local, dearer: { ...defaults, what: `${what}, stock as it comes` } }
    : { cheaper: defaults, dearer: { ...local, what: `${what}, stock without cloud detectors` } };
}

async function searches(bench: Bench): Promise<Row[]> {
  const { searchCalls, searchSlices, warmUpCalls, searchRounds } = bench.plan;
  const load = { calls: searchCalls, slices: searchSlices, inFlight: 8, warmUp: warmUpCalls };
  const costs = await rounds(
    bench,
    'searches',
    // The apps warm up by themselves.
    { count: searchRounds, warmUp: false },
    ['none', 'ours', 'stock'],
    async (variants) => {
      const { costs, received } = await search(bench, variants, load);
      for (const { preload, name } of variants)
        if (preload && received[name] === 0)
          throw new Error(`No search span of ${preload} came in, so its cost would mean nothing`);
      return costs;
    },
  );
  return [
    {
      ...addedRow({
        measure: 'cpu',
        what: 'CPU added per search',
        unit: 'µs',
        costs,
        of: (cost) => (cost.cpuMs * 1000) / searchCalls,
        against: 'stock',
      }),
      target: 0.4,
    },
    {
      ...addedRow({
        measure: 'memory',
        what: 'peak memory added, searching',
        unit: 'MiB',
        costs,
        of: (cost) => cost.peakMiB,
        against: 'stock',
      }),
      target: 0.4,
    },
  ];
}

async function size(bench: Bench): Promise<Row> {
  const [none, ours, stock] = await Promise.all(
    (['none', 'ours', 'stock'] as const).map(
      async (name) => (await installedBytes(bench.installed.variants[name].folder)) / 2 ** 20,
    ),
  );
  const [oursAdded, stockAdded] = [(ours as number) - (none as number), (stock as number) - (none as number)];
  const once = (value: number): Spread => ({ median: value, min: value, max: value, count: 1 });
  return {
    measure: 'size',
    what: 'installed size added',
    unit: 'MiB',
    none: once(none as number),
    ours: once(oursAdded),
    stock: once(stockAdded),
    ratio: once(oursAdded / stockAdded),
    target: 0.15,
  };
}

async function burst(bench: Bench): Promise<Row> {
  const { burstCalls, burstRounds } = bench.plan;
  const lost: Record<'ours' | 'stock', number[]> = { ours: [], stock: [] };
  for (let round = 0; round < burstRounds; round += 1) {
    bench.progress('burst', round + 1, burstRounds);
    for (const name of ['ours', 'stock'] as const) {
      const load = { calls: burstCalls, slices: 1, inFlight: burstCalls, warmUp: 1 };
      const { costs, received } = await search(bench, [bench.installed.variants[name]], load);
      const answered = costs[0]?.answered;
      if (answered !== burstCalls)
        throw new Error(
          `The stub answered ${answered} of ${burstCalls} searches: nothing can be said of spans`,
        );
      lost[name].push(burstCalls + 1 - (received[name] ?? 0));
    }
  }
  return {
    measure: 'burst',
    what: `spans lost of ${burstCalls.toLocaleString('en')} searches at once`,
    unit: 'spans',
    ours: spread(lost.ours) as Spread,
    stock: spread(lost.stock) as Spread,
    target: 0,
  };
}

interface Load {
  calls: number;
  /** Parts that the calls are made in; they divide the calls evenly. */
  slices: number;
  inFlight: number;
  warmUp: number;
}

/**
 * One run of the searching app under each variant, and how many spans of its searches (warm-up included) reached the
 * collector. All are started and then search in turn, a slice each, while the others wait: seconds in which the
 * machine is slow hit all of them alike.
 */
async function search(
  bench: Bench,
  variants: Variant[],
  load: Load,
): Promise<{ costs: Cost[]; received: Partial<Record<VariantName, number>> }> {
  await bench.collector.ask('forget what came before');
  const env = {
    BENCH_MILVUS: bench.milvus.address,
    BENCH_CALLS: String(load.calls),
    BENCH_SLICES: String(load.slices),
    BENCH_IN_FLIGHT: String(load.inFlight),
    BENCH_WARM_UP: String(load.warmUp),
  };
  const stopped = new AbortController();
  const options = {
    collector: bench.collector.address,
    signal: AbortSignal.any([bench.signal, stopped.signal]),
    env,
  };
  const apps: RunningApp[] = [];
  try {
    for (const variant of variants) {
      const app = startApp(variant, 'searches.mjs', options);
      apps.push(app);
      await app.ready();
    }
    for (let slice = 0; slice < load.slices; slice += 1)
      for (const app of apps) {
        app.go();
        await (slice < load.slices - 1 ? app.ready() : app.ended);
      }
    const costs = await Promise.all(apps.map((app) => app.ended));
    return { costs, received: await receivedSearches(bench, variants) };
  } finally {
    // After a failure of one, the others still wait for their turn.
    stopped.abort();
  }
}

/** Client spans of searches that the collector has, once nothing more comes in. */
async function receivedSearches(
  bench: Bench,
  variants: Variant[],
): Promise<Partial<Record<VariantName, number>>> {
  const received: Partial<Record<VariantName, number>> = {};
  for (const { name } of variants) received[name] = 0;
  for (let quietPolls = 0; quietPolls < 3; ) {
    const spans = (await bench.collector.ask('what came?')) as ReceivedSpans;
    // Ours are named `search quick_setup`, those of the stock preload after the RPC: `grpc.…MilvusService/Search`.
    for (const { name } of variants)
      for (const [spanName, count] of Object.entries(spans[name] ?? {}))
        if (/search/i.test(spanName)) received[name] = (received[name] ?? 0) + count;
    // What an app's last export left in the sockets may come in after its end.
    quietPolls = Object.keys(spans).length > 0 ? 0 : quietPolls + 1;
    await sleep(50);
  }
  return received;
}

/**
 * Runs every variant once per round, beginning with another one each time, so that what drifts on the machine hits all
 * alike. With `warmUp` a first round, which fills the file caches, does not count.
 */
async function rounds(
  bench: Bench,
  what: string,
  options: { count: number; warmUp: boolean },
  names: VariantName[],
  run: (variants: Variant[]) => Promise<Cost[]>,
): Promise<Costs> {
  const costs: Costs = {};
  for (let round = options.warmUp ? 0 : 1; round <= options.count; round += 1) {
    bench.progress(round === 0 ? `${what}, warming up` : what, round, options.count);
    const order = names.map((_, at) => names[(at + round) % names.length] as VariantName);
    const results = await run(order.map((name) => bench.installed.variants[name]));
    if (round === 0) continue;
    for (const [at, name] of order.entries()) {
      costs[name] ??= [];
      costs[name].push(results[at] as Cost);
    }
  }
  return costs;
}

function addedRow(options: {
  measure: MeasureName;
  what: string;
  unit: Row['unit'];
  costs: Costs;
  of: (cost: Cost) => number;
  against: VariantName;
}): Row {
  const values = (name: VariantName) => (options.costs[name] ?? []).map(options.of);
  const none = values('none');
  const ours = added(values('ours'), none);
  const stock = added(values(options.against), none);
  return {
    measure: options.measure,
    what: options.what,
    unit: options.unit,
    none: spread(none),
    ours: spread(ours) as Spread,
    stock: spread(stock) as Spread,
    ratio: spread(ratios(ours, stock)),
  };
}
