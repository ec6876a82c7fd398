/**
 * `npm run reliability`: how many of twenty spans arrive at every exit and with every fault. See
 * docs/reliability.md.
 */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { sideBySide } from '../bench/side-by-side.ts';
import { startStubMilvus } from '../bench/stub-milvus.ts';
import { telemetryEnvironment } from '../bench/variants.ts';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { fillPart } from '../tools/docs/generate.ts';
import { type FixtureResult, startFixture } from '../tools/processes/run-fixture.ts';
import { EXITS, type Exit, exitBySignal } from '../tools/reliability/exits.ts';
import {
  environmentOf,
  FAULTS,
  type Fault,
  type FaultProtocol,
  makeKeys,
} from '../tools/reliability/faults.ts';
import { figuresOf, LONG, problemsOf, type Soak, soak } from '../tools/reliability/soak.ts';
import { type Receiver, startReceiver } from '../tools/servers/receiver.ts';

const HELP = `usage: npm run reliability -- [--only exits|faults] [--soak [--seconds <n>]] [--write]

Runs programs that make twenty searches, with every kind of exit and every fault of a collector: without a preload, with
milvus-otel/register, and with the stock @opentelemetry/auto-instrumentations-node/register. Prints how many spans arrived and
whether exit code, signal and output are the program's. Takes about ten minutes, and needs only Node.

  --only <name>   one of the two tables
  --soak          instead of them, a run of ten minutes at ${LONG.operationsPerSecond} operations a second; fails when
                  the heap, file descriptors or listeners grow, or a span is missing
  --seconds <n>   a shorter or longer soak
  --write         writes the tables to docs/reliability.md (whole runs only)
  --help          prints this text

The exit code is 0 when the tables could be measured, whatever they show; tests check the required values.`;

const root = path.join(import.meta.dirname, '..');
const page = path.join(root, 'docs', 'reliability.md');

/** What has not ended this long after its last words hangs, and is killed. */
const deadlineMs = 15_000;
/** Longest until a program's last words. What takes longer is no finding: the command fails. */
const startDeadlineMs = 180_000;
/** For programs whose last words are a child's: it counts from their start. */
const childrenDeadlineMs = 60_000;
/** Rows at the same time. */
const together = 2;

type Variant = 'none' | 'ours' | 'stock';

const PRELOADS: Record<Variant, string | undefined> = {
  none: undefined,
  ours: './dist/register.cjs',
  stock: '@opentelemetry/auto-instrumentations-node/register',
};

interface Surroundings {
  receiver: Receiver;
  milvusAddress: string;
}

interface Outcome {
  /** undefined: it hung and was killed. */
  result: FixtureResult | undefined;
  /** From its last words to its end. */
  endMs: number;
  /** Searches at the receiver. */
  spans: number;
}

let runCount = 0;

/** Runs a program under one of the preloads; `lastWords` is what it says before its end. */
async function run(
  variant: Variant,
  { receiver, milvusAddress }: Surroundings,
  exit: Exit,
  lastWords: RegExp | undefined,
  env: Record<string, string> = {},
): Promise<Outcome> {
  const service = `${variant}-${++runCount}`;
  const preload = PRELOADS[variant];
  const fixture = startFixture({
    file: exit.file,
    args: exit.args,
    cwd: root,
    timeoutMs: startDeadlineMs + deadlineMs,
    env: {
      MILVUS_ADDRESS: milvusAddress,
      ...telemetryEnvironment(`127.0.0.1:${receiver.grpcPort}`, service),
      OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process',
      ...env,
      ...(preload === undefined ? {} : { NODE_OPTIONS: `--import ${preload}` }),
    },
  });
  // Without these words something else is wrong, of which the error tells.
  if (lastWords !== undefined) await fixture.waitForStdout(lastWords);
  const beganMs = performance.now();
  await exitBySignal(fixture, exit);
  const hangsAfterMs = lastWords === undefined ? childrenDeadlineMs : deadlineMs;
  const result = await Promise.race([fixture.ended, sleep(hangsAfterMs, undefined, { ref: false })]);
  const endMs = performance.now() - beganMs;
  if (result === undefined) {
    fixture.kill('SIGKILL');
    await fixture.ended.catch(() => {});
  }
  // Time for the receiver's thread to hand over what has come in.
  await sleep(500);
  const searches = receiver
    .spans()
    .filter((span) => span.service === service && span.kind === 'CLIENT' && /(^|\/)search/i.test(span.name));
  return { result, endMs, spans: new Set(searches.map(({ spanId }) => spanId)).size };
}

const shownEnd = ({ result }: Outcome) =>
  result === undefined ? 'hangs, killed' : String(result.signal ?? result.code);

/**
 * Whether the program's end is the one it has without a preload, but for positions and addresses that Node
 * prints.
 */
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
  // A row whose control is wrong says nothing about the preloads.
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

/** `load` is how many processes wanted a core when it began, one minute's average. */
function conditions(load: number): string {
  const version = (folder: string) =>
    JSON.parse(readFileSync(path.join(root, folder, 'package.json'), 'utf8')).version as string;
  const stock = '@opentelemetry/auto-instrumentations-node';
  const [cpu] = os.cpus();
  return (
    `${os.cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${os.platform()} ${os.arch()}, Node ` +
    `${process.versions.node}, milvus-otel ${version('.')}, ${stock} ${version(`node_modules/${stock}`)}; ` +
    `load ${load.toFixed(1)} when it began.`
  );
}

async function tables(only: string | undefined, load: number): Promise<Record<string, string>> {
  const receiver = await startReceiver();
  const milvus = await startStubMilvus();
  const keys = await makeKeys();
  // Also when it is ended by Ctrl-C.
  process.on('exit', keys.remove);
  try {
    const surroundings = { receiver, milvusAddress: milvus.address };
    const parts: Record<string, string> = {};
    if (only !== 'faults') {
      const rows = await inTurn(EXITS, 'exits', (exit) => exitRow(exit, surroundings));
      parts.exits = `${markdownTable(EXIT_HEADS, rows)}\n\n${conditions(load)}`;
    }
    if (only !== 'exits') {
      const cases = FAULTS.flatMap((fault) =>
        (['grpc', 'http/protobuf'] as const).map((protocol) => ({ fault, protocol })),
      );
      const rows = await inTurn(cases, 'faults', ({ fault, protocol }) =>
        faultRow(fault, protocol, surroundings, keys),
      );
      parts.faults = `${markdownTable(FAULT_HEADS, rows)}\n\n${conditions(load)}`;
    }
    return parts;
  } finally {
    keys.remove();
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
  say('docs/reliability.md has what was found');
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
  if (values.only !== undefined && !['exits', 'faults'].includes(values.only))
    return wrong(`--only ${values.only} is not known: take exits or faults`);
  const soakSeconds = Number(values.seconds ?? LONG.seconds);
  if (!Number.isInteger(soakSeconds) || soakSeconds < 10)
    return wrong(`--seconds ${values.seconds} cannot be used: take a whole number, 10 or more`);
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
  const parts = await tables(values.only, load);
  endProgress();
  console.log(Object.values(parts).join('\n\n'));
  if (values.write) await write(parts);
  return 0;
}

// Programs that are running are ended with this process.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
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
