/**
 * `milvus-otel doctor`: arguments → stages, in the order in which a span travels → a report and an exit code.
 */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs, parseEnv } from 'node:util';
import { context } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import { secretsIn, withoutSecrets } from '../config/redaction.ts';
import type { Settings } from '../config/settings.ts';
import { tracesProtocol, tracesTarget } from '../otlp/target.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import { VERSION } from '../version.ts';
import { type AppEnd, watchApp } from './app.ts';
import { checkCollector } from './collector.ts';
import { conclude, EXIT, type Finding, type Report, STAGES, type Stage, worst } from './finding.ts';
import { checkJoin } from './join.ts';
import { checkMilvus, type Probed } from './milvus.ts';
import { readCommand } from './node-options.ts';
import { reportText } from './output.ts';
import { checkRuntime, entryFile, waysIn } from './runtime.ts';
import { checkSettings } from './settings-stage.ts';

declare const __dirname: string;

const HELP = `npx milvus-otel doctor [options] [-- COMMAND …]

Finds out why traces are missing: checks runtime, settings, collector, Milvus and the joined trace, and prints each result
with its fix. Run it in the app's folder, with the app's variables. It creates nothing in Milvus, prints no secrets, and exits within
15 s (plus --wait), or after the COMMAND.

  --milvus ADDRESS   host:19530 or a URL; default MILVUS_ADDRESS, else localhost:19530
  --jaeger URL       query API to look up the probe's trace: Jaeger's, http://host:16686, or Tempo's;
                     default port 16686 of the collector's host
  --wait SECONDS     how much longer to wait for the probe's trace, for a collector that samples whole traces; default 0
  --app DIR          the app's folder; default the working directory
  --env FILE         variables as NAME=value lines, for those not set here
  --json             prints one line of JSON, described in docs/doctor.md
  --for SECONDS      how long the COMMAND may run before the doctor stops it; default 10
  -- COMMAND …       runs COMMAND under the preload and reports which Milvus calls were traced, which not, and why;
                     output, signals and exit code pass through, spans stay in the doctor

Variables: MILVUS_TOKEN, or MILVUS_USERNAME and MILVUS_PASSWORD (credentials for Milvus); the app's OTEL_… variables; NO_COLOR.

Exit codes: 0 all stages work, 1 a stage is broken, 2 wrong usage, 3 nothing is broken but the joined trace was not seen.
With a COMMAND, its exit code when that is not 0.
`;

/** The whole run, and the part of it that is for waiting for the server's spans. */
const WHOLE_MS = 15_000;
const CHECKS_MS = 12_000;
const APP_MS = 10_000;
/** Left for the stages after a signal. */
const INTERRUPTED_MS = 1_000;
const EXIT_SIGNALS = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const;

interface Options {
  milvus: string;
  jaeger: string | undefined;
  app: string;
  envFile: string | undefined;
  json: boolean;
  forMs: number;
  waitMs: number;
  command: string[];
}

class UsageError extends Error {}

/** Resolves to the exit code; the caller ends the process with it. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    if (args[0] === '--help' || args[0] === '-h' || args[0] === 'help' || args.length === 0) {
      process.stdout.write(
        `milvus-otel ${VERSION}\n\n${HELP}\nThe preload itself: node --import milvus-otel/register app.js\n`,
      );
      return args.length === 0 ? EXIT.usage : 0;
    }
    if (args[0] === '--version' || args[0] === '-v') {
      process.stdout.write(`${VERSION}\n`);
      return 0;
    }
    if (args[0] !== 'doctor') throw new UsageError(`unknown command ${args[0]}. The only command is doctor`);
    const rest = args.slice(1);
    const end = rest.indexOf('--');
    if ((end === -1 ? rest : rest.slice(0, end)).some((arg) => arg === '--help' || arg === '-h')) {
      process.stdout.write(HELP);
      return 0;
    }
    const options = readOptions(rest);
    // A preload that NODE_OPTIONS brings into this process shall not trace the doctor.
    return await context.with(suppressTracing(context.active()), () => doctor(options));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`milvus-otel: ${error.message}\n\nSee npx milvus-otel doctor --help\n`);
    return EXIT.usage;
  }
}

/** @throws UsageError */
function milliseconds(option: string, value: string | boolean | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = Number(value);
  if (!Number.isFinite(seconds) || seconds <= 0 || seconds > 86_400)
    throw new UsageError(`${option} ${value} is not a number of seconds above 0`);
  return seconds * 1_000;
}

function readOptions(args: readonly string[]): Options {
  const end = args.indexOf('--');
  const own = end === -1 ? args : args.slice(0, end);
  const command = end === -1 ? [] : args.slice(end + 1);
  let values: Record<string, string | boolean | undefined>;
  try {
    const text = { type: 'string' } as const;
    ({ values } = parseArgs({
      args: [...own],
      options: {
        milvus: text,
        jaeger: text,
        app: text,
        env: text,
        for: text,
        wait: text,
        json: { type: 'boolean' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (end !== -1 && command.length === 0) throw new UsageError('a command is missing after --');
  const forMs = milliseconds('--for', values.for) ?? APP_MS;
  const waitMs = milliseconds('--wait', values.wait) ?? 0;
  if (values.for !== undefined && command.length === 0)
    throw new UsageError('--for needs a command: milvus-otel doctor --for 60 -- node app.js');
  const jaeger = values.jaeger as string | undefined;
  if (jaeger !== undefined && !/^https?:\/\//.test(jaeger))
    throw new UsageError('--jaeger needs a URL with http:// or https://, such as http://localhost:16686');
  if (jaeger !== undefined && !URL.canParse(jaeger)) throw new UsageError('--jaeger is not a URL');
  return {
    milvus: (values.milvus as string | undefined) ?? '',
    jaeger,
    app: resolve((values.app as string | undefined) ?? '.'),
    envFile: values.env as string | undefined,
    json: values.json === true,
    forMs,
    waitMs,
    command,
  };
}

/** As Docker reads such a file, quotes are part of a value, and of NODE_OPTIONS nothing else works. */
function withFile(env: NodeJS.ProcessEnv, file: string | undefined): NodeJS.ProcessEnv {
  if (file === undefined) return { ...env };
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--env ${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  const literal = /^NODE_OPTIONS=(.*)$/m.exec(text)?.[1];
  return { ...parseEnv(text), ...(literal === undefined ? {} : { NODE_OPTIONS: literal }), ...env };
}

async function doctor(options: Options): Promise<number> {
  const startedMs = performance.now();
  const watches = options.command.length > 0;
  const found = new Map<Stage, Finding[]>();
  const progress = (text: string) => {
    if (process.stderr.isTTY && !options.json) process.stderr.write(`milvus-otel doctor: ${text} …\n`);
  };

  const env = withFile(process.env, options.envFile);
  const command = watches ? readCommand(options.command) : undefined;
  const appEnv = { ...env, ...command?.env };
  const ownPreload = join(__dirname, 'register.cjs');
  const runtime = { appFolder: options.app, env: appEnv, command, ownPreload, version: VERSION };
  const { settings, findings } = checkSettings(appEnv);
  found.set('settings', findings);
  found.set('runtime', checkRuntime(runtime));

  let interrupt = () => {};
  const interrupted = new Promise<void>((settle) => {
    interrupt = () => setTimeout(settle, INTERRUPTED_MS);
  });
  let app: Promise<AppEnd> | undefined;
  if (command !== undefined) {
    const ways = waysIn(runtime, entryFile(runtime));
    app = watchApp({
      command: command.words,
      appFolder: options.app,
      env: appEnv,
      addPreload: ways.where === undefined && ways.inSource === undefined && ways.problems.length === 0,
      stdoutTaken: options.json,
      limitMs: options.forMs,
      destination: destinationOf(settings),
      settingsFailure: findings.find(({ status }) => status === 'failure')?.found,
      onSignal: () => interrupt(),
    });
  } else {
    // An end through the exit event, which takes the probe along.
    for (const [signal, code] of EXIT_SIGNALS) process.on(signal, () => process.exit(code));
  }
  const wholeMs = WHOLE_MS + options.waitMs;
  let isLate = false;
  const late = new Promise<void>((settle) =>
    setTimeout(() => {
      isLate = true;
      settle();
    }, wholeMs - 500),
  );
  const way = checkWay(options, appEnv, settings, found, startedMs + CHECKS_MS, progress);
  await Promise.race([way, late, interrupted]);
  for (const stage of STAGES.slice(0, 5)) {
    if (found.has(stage)) continue;
    // Each step has its own time limit; this one is for a step that exceeds it.
    found.set(stage, [
      {
        id: stage === 'collector' ? 'collector.export' : stage === 'milvus' ? 'milvus.probe' : 'join.query',
        ...(isLate
          ? {
              status: 'failure',
              found: `no answer within ${wholeMs / 1_000} s`,
              fix: 'run the doctor again: a check did not finish',
            }
          : { status: 'skipped', found: 'interrupted before this check' }),
      },
    ]);
  }
  const end = await app;
  if (end !== undefined) found.set('app', end.findings);

  const report = reportWithout(secretsOf(appEnv, options), conclude(VERSION, found));
  const exitCode = end?.code ? end.code : report.exitCode;
  // What the app has on stdout is the app's alone.
  await write(
    options.json ? `${JSON.stringify({ ...report, exitCode })}\n` : inText(report, watches),
    watches && !options.json,
  );
  if (end?.signal) {
    // As the app ended. Handlers are gone by now; should it be ignored, the code below says it.
    process.kill(process.pid, end.signal);
    await new Promise((settle) => setTimeout(settle, 200));
    return 128;
  }
  return exitCode;
}

/** Milvus' own default password, six letters, is in every other line here, and no secret. */
const SHORTEST_PASSWORD = 7;

/** What others answer may repeat what they were sent. */
function secretsOf(env: NodeJS.ProcessEnv, { milvus, jaeger }: Options): string[] {
  const urls = [milvus, env.MILVUS_ADDRESS, jaeger];
  const passwords = urls.flatMap((url) => (url && URL.canParse(url) ? new URL(url).password : []));
  const ours = [...passwords, env.MILVUS_TOKEN, env.MILVUS_PASSWORD].flatMap((secret) =>
    secret !== undefined && secret.length >= SHORTEST_PASSWORD ? secret : [],
  );
  return [...secretsIn(env), ...ours].sort((a, b) => b.length - a.length);
}

/** Every text of it, and nothing else: ids and statuses are ours. */
function reportWithout(secrets: readonly string[], report: Report): Report {
  const clean = <T extends string | null | undefined>(text: T): T =>
    (typeof text === 'string' ? withoutSecrets(text, secrets) : text) as T;
  const { verdict, stages } = report;
  return {
    ...report,
    verdict: { ...verdict, text: clean(verdict.text), fix: clean(verdict.fix) },
    stages: stages.map((stage) => ({
      ...stage,
      findings: stage.findings.map((finding) => ({
        ...finding,
        found: clean(finding.found),
        ...(finding.fix === undefined ? {} : { fix: clean(finding.fix) }),
      })),
    })),
  };
}

function inText(report: Report, toStderr: boolean): string {
  const { isTTY } = toStderr ? process.stderr : process.stdout;
  return reportText(report, isTTY === true && (process.env.NO_COLOR ?? '') === '');
}

/** To the end: the process ends right after it. */
const write = (text: string, toStderr: boolean): Promise<void> =>
  new Promise((settle) => {
    const stream = toStderr ? process.stderr : process.stdout;
    stream.on('error', () => settle());
    stream.write(text, () => settle());
  });

/** Stages 3 to 5. */
async function checkWay(
  options: Options,
  env: NodeJS.ProcessEnv,
  settings: Settings,
  found: Map<Stage, Finding[]>,
  deadlineMs: number,
  progress: (text: string) => void,
): Promise<void> {
  const address = options.milvus || env.MILVUS_ADDRESS || 'localhost:19530';
  const access = {
    token: env.MILVUS_TOKEN,
    username: env.MILVUS_USERNAME,
    password: env.MILVUS_PASSWORD,
  };
  progress('collector and Milvus');
  const collecting = checkCollector(settings, VERSION).then((findings) => {
    found.set('collector', findings);
    return findings;
  });
  const probing = checkMilvus(address, access, options.app, env, deadlineMs).then((probed) => {
    found.set('milvus', probed.findings);
    return probed;
  });
  const [collector, probed] = await Promise.all([collecting, probing]);
  found.set('join', await joined(collector, probed));

  async function joined(collected: Finding[], { findings, answer }: Probed): Promise<Finding[]> {
    const skipped = (found: string): Finding[] => [{ id: 'join.query', status: 'skipped', found }];
    if (worst(collected) === 'failure') return skipped('no trace to look up while the collector is broken');
    if (answer === undefined || worst(findings) === 'failure')
      return skipped('no trace to look up while Milvus was not reached');
    const queryUrl = options.jaeger ?? guessedQuery(settings);
    if (queryUrl === undefined)
      return [
        {
          id: 'join.query',
          status: 'skipped',
          found: 'no query API to look up the trace',
          fix: '--jaeger http://HOST:16686',
        },
      ];
    progress(`the trace ${answer.traceId}, which the server sends within some seconds`);
    return checkJoin({
      traceId: answer.traceId,
      serviceName: answer.serviceName,
      queryUrl,
      guessed: options.jaeger === undefined,
      collector: collectorForServer(settings),
      milvusAddress: oneLine(address),
      deadlineMs: deadlineMs + options.waitMs,
    });
  }
}

/** Jaeger all-in-one has its query API on the host of its OTLP port. */
function guessedQuery(settings: Settings): string | undefined {
  if (settings.configFile !== undefined) return undefined;
  const { url } = tracesTarget(settings);
  return url.startsWith('unix:') ? undefined : `http://${new URL(url).hostname}:16686`;
}

/** The same collector as `host:port` of its gRPC port, for the server's trace block. */
function collectorForServer(settings: Settings): string {
  const { url } = tracesTarget(settings);
  if (settings.configFile !== undefined || url.startsWith('unix:')) return 'COLLECTOR:4317';
  const { hostname, port, protocol } = new URL(url);
  const own = port || (protocol === 'https:' ? '443' : '80');
  return `${hostname}:${tracesProtocol(settings) === 'grpc' ? own : '4317'}`;
}

function destinationOf(settings: Settings): string {
  if (settings.configFile !== undefined) return 'where OTEL_CONFIG_FILE says';
  if (settings.tracesExporter.includes('none')) return 'nowhere, since OTEL_TRACES_EXPORTER is none';
  const { url } = tracesTarget(settings);
  return `${url} (${tracesProtocol(settings)})`;
}
