/** The command line of the demos: options, usage errors, --keep, the result as the last line. */
import path from 'node:path';
import { parseArgs, styleText } from 'node:util';
import { ensureBuilt } from '../build/build-package.ts';
import { endOnSignals, Teardown } from '../processes/teardown.ts';
import { checkReportFile } from './demo-report.ts';
import { appVariables, type Say, type Stack } from './demo-stack.ts';

/** Prints the usage, with exit code 2. */
export class UsageError extends Error {}

const root = path.join(import.meta.dirname, '..', '..');

export const say: Say = (who, line) => console.log(`${styleText('dim', who.padEnd(7))} ${line}`);

/** Not `node`: the machine's version may be too old for the preload. */
export const node = path.relative(process.cwd(), process.execPath);

/** The command that starts the app again from this folder, on several lines. */
export function startedBy(stack: Stack, file: string, service?: string): string {
  const variables = { ...appVariables(stack, service), MILVUS_ADDRESS: stack.milvusAddress };
  const assigned = Object.entries(variables).map((pair) => pair.join('='));
  return [...assigned, `${node} --import milvus-otel/register ${file}`]
    .map((part) => `  ${part}`)
    .join(' \\\n');
}

/** The result of a demo run. */
export interface DemoResult {
  /** Otherwise the exit code is 1. */
  isSound: boolean;
  /** The last line. */
  result: string;
  /** With --keep: prints the processes that still run. */
  printKept(): void;
}

export type DemoOptions<Flag extends string = never> = Record<Flag | 'keep', boolean> & {
  /** Absolute path of the report to write. */
  reportFile: string;
};

export interface DemoCommand<Flag extends string> {
  /** Prefix of its error messages, such as `demo`. */
  name: string;
  usage: string;
  /** File name of the report in .cache/demo, without --report. */
  reportName: string;
  /** Options in addition to --keep, --report, --help. */
  flags?: Flag[];
  run(options: DemoOptions<Flag>, teardown: Teardown): Promise<DemoResult>;
}

/** Runs the command and exits the process. */
export async function runCommand<Flag extends string = never>(demo: DemoCommand<Flag>): Promise<never> {
  const teardown = new Teardown();
  try {
    const { help, report, ...flags } = readOptions(['keep', 'help', ...(demo.flags ?? [])]);
    const reportFile =
      report === undefined
        ? path.join(root, '.cache', 'demo', demo.reportName)
        : // npm runs scripts in the root of the project, wherever the user is.
          path.resolve(process.env.INIT_CWD ?? '.', report);
    const options = { ...flags, reportFile } as DemoOptions<Flag>;
    if (help) console.log(demo.usage);
    else process.exitCode = await runToEnd(demo, options, teardown);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    console.error(`${demo.name}: ${(error as Error).message}${isUsage ? `\n\n${demo.usage}` : ''}`);
    process.exitCode = isUsage ? 2 : 1;
  }
  await teardown.run();
  // Open idle connections must not delay the exit.
  process.exit();
}

function readOptions<Name extends string>(names: Name[]): Record<Name, boolean> & { report?: string } {
  try {
    const off = { type: 'boolean', default: false } as const;
    const { values } = parseArgs({
      options: { ...Object.fromEntries(names.map((name) => [name, off])), report: { type: 'string' } },
    });
    if (values.report === '') throw new Error("Option '--report <value>' argument missing");
    return values as Record<Name, boolean> & { report?: string };
  } catch (error) {
    // The first sentence names the argument; the others are about positionals, which are not used here.
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
}

/** Resolves to the exit code. */
async function runToEnd<Flag extends string>(
  demo: DemoCommand<Flag>,
  options: DemoOptions<Flag>,
  teardown: Teardown,
): Promise<number> {
  let keptExitCode: number | undefined;
  endOnSignals(teardown, (usual) => keptExitCode ?? usual);

  await checkReportFile(options.reportFile);
  await ensureBuilt();
  const { isSound, result, printKept } = await demo.run(options, teardown);
  const exitCode = isSound ? 0 : 1;
  if (options.keep) {
    console.log(result);
    keptExitCode = exitCode;
    printKept();
    // An open handle keeps the process alive until a signal.
    await new Promise(() => setInterval(() => {}, 2 ** 30));
  }
  // The teardown prints first: the result is the last line.
  await teardown.run();
  console.log(result);
  return exitCode;
}
