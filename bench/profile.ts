import { mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import {
  type Attribution,
  attributeBytes,
  attributeTime,
  combined,
  type Difference,
  differences,
  originFinder,
} from './cpu-profile.ts';
import { type HeapSummary, summarize } from './heap-snapshot.ts';
import { type Bench, start } from './rounds.ts';
import type { Program } from './run-app.ts';
import type { Installed } from './variants.ts';

interface ProfiledBench extends Bench {
  installed: Installed;
}

export const profileNames = ['startup', 'search', 'allocation', 'heap'] as const;
export type ProfileName = (typeof profileNames)[number];

/** How much is run. */
export interface ProfilePlan {
  startUpRuns: number;
  searchRuns: number;
  searchCalls: number;
}

export const fullProfilePlan: ProfilePlan = { startUpRuns: 10, searchRuns: 3, searchCalls: 6000 };
export const quickProfilePlan: ProfilePlan = { startUpRuns: 2, searchRuns: 1, searchCalls: 2000 };

const folder = path.join(import.meta.dirname, '..', '.cache', 'bench', 'profiles');
const compared = ['none', 'ours'] as const;

/**
 * Profiles the app with and without this package, and returns the difference. V8's files stay in
 * .cache/bench/profiles, for Chrome's developer tools.
 */
export async function profile(
  bench: ProfiledBench,
  plan: ProfilePlan,
  wanted: Set<ProfileName>,
): Promise<string> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const texts: string[] = [];
  if (wanted.has('startup')) {
    const found = await attributed(bench, plan.startUpRuns, 'start-up', { what: 'start', divisor: 1 });
    texts.push(report('Start-up', 'ms', found));
  }
  const load = { calls: plan.searchCalls, divisor: plan.searchCalls };
  if (wanted.has('search')) {
    const inMs = await attributed(bench, plan.searchRuns, 'searches', { what: 'search', ...load });
    const found = inMs.map((one) => combined([one], 1 / 1000)) as Pair;
    texts.push(report('One search', 'µs', found));
  }
  if (wanted.has('allocation')) {
    const found = await attributed(bench, plan.searchRuns, 'allocations', { what: 'allocation', ...load });
    texts.push(report('Allocated by one search', 'bytes', found));
  }
  if (wanted.has('heap')) texts.push(await heaps(bench));
  return texts.join('\n\n');
}

type Pair = [none: Attribution, ours: Attribution];

async function attributed(
  bench: ProfiledBench,
  runs: number,
  shown: string,
  { what, calls, divisor }: { what: 'start' | 'search' | 'allocation'; calls?: number; divisor: number },
): Promise<Pair> {
  const all: [Attribution[], Attribution[]] = [[], []];
  const originOf = originFinder();
  for (let run = 1; run <= runs; run += 1) {
    bench.progress(`profile of ${shown}`, run, runs);
    for (const [at, name] of compared.entries()) {
      const file = path.join(
        folder,
        `${shown}-${name}-${run}.${what === 'allocation' ? 'heapprofile' : 'cpuprofile'}`,
      );
      await record(bench, name, what, file, calls);
      const written = JSON.parse(await readFile(file, 'utf8'));
      (all[at] as Attribution[]).push(
        what === 'allocation' ? attributeBytes(written, originOf) : attributeTime(written, originOf),
      );
    }
  }
  return all.map((ofVariant) => combined(ofVariant, runs * divisor)) as Pair;
}

async function record(
  bench: ProfiledBench,
  name: (typeof compared)[number],
  what: 'start' | 'search' | 'allocation' | 'heap',
  file: string,
  calls = 0,
): Promise<void> {
  const program: Program = calls > 0 ? 'searches.mjs' : 'start-up.mjs';
  const app = start(bench, bench.installed.variants[name], program, {
    imports: ['./profile.mjs'],
    env: {
      BENCH_PROFILE: what,
      BENCH_PROFILE_FILE: file,
      BENCH_CALLS: String(calls),
      BENCH_SLICES: '1',
      BENCH_IN_FLIGHT: '8',
      BENCH_WARM_UP: '2000',
      BENCH_WORKLOAD: 'mixed',
    },
  });
  if (calls > 0) {
    await app.ready();
    app.go();
  }
  await app.ended;
}

async function heaps(bench: ProfiledBench): Promise<string> {
  const summaries: HeapSummary[] = [];
  for (const [at, name] of compared.entries()) {
    bench.progress('heap snapshot', at + 1, compared.length);
    const file = path.join(folder, `start-${name}.heapsnapshot`);
    await record(bench, name, 'heap', file);
    summaries.push(summarize(JSON.parse(await readFile(file, 'utf8'))));
  }
  const [none, ours] = summaries as [HeapSummary, HeapSummary];
  const retained = ({ retained }: HeapSummary) => {
    const amounts = new Map<string, number>();
    for (const { name, bytes } of retained) amounts.set(name, (amounts.get(name) ?? 0) + bytes);
    return amounts;
  };
  return [
    `Heap at the end of the start: ${shown(none.totalBytes, 'bytes')} without, ${shown(ours.totalBytes, 'bytes')} with the preload`,
    section('bytes of the objects themselves', differences(ours.byName, none.byName, 20), 'bytes'),
    section(
      'bytes that would be freed with an object',
      differences(retained(ours), retained(none), 20),
      'bytes',
    ),
  ].join('\n\n');
}

type Unit = 'ms' | 'µs' | 'bytes';

function report(title: string, unit: Unit, [none, ours]: Pair): string {
  return [
    `${title}: ${shown(none.total, unit)} without, ${shown(ours.total, unit)} with the preload; ` +
      `${shown(ours.below, unit)} of that in or below its functions`,
    section('by package', differences(ours.groups, none.groups, 20), unit),
    section('by the file that asked for it', differences(ours.onBehalfOf, none.onBehalfOf, 30), unit),
    section('by function', differences(ours.functions, none.functions, 40), unit),
  ].join('\n\n');
}

function section(title: string, rows: Difference[], unit: Unit): string {
  const lines = rows
    .filter(({ ours, none }) => ours > none)
    .map(
      ({ name, ours, none }) =>
        `${shown(ours - none, unit).padStart(12)} ${shown(ours, unit).padStart(12)} ${shown(none, unit).padStart(12)}  ${name}`,
    );
  return [
    `${'added'.padStart(12)} ${'with'.padStart(12)} ${'without'.padStart(12)}  ${title}`,
    ...lines,
  ].join('\n');
}

function shown(amount: number, unit: Unit): string {
  return unit === 'bytes' ? `${Math.round(amount).toLocaleString('en')} B` : `${amount.toFixed(2)} ${unit}`;
}
