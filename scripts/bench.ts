/** `npm run bench`: what the preload costs, beside the stock one, measured in one run. See docs/benchmarks.md. */
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { fullPlan, type MeasureName, measure, measureNames, quickPlan } from '../bench/measures.ts';
import {
  fullProfilePlan,
  type ProfileName,
  profile,
  profileNames,
  quickProfilePlan,
} from '../bench/profile.ts';
import { type SideProcess, startSideProcess } from '../bench/side-process.ts';
import { conditions, isMet, markdownTable, replaceTable, terminalTable } from '../bench/table.ts';
import { installVariants } from '../bench/variants.ts';

const HELP = `usage: npm run bench -- [--quick] [--only <names>] [--write]
       npm run bench -- --profile [--quick] [--only <names>]

Measures what milvus-otel/register adds to an app, as a ratio to what the stock
@opentelemetry/auto-instrumentations-node/register adds to it in the same run. Takes under 10 minutes.

  --quick         a few rounds only: shows that the bench works, not how good the figures are
  --only <names>  some of ${measureNames.join(', ')}, separated by commas
  --write         put the table into docs/benchmarks.md (full runs only)
  --profile       where the time goes, instead of how much it is: what the preload adds, by package, file and
                  function; --only takes some of ${profileNames.join(', ')}.
                  The profiles are kept in .cache/bench/profiles
  --help          this text

A missed target is printed as such; the exit code is 0 whenever everything could be measured.`;

const page = path.join(import.meta.dirname, '..', 'docs', 'benchmarks.md');

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      write: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const names: readonly string[] = values.profile ? profileNames : measureNames;
  const wanted = new Set((values.only?.split(',') ?? names).map((name) => name.trim()));
  const unknown = [...wanted].filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`bench: --only ${unknown.join(',')} is not known: take some of ${names.join(', ')}`);
    return 2;
  }
  if (values.write && (values.quick || values.only || values.profile)) {
    console.error(
      'bench: --write keeps figures for the docs, so it needs a full run: leave out --quick, --only and --profile',
    );
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
  const beganMs = performance.now();
  try {
    const installed = await installVariants(say, stopped.signal);
    const collector = await startSideProcess(new URL('../bench/collector.ts', import.meta.url));
    sides.push(collector);
    const milvus = await startSideProcess(new URL('../bench/stub-milvus.ts', import.meta.url));
    sides.push(milvus);
    const bench = { plan, installed, collector, milvus, signal: stopped.signal, progress };
    if (values.profile) {
      const profilePlan = values.quick ? quickProfilePlan : fullProfilePlan;
      const text = await profile(bench, profilePlan, wanted as Set<ProfileName>);
      endProgress();
      console.log(text);
      return 0;
    }
    const rows = await measure(bench, wanted as Set<MeasureName>);
    endProgress();
    const about = conditions(installed, plan);
    const colour = process.stdout.isTTY === true && !process.env.NO_COLOR;
    console.log(`${terminalTable(rows, colour)}\n\n${about.join('\n')}`);
    const judged = rows.map(isMet).filter((met) => met !== undefined);
    const took = `${((performance.now() - beganMs) / 60_000).toFixed(1)} min`;
    console.log(`${judged.filter(Boolean).length} of ${judged.length} targets met, ${took}`);
    if (values.quick) console.log('--quick: too few rounds for a judgement');
    if (values.write) {
      await writeFile(page, replaceTable(await readFile(page, 'utf8'), markdownTable(rows, about)));
      say('docs/benchmarks.md has the new table');
    }
    return 0;
  } catch (error) {
    endProgress();
    if (stopped.signal.aborted) return stopped.signal.reason === 'SIGTERM' ? 143 : 130;
    console.error(`bench: ${(error as Error).message}`);
    return 1;
  } finally {
    await Promise.all(sides.map((side) => side.stop()));
  }
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
