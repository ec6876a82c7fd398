/**
 * Counts processor instructions per search with valgrind's callgrind. Unlike CPU time, whose noise exceeds
 * the cost of a preload, they are stable between runs.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Bench, start } from './rounds.ts';
import type { Variant } from './variants.ts';

const execute = promisify(execFile);

/** Instructions of one search, by V8's activity. */
export interface Instructions {
  running: number;
  compiling: number;
  collecting: number;
  /** The part of `collecting` in full collections, which occur in some runs only. */
  marking: number;
}

export interface InstructionsPlan {
  warmUpCalls: number;
  calls: number;
}

export const fullInstructionsPlan: InstructionsPlan = { warmUpCalls: 5000, calls: 2000 };
export const quickInstructionsPlan: InstructionsPlan = { warmUpCalls: 300, calls: 200 };

/** All of V8 on one thread, and no young-generation collection during the searches. */
const V8_FLAGS = ['--single-threaded', '--min-semi-space-size=512', '--max-semi-space-size=512'];

/** About fifty times the time without valgrind. */
const DEADLINE_MS = 1_800_000;

/** Instructions of a search, by the variant's name. Throws without valgrind. */
export async function instructions(
  bench: Bench,
  variants: Variant[],
  plan: InstructionsPlan,
): Promise<Map<string, Instructions>> {
  try {
    await execute('valgrind', ['--version']);
  } catch {
    throw new Error(
      '--instructions needs valgrind on the PATH: install it (Debian: apt-get install valgrind)',
    );
  }
  const folder = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-instructions-'));
  const stopped = new AbortController();
  try {
    let done = 0;
    const counts = await Promise.all(
      variants.map(async (variant) => {
        const counted = await count(bench, variant, plan, path.join(folder, variant.name), stopped.signal);
        done += 1;
        bench.progress('instructions, counted under valgrind', done, variants.length);
        return [variant.name, counted] as const;
      }),
    );
    return new Map(counts);
  } finally {
    stopped.abort();
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function count(
  bench: Bench,
  variant: Variant,
  { warmUpCalls, calls }: InstructionsPlan,
  file: string,
  stopped: AbortSignal,
): Promise<Instructions> {
  const app = start(bench, variant, 'searches.mjs', {
    signal: AbortSignal.any([bench.signal, stopped]),
    under: ['valgrind', '-q', '--tool=callgrind', '--smc-check=all-non-file', `--callgrind-out-file=${file}`],
    flags: V8_FLAGS,
    deadlineMs: DEADLINE_MS,
    env: {
      // Waits for the second slice, but never starts it.
      BENCH_SLICES: '2',
      BENCH_CALLS: String(calls * 2),
      BENCH_IN_FLIGHT: '8',
      BENCH_WARM_UP: String(warmUpCalls),
      BENCH_FIRST: '0',
      BENCH_WORKLOAD: 'mixed',
      BENCH_SLOWLY: '1',
    },
  });
  const tell = (what: string) => execute('vgdb', [`--pid=${app.pid}`, what], { signal: bench.signal });
  await app.ready();
  await tell('zero');
  app.go();
  await app.ready();
  await tell('dump');
  // callgrind numbers its dumps.
  const name = (await readdir(path.dirname(file))).find((each) => each.startsWith(`${variant.name}.`));
  if (name === undefined) throw new Error(`callgrind wrote no profile of ${variant.name}`);
  const total: Instructions = { running: 0, compiling: 0, collecting: 0, marking: 0 };
  for (const [functionName, cost] of selfCosts(
    await readFile(path.join(path.dirname(file), name), 'latin1'),
  )) {
    total[partOf(functionName)] += cost / calls;
    if (MARKING.test(functionName)) total.marking += cost / calls;
  }
  return total;
}

/**
 * Self cost of each function in instructions, by name, from callgrind's file format:
 * valgrind.org/docs/manual/cl-format.html.
 */
export function selfCosts(profile: string): Map<string, number> {
  const names = new Map<string, string>();
  const costs = new Map<string, number>();
  let current = '';
  let isOfCallee = false;
  for (const [line] of profile.matchAll(/^.+$/gm)) {
    const [, calls, id, name] = /^(c?)fn=\((\d+)\)(?: (.*))?$/.exec(line) ?? [];
    if (id !== undefined) {
      // A number is followed by its name at its first use, also as a callee.
      if (name !== undefined) names.set(id, name);
      if (calls === '') current = names.get(id) ?? id;
    } else if (line.startsWith('calls=')) {
      isOfCallee = true;
    } else {
      const cost = /^(?:[+-]?\d+|\*) (\d+)$/.exec(line)?.[1];
      if (cost === undefined) continue;
      if (!isOfCallee) costs.set(current, (costs.get(current) ?? 0) + Number(cost));
      isOfCallee = false;
    }
  }
  return costs;
}

const COMPILING =
  /v8::internal::(?:compiler|maglev|baseline|interpreter)::|[Tt]urboshaft|OptimizedCompilation|RegisterAllocat|Assembler/;
const COLLECTING =
  /Mark(?:ing|er|Compact|Bit)|Evacuat|Sweep|Scaveng|LiveObjectVisitor|RememberedSet|Heap::|FreeList|Allocator::|Space::|SlotSet|Worklist|Iterate(?:Body|Pointers)|PageMetadata|RecordWrite|WriteBarrier|cppgc/;
const MARKING = /Marking|MarkCompact/;

/** A warning about counts during which a full collection ran, with the variants. */
export function spoilt(counts: Map<string, Instructions>): string[] {
  const names = [...counts]
    .filter(([, { marking, running }]) => marking > running / 100)
    .map(([name]) => name);
  if (names.length === 0) return [];
  return [
    `A full collection fell into the count of ${names.join(' and ')}: the lines of collecting and all cannot be compared`,
  ];
}

function partOf(functionName: string): Exclude<keyof Instructions, 'marking'> {
  if (COMPILING.test(functionName)) return 'compiling';
  return COLLECTING.test(functionName) ? 'collecting' : 'running';
}
