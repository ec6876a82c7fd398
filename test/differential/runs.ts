/** Runs of one program without and with the preload, and their results without times and random values. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type FixtureResult, startFixture } from '../../tools/processes/run-fixture.ts';
import { type ScriptedCall, startScriptedMilvus } from './scripted-milvus.ts';

export interface Variant {
  preload: '--import' | '--require' | false;
  env: Record<string, string>;
}

/** Without the preload: the others are compared with it. */
export const PLAIN: Variant = { preload: false, env: {} };

/** The preload, in the configurations that differ most. */
export const VARIANTS = {
  'as it is by default': { preload: '--import', env: {} },
  'with every option on': {
    preload: '--require',
    env: {
      OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER: 'true',
      OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS: 'true',
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'milvus,grpc,generic-pool,undici,net,dns,winston',
      // For the program: this variant does not test arguments.
      FEW_CASES: '1',
    },
  },
  'with nothing sampled': { preload: '--import', env: { OTEL_TRACES_SAMPLER: 'always_off' } },
} satisfies Record<string, Variant>;
export type VariantName = keyof typeof VARIANTS;

export interface RunOptions {
  /** Where the preload sends its spans, without a scheme. */
  collector: string;
  env?: Record<string, string>;
  /** Instead of the file to report to. */
  args?: string[];
}

export interface Run extends FixtureResult {
  /** The file that the program wrote; {} when it wrote none. */
  report: any;
}

/** `file` is one of fixtures/. */
export async function runProgram(
  file: string,
  variant: Variant,
  { collector, env, args }: RunOptions,
): Promise<Run> {
  const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-differential-'));
  const reportFile = path.join(folder, 'report.json');
  try {
    const result = await startFixture({
      file: `test/differential/fixtures/${file}`,
      args: args ?? [reportFile],
      preload: variant.preload,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://${collector}`, ...variant.env, ...env },
      timeoutMs: 150_000,
    }).ended;
    return { ...result, report: await readFile(reportFile, 'utf8').then(JSON.parse, () => ({})) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface ScriptedRun extends Run {
  calls: ScriptedCall[];
}

/** Runs a program against a separate scripted Milvus, so that its calls are not mixed with others. */
export async function runOnScriptedMilvus(
  file: string,
  variant: Variant,
  options: RunOptions,
): Promise<ScriptedRun> {
  const milvus = await startScriptedMilvus();
  try {
    const env = { ...options.env, SCRIPTED_MILVUS: JSON.stringify(milvus.addresses) };
    const run = await runProgram(file, variant, { ...options, env });
    return { ...run, calls: milvus.calls() };
  } finally {
    milvus.stop();
  }
}

/** Whether the app made a call: heartbeats come by a timer. */
export const isOfTheApp = ({ rpc }: ScriptedCall): boolean => rpc !== 'ClientHeartbeat';

/** Headers that the preload sends; nothing else of a call may differ. */
const TRACE_HEADERS = ['traceparent', 'tracestate', 'baggage'];

/** Headers of a client that differ in each call. */
const UNSTEADY_HEADERS = ['client-request-unixmsec'];

/** The case of the program that a call belongs to; connecting comes before any. */
export const caseOf = ({ behaviour, headers }: ScriptedCall): string =>
  headers.case?.[0] === undefined ? `connecting to ${behaviour}` : decodeURIComponent(headers.case[0]);

/** The calls by case, without trace headers and values that vary, in a fixed order. */
export function messagesByCase(calls: ScriptedCall[]): Record<string, unknown[]> {
  const table: Record<string, string[]> = {};
  for (const call of calls) {
    if (!isOfTheApp(call)) continue;
    const headers = Object.entries(call.headers)
      .filter(([name]) => !TRACE_HEADERS.includes(name) && !UNSTEADY_HEADERS.includes(name))
      .map(([name, values]) => [name, call.rpc === 'Connect' ? values.map(() => 'any') : values]);
    const { client_info: clientInfo, ...request } = call.request as Record<string, any>;
    if (clientInfo !== undefined) request.client_info = { ...clientInfo, local_time: 'any' };
    const message = { rpc: call.rpc, headers: Object.fromEntries(headers), request };
    const key = caseOf(call);
    table[key] ??= [];
    table[key].push(JSON.stringify(message));
  }
  // Concurrent calls may arrive in any order.
  return Object.fromEntries(
    Object.entries(table).map(([key, messages]) => [
      key,
      messages.sort().map((message) => JSON.parse(message)),
    ]),
  );
}

/** Calls with wrong trace headers, one line each with the fault. */
export function wrongTraceHeaders(calls: ScriptedCall[], { preload, env }: Variant): string[] {
  const flags = env.OTEL_TRACES_SAMPLER === 'always_off' ? '00' : '01';
  const right = new RegExp(`^00-[0-9a-f]{32}-[0-9a-f]{16}-${flags}$`);
  return calls.flatMap((call) => {
    const { traceparent = [], ...others } = call.headers;
    const expected = preload !== false && isOfTheApp(call) ? 1 : 0;
    const wrong = [
      ...(traceparent.length === expected ? [] : [`${traceparent.length} traceparents`]),
      ...traceparent.filter((value) => !right.test(value)),
      ...TRACE_HEADERS.filter((name) => name in others),
    ];
    return wrong.length === 0 ? [] : [`${caseOf(call)}: ${call.rpc} came with ${wrong.join(', ')}`];
  });
}

/** Output without the values that differ in each run: times, ports, durations. */
function steadyOutput(text: string): string[] {
  return text
    .replaceAll(/\[\d{4}-\d\d-\d\dT[\d:.]+Z\]/g, '[<time>]')
    .replaceAll(/\([\d.]+m?s\)/g, '(<duration>)')
    .replaceAll(/"local_time":"[^"]*"/g, '"local_time":"<time>"')
    .replaceAll(/127\.0\.0\.1:\d+/g, '<address>')
    .replaceAll(/'date' => \[ '[^']*' \]/g, "'date' => [ '<time>' ]")
    .split('\n');
}

/** The visible result of a process; `sorted`: each line once, in order, for concurrent output. */
export function outsideOf({ code, signal, stdout, stderr, report }: Run, sorted = false) {
  const once = (lines: string[]) => [...new Set(lines)].sort();
  const lines = (text: string) => (sorted ? once(steadyOutput(text)) : steadyOutput(text));
  const events: string[] = (report.events ?? []).map((event: unknown) => JSON.stringify(event));
  return { code, signal, stdout: lines(stdout), stderr: lines(stderr), events: once(events) };
}
