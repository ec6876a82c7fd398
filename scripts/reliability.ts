/**
 * `npm run reliability`: counts the spans that arrive at every exit, with every fault and in packaged apps.
 * See docs/reliability.md.
 */
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { sideBySide } from '../bench/side-by-side.ts';
import { startStubMilvus } from '../bench/stub-milvus.ts';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { fillPart } from '../tools/docs/generate.ts';
import type { FixtureResult } from '../tools/processes/run-fixture.ts';
import {
  type Delivered,
  type DeliveryCase,
  DUPLICATES,
  measureDelivery,
  RETRIES,
} from '../tools/reliability/delivery.ts';
import { EXITS, type Exit, exitBySignal } from '../tools/reliability/exits.ts';
import {
  environmentOf,
  FAULTS,
  type Fault,
  type FaultProtocol,
  makeKeys,
} from '../tools/reliability/faults.ts';
import {
  PACKAGED_EXITS,
  type PackagedApp,
  type PackagedOutcome,
  packageApps,
  runPackaged,
} from '../tools/reliability/packaged.ts';
import { deadlineMs, endWithin, STOCK, startProgram, type Variant } from '../tools/reliability/programs.ts';
import { figuresOf, LONG, problemsOf, type Soak, soak } from '../tools/reliability/soak.ts';
import { type Receiver, startReceiver } from '../tools/servers/receiver.ts';

const tableNames = ['exits', 'faults', 'duplicates', 'retries', 'packaged'] as const;
type TableName = (typeof tableNames)[number];

const HELP = `usage: npm run reliability -- [--only <names>] [--soak [--seconds <n>]] [--write]

Runs programs with every kind of exit, with every fault of a collector and in packaged apps: without a preload, with
milvus-otel/register, and with the stock @opentelemetry/auto-instrumentations-node/register. Prints how many spans arrived, once
or twice, and whether exit code, signal and output are the program's. Takes about fifteen minutes. Needs only Node, and npm's
registry for the packaged apps.

  --only <names>  only these tables, separated by commas: ${tableNames.join(', ')}
  --soak          a run of ten minutes instead, at ${LONG.operationsPerSecond} operations a second; fails when
                  the heap, file descriptors or listeners grow, or a span is missing
  --seconds <n>   duration of the soak
  --write         writes the tables to docs/reliability.md (whole runs only)
  --help          prints this text

The exit code is 0 when the tables could be measured, whatever they show; tests check the required values.`;

const root = path.join(import.meta.dirname, '..');
const page = path.join(root, 'docs', 'reliability.md');

/** For programs whose last output is a child's: from their start. */
const childrenDeadlineMs = 60_000;
/** Rows at a time. */
const together = 2;

interface Surroundings {
  receiver: Receiver;
  milvusAddress: string;
}

interface Outcome {
  /** undefined: it hung and was killed. */
  result: FixtureResult | undefined;
  /** From its last output to its exit. */
  endMs: number;
  /** Searches at the receiver. */
  spans: number;
}

/** Runs a program under one of the preloads; `lastWords` matches its last output before the exit. */
async function run(
  variant: Variant,
  { receiver, milvusAddress }: Surroundings,
  exit: Exit,
  lastWords: RegExp | undefined,
  env: Record<string, string> = {},
): Promise<Outcome> {
  const { service, ...fixture } = startProgram(variant, {
    file: exit.file,
    args: exit.args,
    collectorPort: receiver.grpcPort,
    env: { MILVUS_ADDRESS: milvusAddress, ...env },
  });
  // Rejects with the program's output when it never prints this.
  if (lastWords !== undefined) await fixture.waitForStdout(lastWords);
  const beganMs = performance.now();
  await exitBySignal(fixture, exit);
  const result = await endWithin(fixture, lastWords === undefined ? childrenDeadlineMs : deadlineMs);
  const endMs = performance.now() - beganMs;
  // Time for the receiver's thread to forward received spans.
  await sleep(500);
  const searches = receiver
    .spans()
    .filter((span) => span.service === service && span.kind === 'CLIENT' && /(^|\/)search/i.test(span.name));
  return { result, endMs, spans: new Set(searches.map(({ spanId }) => spanId)).size };
}

const shownEnd = ({ result }: Outcome) =>
  result === undefined ? 'hangs, killed' : String(result.signal ?? result.code);

/** Whether the exit is the same as without a preload, except positions and addresses that Node prints. */
function isSame(own: Outcome, other: Outcome): boolean {
  const comparable = ({ stdout, stderr, code, signal }: FixtureResult) =>
    JSON.stringify([stdout, signal === 'SIGABRT' ? '' : stderr.replace(/\(node:[^)]*\)/g, ''), code, signal]);
  if (own.result === undefined || other.result === undefined) return false;
  return comparable(own.result) === comparable(other.result);
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;

async function exitRow(exit: Exit, surroundings: Surroundings): Promise<string[]> {
  const isTimed = exit.file.endsWith('exits.mjs');
  const lastWords = isTimed ? (exit.readyAt ?? (exit.signal ? /ready/ : /found/)) : undefined;
  const [none, ours, stock] = await Promise.all(
    (['none', 'ours', 'stock'] as const).map((variant) => run(variant, surroundings, exit, lastWords)),
  );
  // A row whose control fails says nothing about the preloads.
  if (none?.result === undefined)
    throw new Error(
      `${exit.what}: the program does not exit without a preload either; use a machine that is less busy`,
    );
  const made = 20 + (exit.moreSearches ?? 0);
  const cells = (outcome: Outcome) => [
    `${outcome.spans} of ${made}`,
    isSame(none, outcome) ? 'yes' : `no: ${differences(none, outcome)}`,
    isTimed && outcome.result !== undefined ? seconds(outcome.endMs) : '',
  ];
  return [
    exit.what,
    shownEnd(none),
    isTimed ? seconds(none.endMs) : '',
    ...cells(ours as Outcome),
    ...cells(stock as Outcome),
  ];
}

function differences(own: Outcome, other: Outcome): string {
  if (own.result === undefined || other.result === undefined) return shownEnd(other);
  if (shownEnd(own) !== shownEnd(other)) return shownEnd(other);
  const parts = (['stdout', 'stderr'] as const).filter((name) => own.result?.[name] !== other.result?.[name]);
  return parts.join(' and ');
}

async function faultRow(
  fault: Fault,
  protocol: FaultProtocol,
  surroundings: Surroundings,
  keys: Awaited<ReturnType<typeof makeKeys>>,
): Promise<string[]> {
  const exit: Exit = { what: fault.what, file: 'test/fixtures/exits.mjs', args: ['drain'] };
  const place = await fault.start(protocol, surroundings.receiver, keys);
  try {
    const env = environmentOf(protocol, place);
    const [ours, stock] = await Promise.all(
      (['ours', 'stock'] as const).map((variant) => run(variant, surroundings, exit, /ready/, env)),
    );
    const cells = (outcome: Outcome) => {
      const { result } = outcome;
      const lines = result?.stderr.split('\n').filter((line) => line !== '').length ?? 0;
      const isOwnEnd = result?.code === 0 && result.stdout === 'found\nready\n';
      return [
        `${outcome.spans} of 20`,
        result === undefined ? shownEnd(outcome) : seconds(outcome.endMs),
        result === undefined || isOwnEnd ? String(lines) : `${lines}; ended with ${shownEnd(outcome)}`,
      ];
    };
    return [fault.what, protocol, ...cells(ours as Outcome), ...cells(stock as Outcome)];
  } finally {
    await place.stop?.();
  }
}

async function deliveryRow(
  one: DeliveryCase,
  cellsOf: (delivered: Delivered) => string[],
): Promise<string[]> {
  const found = await Promise.all(
    (['ours', 'stock'] as const).map((variant) => measureDelivery(one, variant)),
  );
  return [one.what, one.protocol, ...found.flatMap(cellsOf)];
}

const spansCell = ({ arrived, made, hangs }: Delivered) =>
  `${arrived} of ${made}${hangs ? '; hangs, killed' : ''}`;

const duplicatesCells = (delivered: Delivered) => [spansCell(delivered), String(delivered.twice)];

const retriesCells = (delivered: Delivered) => [
  spansCell(delivered),
  String(delivered.attempts),
  delivered.gapsMs.map((ms) => (ms / 1_000).toFixed(1)).join(', '),
];

async function packagedRow(
  app: PackagedApp,
  exit: keyof typeof PACKAGED_EXITS,
  surroundings: Surroundings & { folder: string },
): Promise<string[]> {
  const [none, ours, stock] = (await Promise.all(
    (['none', 'ours', 'stock'] as const).map((variant) => runPackaged(app, exit, variant, surroundings)),
  )) as [PackagedOutcome, PackagedOutcome, PackagedOutcome];
  const own = ({ result }: PackagedOutcome) =>
    result === undefined ? 'hangs, killed' : `${result.signal ?? result.code} ${result.stdout}`;
  const cells = (outcome: PackagedOutcome) => [
    `${outcome.ownSpans} of 20`,
    `${outcome.searches} of 20`,
    outcome.starts === 1 ? 'once' : `${outcome.starts} times`,
    own(outcome) === own(none) ? 'yes' : `no: ${own(outcome)}`,
  ];
  return [app.what, PACKAGED_EXITS[exit], ...cells(ours), ...cells(stock)];
}

async function inTurn<T>(
  items: readonly T[],
  what: string,
  row: (item: T) => Promise<string[]>,
): Promise<string[][]> {
  let done = 0;
  const parts = items.map((item) => async () => {
    const cells = await row(item);
    done += 1;
    progress(`${what}: ${done} of ${items.length}`);
    return cells;
  });
  return sideBySide(parts, { atOnce: together });
}

const markdownTable = (heads: string[], rows: string[][]) =>
  [heads, heads.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');

const EXIT_HEADS = [
  'exit',
  'without a preload',
  'takes',
  'milvus-otel: spans',
  'exit unchanged',
  'takes',
  'stock: spans',
  'exit unchanged',
  'takes',
];
const FAULT_HEADS = [
  'collector',
  'protocol',
  'milvus-otel: spans',
  'exit takes',
  'lines on stderr',
  'stock: spans',
  'exit takes',
  'lines on stderr',
];

const DUPLICATES_HEADS = [
  'what happens',
  'protocol',
  'milvus-otel: spans',
  'arrived twice',
  'stock: spans',
  'arrived twice',
];
const RETRIES_HEADS = [
  'collector',
  'protocol',
  'milvus-otel: spans',
  'attempts',
  's between them',
  'stock: spans',
  'attempts',
  's between them',
];
const PACKAGED_HEADS = [
  'app',
  'exit',
  'milvus-otel: own spans',
  'searches',
  'started',
  'exit unchanged',
  'stock: own spans',
  'searches',
  'started',
  'exit unchanged',
];

/** `load` is the one-minute load average at the start. */
function conditions(load: number): string {
  const version = (folder: string) =>
    JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')).version as string;
  const [cpu] = os.cpus();
  return (
    `${os.cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${os.platform()} ${os.arch()}, Node ` +
    `${process.versions.node}, milvus-otel ${version('.')}, ${STOCK} ${version(`node_modules/${STOCK}`)}; ` +
    `load ${load.toFixed(1)} when it began.`
  );
}

async function tables(
  wanted: ReadonlySet<string>,
  load: number,
): Promise<Partial<Record<TableName, string>>> {
  const receiver = await startReceiver();
  const milvus = await startStubMilvus();
  const keys = await makeKeys();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-packaged-'));
  const removeFiles = () => {
    keys.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  // Also after Ctrl-C.
  process.on('exit', removeFiles);
  try {
    const surroundings = { receiver, milvusAddress: milvus.address };
    const parts: Partial<Record<TableName, string>> = {};
    const add = (name: TableName, heads: string[], rows: string[][]) => {
      parts[name] = `${markdownTable(heads, rows)}\n\n${conditions(load)}`;
    };
    if (wanted.has('exits'))
      add('exits', EXIT_HEADS, await inTurn(EXITS, 'exits', (exit) => exitRow(exit, surroundings)));
    if (wanted.has('faults')) {
      const cases = FAULTS.flatMap((fault) =>
        (['grpc', 'http/protobuf'] as const).map((protocol) => ({ fault, protocol })),
      );
      const rows = await inTurn(cases, 'faults', ({ fault, protocol }) =>
        faultRow(fault, protocol, surroundings, keys),
      );
      add('faults', FAULT_HEADS, rows);
    }
    if (wanted.has('duplicates'))
      add(
        'duplicates',
        DUPLICATES_HEADS,
        await inTurn(DUPLICATES, 'duplicates', (one) => deliveryRow(one, duplicatesCells)),
      );
    if (wanted.has('retries'))
      add(
        'retries',
        RETRIES_HEADS,
        await inTurn(RETRIES, 'retries', (one) => deliveryRow(one, retriesCells)),
      );
    if (wanted.has('packaged')) {
      progress('packaged: building and installing the apps');
      const apps = await packageApps(folder);
      const cases = apps.flatMap((app) => (['drain', 'exit'] as const).map((exit) => ({ app, exit })));
      const rows = await inTurn(cases, 'packaged', ({ app, exit }) =>
        packagedRow(app, exit, { ...surroundings, folder }),
      );
      add('packaged', PACKAGED_HEADS, rows);
    }
    return parts;
  } finally {
    removeFiles();
    await milvus.stop();
    await receiver.stop();
  }
}

function soakTable(found: Soak, load: number): string {
  const { heapMiB, descriptors, listeners } = figuresOf(found);
  const row = (what: string, { middle, end }: { middle: number; end: number }, digits: number) => [
    what,
    middle.toFixed(digits),
    end.toFixed(digits),
  ];
  const table = markdownTable(
    ['median of the samples', 'second third of the run', 'last third'],
    [
      row('heap in use, MiB', heapMiB, 1),
      row('file descriptors', descriptors, 0),
      row('listeners of process', listeners, 0),
    ],
  );
  const { seconds: length, operationsPerSecond } = found.plan;
  return (
    `${table}\n\n${length} s at ${operationsPerSecond} operations a second: ${found.operations.toLocaleString('en')} ` +
    `operations, ${found.received.toLocaleString('en')} of their spans at the collector. ${conditions(load)}`
  );
}

async function write(parts: Record<string, string>): Promise<void> {
  let text = await readFile(page, 'utf8');
  for (const [name, content] of Object.entries(parts)) text = fillPart(text, name, content);
  await writeFile(page, text);
  say('docs/reliability.md has the new figures');
}

const say = (line: string) => console.error(`reliability: ${line}`);

function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kreliability: ${line}`);
  else say(line);
}

function endProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
}

/** Resolves to the exit code. */
async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      soak: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const wrong = (problem: string) => {
    console.error(`reliability: ${problem}`);
    return 2;
  };
  const wanted = new Set<string>(values.only?.split(',').map((name) => name.trim()) ?? tableNames);
  const unknown = [...wanted].filter((name) => !tableNames.some((known) => known === name));
  if (unknown.length > 0)
    return wrong(`--only ${unknown.join(',')} is not known: take some of ${tableNames.join(', ')}`);
  const soakSeconds = Number(values.seconds ?? LONG.seconds);
  if (!Number.isInteger(soakSeconds) || soakSeconds < 10)
    return wrong(`--seconds ${values.seconds} is not a duration: give a whole number of 10 or more`);
  if (values.write && (values.only !== undefined || values.seconds !== undefined))
    return wrong(
      '--write keeps figures for the docs, so it needs a whole run: leave out --only and --seconds',
    );

  await ensureBuilt();
  const [load = 0] = os.loadavg();
  if (values.soak) {
    const plan = {
      ...LONG,
      seconds: soakSeconds,
      sampleSeconds: Math.min(LONG.sampleSeconds, soakSeconds / 10),
    };
    const found = await soak(plan, {
      progress: (elapsed) => progress(`soak: ${elapsed} of ${soakSeconds} s`),
    });
    endProgress();
    const table = soakTable(found, load);
    console.log(table);
    const problems = problemsOf(found);
    for (const problem of problems) say(problem);
    if (problems.length === 0 && values.write) await write({ soak: table });
    return problems.length === 0 ? 0 : 1;
  }
  const cores = os.availableParallelism();
  if (load > cores)
    say(
      `this machine is busy (load ${load.toFixed(1)} on ${cores} cores): times are too long, and the bound of 2 s may be too short`,
    );
  const parts = await tables(wanted, load);
  endProgress();
  console.log(Object.values(parts).join('\n\n'));
  if (values.write) await write(parts);
  return 0;
}

// Running programs end with this process.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.once(signal, () => process.exit(code));
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  endProgress();
  const { message, code = '' } = error as NodeJS.ErrnoException;
  console.error(`reliability: ${message}`);
  process.exitCode = code.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
}
