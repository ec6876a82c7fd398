import os from 'node:os';
import { startFilledMilvus } from './filled-milvus.ts';
import { type Growth, growth } from './growth.ts';
import {
  type Bench,
  type Costs,
  oneByOne,
  rotated,
  rounds,
  search,
  start,
  together,
  type Workload,
} from './rounds.ts';
import type { Cost } from './run-app.ts';
import { sideBySide } from './side-by-side.ts';
import { added, ratioOfMeans, ratios, type Spread, spread } from './statistics.ts';
import { type Installed, installedBytes, type Variant, type VariantName } from './variants.ts';

export const measureNames = [
  'startup',
  'cpu',
  'metrics',
  'memory',
  'size',
  'burst',
  'latency',
  'growth',
  'floor',
] as const;
export type MeasureName = (typeof measureNames)[number];
/** The floor has no target, and takes more than a minute. */
export const measuredUnlessTold: readonly MeasureName[] = measureNames.filter((name) => name !== 'floor');

export type Unit = 'ms' | 'µs' | 'MiB' | 'spans';

/** One line of the table. */
export interface Row {
  measure: MeasureName;
  what: string;
  unit: Unit;
  /** The app without a preload; not for figures that only a preload has. */
  none?: Spread;
  /** Added by each preload. */
  ours: Spread;
  stock: Spread;
  ratio?: Spread;
  /** Target: the largest ratio, or for lost spans the largest number; undefined in rows for comparison. */
  target?: number;
}

/** The cost of one part, to find the lowest possible total. */
export interface Floor {
  /** Base: a start of the app, or one search. */
  to: 'start-up, wall' | 'start-up, CPU' | 'a search, CPU';
  what: string;
  unit: Unit;
  added: Spread;
}

export interface Figures {
  rows: Row[];
  growth: Growth[];
  floors: Floor[];
}

/** Makes the runs that the wanted rows need, each once, and returns the rows in table order. */
export async function measure(
  bench: Bench,
  installed: Installed,
  wanted: Set<MeasureName>,
): Promise<Figures> {
  const figures: Figures = { rows: [], growth: [], floors: [] };
  const pick = (...names: VariantName[]) => names.map((name) => installed.variants[name]);
  if (['startup', 'memory', 'floor'].some((name) => wanted.has(name as MeasureName))) {
    const empty = wanted.has('floor') ? ([EMPTY] as const) : [];
    const { rows, floors } = await startUp(bench, pick('none', ...empty, 'ours', 'stock'));
    figures.rows.push(...rows);
    figures.floors.push(...floors);
  }
  if (wanted.has('startup'))
    figures.rows.push(...(await startUpOfWebApp(bench, pick('none', 'ours', 'stock'))));
  if (wanted.has('cpu')) figures.rows.push(...(await searches(bench, pick('none', 'ours', 'stock'))));
  if (wanted.has('metrics'))
    figures.rows.push(...(await searchesWithMetrics(bench, pick('none', 'ours', 'stock'))));
  if (wanted.has('memory')) figures.rows.push(...(await memory(bench, pick('none', 'ours', 'stock'))));
  if (wanted.has('size')) figures.rows.push(await size(installed));
  if (wanted.has('burst')) figures.rows.push(await burst(bench, pick('ours', 'stock')));
  if (wanted.has('latency')) figures.rows.push(...(await latency(bench, pick('none', 'ours', 'stock'))));
  if (wanted.has('growth')) figures.growth = await growth(bench, installed.variants.ours);
  if (wanted.has('floor'))
    figures.floors.push(
      ...(await searchFloors(
        bench,
        pick('none', 'an empty span', 'ours', 'ours, sampler always_off', 'ours, exporter none'),
      )),
    );
  figures.rows = figures.rows.filter((row) => wanted.has(row.measure));
  return figures;
}

const EMPTY = 'an empty preload';

async function startUp(bench: Bench, variants: Variant[]): Promise<{ rows: Row[]; floors: Floor[] }> {
  const costs = await startUpCosts(bench, 'start-up', 'start-up.mjs', variants);
  const row = (measure: MeasureName, what: string, unit: Unit, of: (cost: Cost) => number) =>
    addedRow({ measure, what, unit, costs, of, against: 'stock' });
  const floor = (to: Floor['to'], of: (cost: Cost) => number): Floor[] =>
    costs.has(EMPTY)
      ? [EMPTY, 'ours'].map((name) => ({ to, what: name, unit: 'ms', added: addedSpread(costs, name, of) }))
      : [];
  return {
    rows: [
      { ...row('startup', 'start-up added, wall', 'ms', wallMs), target: 0.2 },
      { ...row('startup', 'start-up added, CPU', 'ms', cpuMs), target: 0.2 },
      row('startup', 'start-up added, CPU of the whole process', 'ms', wholeCpuMs),
      { ...row('memory', 'peak memory added, at start-up', 'MiB', ({ peakMiB }) => peakMiB), target: 0.4 },
    ],
    floors: [...floor('start-up, wall', wallMs), ...floor('start-up, CPU', cpuMs)],
  };
}

async function startUpOfWebApp(bench: Bench, variants: Variant[]): Promise<Row[]> {
  const what = 'start-up of a web app';
  const costs = await startUpCosts(bench, what, 'start-up-web.mjs', variants);
  return (
    [
      ['wall', wallMs],
      ['CPU', cpuMs],
    ] as const
  ).map(([kind, of]) => ({
    ...addedRow({
      measure: 'startup',
      what: `start-up added to Express, pg and Milvus, ${kind}`,
      unit: 'ms',
      costs,
      of,
      against: 'stock',
    }),
    target: 0.5,
  }));
}

export function startUpCosts(
  bench: Bench,
  what: string,
  program: 'start-up.mjs' | 'start-up-web.mjs',
  variants: Variant[],
): Promise<Costs> {
  const options = { count: bench.plan.startUpRounds, warmUp: true };
  return rounds(bench, what, options, variants, (order) => oneByOne(bench, order, program));
}

export const wallMs = (cost: Cost): number => cost.wallMs;
export const cpuMs = (cost: Cost): number => cost.cpuMs;
const wholeCpuMs = (cost: Cost): number => cost.wholeCpuMs ?? cost.cpuMs;

/** The counted searches that one process made in a row. */
export interface Stretch {
  /** Of the process, until the next stretch or its exit. */
  cpuMs: number;
  /** Of the process so far. */
  peakMiB: number;
}

/** By the variant's name. */
type Stretches = Map<string, Stretch[]>;

/** CPU time of one search in µs. */
export const cpuOfSearch =
  (calls: number) =>
  ({ cpuMs }: Stretch): number =>
    (cpuMs * 1000) / calls;

interface SearchLoad {
  /** Sets of processes. */
  count: number;
  /** Of each process. */
  stretches: number;
  /** Of each stretch. */
  calls: number;
  warmUp: number;
  first?: number;
  workload: Workload;
}

/** Throws when no span of a preload arrives. */
export async function searchCosts(
  bench: Bench,
  what: string,
  { count, stretches, calls, ...searches }: SearchLoad,
  variants: Variant[],
): Promise<{ costs: Costs; stretches: Stretches }> {
  const slices = bench.plan.searchSlices * stretches;
  const load = { ...searches, calls: calls * stretches, slices, inFlight: 8 };
  // The apps warm up by themselves.
  const costs = await rounds(bench, what, { count, warmUp: false }, variants, async (order) => {
    const { costs, received } = await search(bench, order, load);
    for (const { preload, name, sends } of order)
      if (preload && sends !== 'nothing' && received.get(name) === 0)
        throw new Error(`No search span of ${name} (${preload}) arrived, so its cost has no meaning`);
    return costs;
  });
  const parts = [...costs].map(
    ([name, all]) => [name, all.flatMap((cost) => stretchesOf(cost, stretches))] as const,
  );
  return { costs, stretches: new Map(parts) };
}

/** The costs of `count` stretches with equal numbers of slices. */
export function stretchesOf({ slicesBegan = [], ...end }: Cost, count: number): Stretch[] {
  const slices = slicesBegan.length / count;
  return Array.from({ length: count }, (_, at) => {
    const { cpuMs: beganMs } = slicesBegan[at * slices] as Pick<Cost, 'cpuMs'>;
    const { cpuMs, peakMiB } = slicesBegan[(at + 1) * slices] ?? end;
    return { cpuMs: cpuMs - beganMs, peakMiB };
  });
}

async function searches(bench: Bench, variants: Variant[]): Promise<Row[]> {
  const { searchRounds, uniformRounds, searchStretches, searchCalls, warmUpCalls, firstCalls } = bench.plan;
  const load = {
    stretches: searchStretches,
    calls: searchCalls,
    warmUp: warmUpCalls,
    first: firstCalls,
  };
  const mixed = { ...load, count: searchRounds, workload: 'mixed' } as const;
  const uniform = { ...load, count: uniformRounds, workload: 'uniform' } as const;
  const { costs, stretches } = await searchCosts(bench, 'searches', mixed, variants);
  const repeated = await searchCosts(bench, 'one search repeated', uniform, variants);
  const common = { measure: 'cpu', against: 'stock' } as const;
  return [
    {
      ...addedRow({
        ...common,
        what: 'CPU added per search',
        unit: 'µs',
        costs: stretches,
        of: cpuOfSearch(searchCalls),
        ratioOf: ratioOfMeans,
      }),
      target: 0.4,
    },
    addedRow({
      ...common,
      what: 'CPU added per search, one search repeated',
      unit: 'µs',
      costs: repeated.stretches,
      of: cpuOfSearch(searchCalls),
      ratioOf: ratioOfMeans,
    }),
    addedRow({
      ...common,
      what: `CPU added per search, the first ${firstCalls.toLocaleString('en')} of a process`,
      unit: 'µs',
      costs,
      of: ({ firstCpuMs }) => ((firstCpuMs as number) * 1000) / firstCalls,
    }),
    {
      ...addedRow({
        ...common,
        what: 'peak resident memory added, searching',
        unit: 'MiB',
        costs: stretches,
        of: ({ peakMiB }) => peakMiB,
      }),
      target: 0.4,
    },
  ];
}

/** The same app, with a preload that exports metrics too. */
const withMetrics = (variant: Variant): Variant => ({
  ...variant,
  name: `${variant.name}, metrics`,
  env: { ...variant.env, OTEL_METRICS_EXPORTER: 'otlp' },
});

async function searchesWithMetrics(bench: Bench, variants: Variant[]): Promise<Row[]> {
  const { metricsRounds, searchStretches, searchCalls, warmUpCalls } = bench.plan;
  const load = {
    count: metricsRounds,
    stretches: searchStretches,
    calls: searchCalls,
    warmUp: warmUpCalls,
    workload: 'mixed',
  } as const;
  const preloads = variants.filter(({ preload }) => preload !== undefined);
  const all = [...variants, ...preloads.map(withMetrics)];
  const { stretches } = await searchCosts(bench, 'searches with metrics', load, all);
  const measured = (name: string) => stretches.get(name) as Stretch[];
  const on = new Map(
    variants.map(({ name, preload }) => [name, measured(preload ? `${name}, metrics` : name)]),
  );
  const of = cpuOfSearch(searchCalls);
  const metricsAdd = (name: VariantName) =>
    spread(added((on.get(name) as Stretch[]).map(of), measured(name).map(of))) as Spread;
  return [
    {
      ...addedRow({
        measure: 'metrics',
        against: 'stock',
        what: 'CPU added per search, with metrics on',
        unit: 'µs',
        costs: on,
        of,
        ratioOf: ratioOfMeans,
      }),
      target: 0.4,
    },
    {
      measure: 'metrics',
      what: 'CPU that metrics alone add to a search',
      unit: 'µs',
      ours: metricsAdd('ours'),
      stock: metricsAdd('stock'),
    },
  ];
}

/** V8 collects garbage after a fixed share of allocations, not by its heuristics. */
const FIXED_COLLECTION = ['--expose-gc', '--predictable-gc-schedule'];

async function memory(bench: Bench, variants: Variant[]): Promise<Row[]> {
  const { memoryCalls, memoryRounds } = bench.plan;
  const env = { BENCH_CALLS: String(memoryCalls) };
  const order = Array.from({ length: memoryRounds }, (_, round) => rotated(variants, round)).flat();
  const runs = order.map((variant, at) => (signal: AbortSignal) => {
    if (at % variants.length === 0) bench.progress('memory', at / variants.length + 1, memoryRounds);
    return start(bench, variant, 'memory.mjs', { env, flags: FIXED_COLLECTION, signal }).ended;
  });
  // Time does not matter here.
  const all = await sideBySide(runs, { atOnce: os.availableParallelism(), signal: bench.signal });
  const costs: Costs = new Map(
    variants.map((variant) => [variant.name, all.filter((_, at) => order[at] === variant)]),
  );
  const row = (what: string, of: (cost: Cost) => number) =>
    addedRow({ measure: 'memory', what, unit: 'MiB', costs, of, against: 'stock' });
  return [
    { ...row('peak memory added, searching', ({ heapPeakMiB }) => heapPeakMiB as number), target: 0.4 },
    row('memory kept after the searches', ({ keptMiB }) => keptMiB as number),
  ];
}

async function searchFloors(bench: Bench, variants: Variant[]): Promise<Floor[]> {
  const { floorRounds, floorCalls, floorWarmUpCalls } = bench.plan;
  const load = {
    count: floorRounds,
    stretches: 1,
    calls: floorCalls,
    warmUp: floorWarmUpCalls,
    workload: 'mixed',
  } as const;
  const { stretches } = await searchCosts(bench, 'floor of a search', load, variants);
  return variants
    .filter(({ name }) => name !== 'none')
    .map(({ name }) => ({
      to: 'a search, CPU',
      what: name,
      unit: 'µs',
      added: addedSpread(stretches, name, cpuOfSearch(floorCalls)),
    }));
}

async function size(installed: Installed): Promise<Row> {
  const [none, ours, stock] = (await Promise.all(
    (['none', 'ours', 'stock'] as const).map(
      async (name) => (await installedBytes(installed.variants[name].folder)) / 2 ** 20,
    ),
  )) as [number, number, number];
  const [oursAdded, stockAdded] = [ours - none, stock - none];
  return {
    measure: 'size',
    what: 'installed size added',
    unit: 'MiB',
    none: once(none),
    ours: once(oursAdded),
    stock: once(stockAdded),
    ratio: once(oursAdded / stockAdded),
    target: 0.15,
  };
}

/** On the real server, where a search takes milliseconds: the latency that users see. */
async function latency(bench: Bench, variants: Variant[]): Promise<Row[]> {
  const { latencyCalls, latencySlices, latencyWarmUpCalls } = bench.plan;
  bench.progress('searches on a real Milvus', 0, 0);
  const milvus = await startFilledMilvus(bench.collector.address);
  try {
    const env = {
      BENCH_MILVUS: milvus.address,
      BENCH_CALLS: String(latencyCalls),
      BENCH_SLICES: String(latencySlices),
      BENCH_WARM_UP: String(latencyWarmUpCalls),
    };
    const places = variants.map((_, at) => at);
    const turns = Array.from({ length: latencySlices }, (_, slice) =>
      rotated(places, slice).map((place) => [place]),
    ).flat();
    const costs = await together(bench, variants, 'latencies.mjs', env, turns);
    const quantile = (share: number) => (name: VariantName) => {
      const all = costs[variants.findIndex((variant) => variant.name === name)]?.latenciesMs ?? [];
      return all.toSorted((a, b) => a - b)[Math.floor(share * all.length)] as number;
    };
    return (
      [
        ['median', quantile(0.5)],
        ['99th percentile', quantile(0.99)],
      ] as const
    ).map(([what, of]) => ({
      measure: 'latency',
      what: `time of a search on a real Milvus, ${what}`,
      unit: 'ms',
      none: once(of('none')),
      ours: once(of('ours') - of('none')),
      stock: once(of('stock') - of('none')),
    }));
  } finally {
    await milvus.stop();
  }
}

const once = (value: number): Spread => ({ median: value, min: value, max: value, count: 1 });

async function burst(bench: Bench, variants: Variant[]): Promise<Row> {
  const { burstCalls, burstRounds } = bench.plan;
  const lost = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < burstRounds; round += 1) {
    bench.progress('burst', round + 1, burstRounds);
    const load = {
      calls: burstCalls,
      slices: 1,
      inFlight: burstCalls,
      warmUp: 1,
      sideBySide: true,
      workload: 'uniform',
    } as const;
    const { costs, received } = await search(bench, variants, load);
    for (const [at, { name }] of variants.entries()) {
      const answered = costs[at]?.answered;
      if (answered !== burstCalls)
        throw new Error(
          `The stub answered ${answered} of ${burstCalls} searches: its spans cannot be compared`,
        );
      lost.get(name)?.push(burstCalls + 1 - (received.get(name) ?? 0));
    }
  }
  const lostOf = (name: VariantName) => spread(lost.get(name) as number[]) as Spread;
  return {
    measure: 'burst',
    what: `spans lost of ${burstCalls.toLocaleString('en')} searches at once`,
    unit: 'spans',
    ours: lostOf('ours'),
    stock: lostOf('stock'),
    target: 0,
  };
}

/** The cost that a variant adds to the app without a preload, by round. */
export function addedSpread<Measured>(
  costs: Map<string, Measured[]>,
  name: string,
  of: (cost: Measured) => number,
): Spread {
  const values = (variant: string) => (costs.get(variant) ?? []).map(of);
  return spread(added(values(name), values('none'))) as Spread;
}

function addedRow<Measured>(options: {
  measure: MeasureName;
  what: string;
  unit: Row['unit'];
  costs: Map<string, Measured[]>;
  of: (cost: Measured) => number;
  against: VariantName;
  /** The median of the rounds' ratios by default. */
  ratioOf?: (ours: number[], theirs: number[]) => Spread | undefined;
}): Row {
  const values = (name: VariantName) => (options.costs.get(name) ?? []).map(options.of);
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
    ratio: (options.ratioOf ?? ((one, other) => spread(ratios(one, other))))(ours, stock),
  };
}
