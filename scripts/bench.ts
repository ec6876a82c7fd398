/**
 * `npm run bench`: the cost of the preload and of the stock one, measured in one run. See docs/benchmarks.md.
 */
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { compileCache } from '../bench/compile-cache.ts';
import { fullInstructionsPlan, instructions, quickInstructionsPlan, spoilt } from '../bench/instructions.ts';
import { type MeasureName, measure, measuredUnlessTold, measureNames } from '../bench/measures.ts';
import { measurePeers } from '../bench/peers.ts';
import {
  fullProfilePlan,
  type ProfileName,
  profile,
  profileNames,
  quickProfilePlan,
} from '../bench/profile.ts';
import {
  conditions,
  type Results,
  roundsOf,
  roundsOfPeers,
  setup,
  tablesOf,
  writtenInto,
} from '../bench/results.ts';
import { type Bench, fullPlan, quickPlan } from '../bench/rounds.ts';
import { type SideProcess, startSideProcess } from '../bench/side-process.ts';
import { cacheTable, instructionsTable, peerTable, type Table, terminalText } from '../bench/table.ts';
import { type Installed, installVariants } from '../bench/variants.ts';
import { writeDocs } from '../tools/docs/generate.ts';
import { writePlots } from '../tools/pictures/bench-plot.ts';

const HELP = `usage: npm run bench -- [--quick] [--only <names>] [--write]
       npm run bench -- --peers [--quick] [--write]
       npm run bench -- --profile [--quick] [--only <names>]
       npm run bench -- --compile-cache [--quick]
       npm run bench -- --instructions [--quick]

Measures what milvus-otel/register adds to an app, and prints the ratio to what the stock
@opentelemetry/auto-instrumentations-node/register adds in the same run.

  --only <names>   only these, separated by commas: ${measureNames.join(', ')}.
                   Without it, the floor is measured only with --write and --quick.
  --peers          the distributions of Elastic, Splunk, Datadog and AWS instead, installed into a scratch folder
  --profile        time and memory by package, file and function instead; --only takes ${profileNames.join(', ')}.
                   The profiles are kept in .cache/bench/profiles
  --compile-cache  what V8's compile cache would change at start-up
  --instructions   processor instructions per search, under valgrind; takes about 5 minutes
  --quick          only a few rounds, to test the bench: too few for a judgement
  --write          writes bench/results.json, README.md, docs/benchmarks.md and the plots in docs/
  --help           prints this text

The figures of each run are also in .cache/bench/results.json. A missed target is printed. The exit code is 0 when all
measurements succeeded, 1 when one failed, 2 for wrong usage.`;

const root = path.join(import.meta.dirname, '..');
const page = path.join(root, 'docs', 'benchmarks.md');
const keptFile = path.join(root, 'bench', 'results.json');
const lastFile = path.join(root, '.cache', 'bench', 'results.json');

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      write: { type: 'boolean', default: false },
      peers: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      'compile-cache': { type: 'boolean', default: false },
      instructions: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const names: readonly string[] = values.profile ? profileNames : measureNames;
  const usual = values.profile || values.write || values.quick ? names : measuredUnlessTold;
  const wanted = new Set((values.only?.split(',') ?? usual).map((name) => name.trim()));
  const unknown = [...wanted].filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`bench: --only ${unknown.join(',')} is not known: take some of ${names.join(', ')}`);
    return 2;
  }
  const instead = (['peers', 'profile', 'compile-cache', 'instructions'] as const).filter(
    (name) => values[name],
  );
  if (instead.length > 1) {
    console.error(`bench: --${instead.join(' and --')} cannot be combined: run one after the other`);
    return 2;
  }
  if (values.only && instead.length > 0 && !values.profile) {
    console.error(`bench: --${instead} takes no --only: leave it out`);
    return 2;
  }
  const printsOnly = values.profile || values['compile-cache'] || values.instructions;
  if (values.write && (values.quick || values.only || printsOnly)) {
    console.error(
      'bench: --write keeps figures for the docs, so it needs a full run: leave out --quick, --only, --profile, ' +
        '--compile-cache and --instructions',
    );
    return 2;
  }
  if (values.write && values.peers && (await readResults()) === undefined) {
    console.error('bench: peers are added to bench/results.json: run `npm run bench -- --write` first');
    return 2;
  }

  const plan = values.quick ? quickPlan : fullPlan;
  const [load] = os.loadavg() as [number, number, number];
  const cores = os.availableParallelism();
  if (load > cores / 2)
    say(
      `this machine is busy (load ${load.toFixed(1)} on ${cores} cores): expect wide ranges, judge on a quiet one`,
    );
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort(signal));
  const sides: SideProcess[] = [];
  const side = async (file: string) => {
    const started = await startSideProcess(new URL(`../bench/${file}`, import.meta.url));
    sides.push(started);
    return started;
  };
  const beganMs = performance.now();
  try {
    const installed = await installVariants(say, stopped.signal);
    const collector = await side('collector.ts');
    const milvus = await side('stub-milvus.ts');
    const bench: Bench = { plan, collector, milvus, signal: stopped.signal, progress };
    if (values.profile) {
      await runProfile(bench, installed, values.quick, wanted as Set<ProfileName>);
      return 0;
    }
    if (values['compile-cache']) {
      const costs = await compileCache(bench, installed);
      endProgress();
      print([cacheTable(costs)], conditions(installed, `${plan.startUpRounds}`));
      return 0;
    }
    if (values.instructions) {
      const { none, ours, stock } = installed.variants;
      const wantedPlan = values.quick ? quickInstructionsPlan : fullInstructionsPlan;
      const counts = await instructions(bench, [none, ours, stock], wantedPlan);
      endProgress();
      const how = `Rounds: one of ${wantedPlan.calls} searches after ${wantedPlan.warmUpCalls}`;
      print([instructionsTable(counts)], [...setup(installed), how, ...spoilt(counts)]);
      return 0;
    }
    let results: Results;
    if (values.peers) {
      const rows = await measurePeers(bench, installed, await side('datadog-agent.ts'), say);
      const about = conditions(installed, roundsOfPeers(plan));
      endProgress();
      print([peerTable(rows)], about);
      results = { ...((await readResults()) ?? EMPTY), peers: { conditions: about, rows } };
    } else {
      const figures = await measure(bench, installed, wanted as Set<MeasureName>);
      results = {
        ...figures,
        conditions: conditions(installed, roundsOf(plan)),
        peers: (await readResults())?.peers,
      };
      endProgress();
      const tables = tablesOf(figures);
      print(tables, results.conditions);
      const judged = tables.flatMap(({ lines }) => lines).filter(({ met }) => met !== undefined);
      console.log(`${judged.filter(({ met }) => met).length} of ${judged.length} targets met`);
    }
    console.log(`took ${((performance.now() - beganMs) / 60_000).toFixed(1)} min`);
    if (values.quick) console.log('--quick: too few rounds for a judgement');
    await writeResults(lastFile, results);
    if (values.write) await keep(results);
    return 0;
  } catch (error) {
    endProgress();
    if (stopped.signal.aborted) return stopped.signal.reason === 'SIGTERM' ? 143 : 130;
    console.error(`bench: ${(error as Error).message}`);
    return 1;
  } finally {
    await Promise.all(sides.map((one) => one.stop()));
  }
}

const EMPTY: Results = { rows: [], growth: [], floors: [], conditions: [] };

async function runProfile(
  bench: Bench,
  installed: Installed,
  quick: boolean,
  wanted: Set<ProfileName>,
): Promise<void> {
  const text = await profile({ ...bench, installed }, quick ? quickProfilePlan : fullProfilePlan, wanted);
  endProgress();
  console.log(text);
}

async function keep(results: Results): Promise<void> {
  await writeResults(keptFile, results);
  // Rounded as in the file, so that later documents are the same.
  const kept = (await readResults()) ?? results;
  await writeFile(page, writtenInto(await readFile(page, 'utf8'), kept));
  await writePlots(kept);
  await writeDocs(root);
  say('bench/results.json, README.md, docs/benchmarks.md and the plots in docs/ have the new figures');
}

function print(tables: Table[], about: string[]): void {
  const colour = process.stdout.isTTY === true && !process.env.NO_COLOR;
  for (const table of tables) console.log(`${terminalText(table, colour)}\n`);
  console.log(about.join('\n'));
}

async function readResults(): Promise<Results | undefined> {
  const text = await readFile(keptFile, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Keeps six digits: more have no meaning. */
async function writeResults(file: string, results: Results): Promise<void> {
  const short = (_key: string, value: unknown) =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value;
  await writeFile(file, `${JSON.stringify(results, short, 2)}\n`);
}

function say(line: string): void {
  console.error(`bench: ${line}`);
}

function progress(what: string, round: number, rounds: number): void {
  const line = `bench: ${what}${round > 0 ? `, round ${round} of ${rounds}` : ''}`;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else console.error(line);
}

function endProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // parseArgs names the option that it does not know.
  console.error(`bench: ${(error as Error).message}\n\n${HELP}`);
  process.exitCode = 2;
}
