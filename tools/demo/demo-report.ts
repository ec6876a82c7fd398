/** The report of a demo: written to a file, served with --keep, and a link for each trace in the terminal. */
import { access, constants, mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { duration } from '../pictures/svg.ts';
import type { Teardown } from '../processes/teardown.ts';
import { reportTemplate } from '../report/report.ts';
import { type ReportOptions, type ReportTrace, reportData } from '../report/report-data.ts';
import { serveReport } from '../report/report-server.ts';
import type { ReceivedSpan } from '../servers/received-span.ts';
import type { Say, Stack } from './demo-stack.ts';
import { showsLinks, terminalLink } from './terminal-link.ts';

/** The server's C++ part sends its spans every 5 s. */
const coreSpansMs = 6_000;
const sampleEveryMs = 250;

/** Fails early when the report cannot be written there. */
export async function checkReportFile(file: string): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    const found = await stat(file).catch(() => undefined);
    if (found?.isDirectory()) throw Object.assign(new Error(), { code: 'EISDIR' });
    await access(found === undefined ? path.dirname(file) : file, constants.W_OK);
  } catch (error) {
    throw cannotWrite(file, error);
  }
}

function cannotWrite(file: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  return new Error(
    `--report: the report cannot be written to ${file} (${code ?? message}). Name another file: --report FILE`,
  );
}

export interface DemoReport {
  /** The page of all traces. */
  url: string;
  /** The traces with a span of the app. */
  traces: ReportTrace[];
}

export interface DemoReportOptions extends Omit<ReportOptions, 'viewer'> {
  stack: Stack;
  /** An absolute path. */
  file: string;
  /** Also serve it until the teardown. */
  isServed: boolean;
  say: Say;
  teardown: Teardown;
}

/** Waits for the server's last spans, writes the report and serves it. */
async function makeReport({
  stack,
  file,
  isServed,
  say,
  teardown,
  ...options
}: DemoReportOptions): Promise<DemoReport> {
  say('report', "waiting for the spans of Milvus' C++ core (it sends every 5 s)");
  const template = await reportTemplate();
  const spans = await withCoreSpans(stack);
  // No links to servers that the demo stops.
  const isViewerKept = isServed || stack.staysUp;
  const viewer = isViewerKept && stack.traceUrl ? { name: 'Jaeger', url: stack.traceUrl('{id}') } : undefined;
  const dataOf = (from: ReceivedSpan[]) => reportData(from, { ...options, viewer });
  const data = dataOf(spans);
  await writeFile(file, template(data)).catch((error) => {
    throw cannotWrite(file, error);
  });
  let url = pathToFileURL(file).href;
  if (isServed) {
    const server = await serveReport(async () => template(dataOf(await stack.spans())));
    teardown.add(() => server.stop());
    url = server.url;
  }
  return { url, traces: data.traces.filter(({ join }) => join !== 'server only') };
}

/** All spans, once those of the server's C++ part have arrived or their deadline has passed. */
async function withCoreSpans(stack: Stack): Promise<ReceivedSpan[]> {
  const deadlineMs = performance.now() + coreSpansMs;
  for (;;) {
    const spans = await stack.spans();
    const withCore = new Set(
      spans.filter(({ service }) => service === 'segcore').map(({ traceId }) => traceId),
    );
    const isComplete = spans
      .filter(({ name }) => /MilvusService\/(Search|Query)$/.test(name))
      .every(({ traceId }) => withCore.has(traceId));
    if (isComplete || performance.now() > deadlineMs) return spans;
    await sleep(sampleEveryMs);
  }
}

/** Writes the report, and prints a link to each of its traces. */
export async function showReport(options: DemoReportOptions): Promise<DemoReport> {
  const { file, stack, isServed } = options;
  const report = await makeReport(options);
  console.log(`\n${reportLines(report, file, stack, { isServed }).join('\n')}\n`);
  return report;
}

/** One link per trace of the app, and the location of the report. */
export function reportLines(
  { url, traces }: DemoReport,
  file: string,
  stack: Pick<Stack, 'traceUrl' | 'staysUp'>,
  { isServed, isLink = showsLinks }: { isServed: boolean; isLink?: boolean },
): string[] {
  const toJaeger = isServed || stack.staysUp ? stack.traceUrl : undefined;
  const names = traces.map(({ name }) => plain(name));
  const durations = traces.map(({ durationMs }) => duration(durationMs));
  const nameWidth = Math.max(0, ...names.map((name) => name.length));
  const durationWidth = Math.max(0, ...durations.map((text) => text.length));
  const lines = traces.map(({ id, errorCount }, index) => {
    const name = names[index] ?? '';
    const padding = ' '.repeat(nameWidth - name.length);
    const after = (durations[index] ?? '').padStart(durationWidth);
    const failed = errorCount === 0 ? '' : `  ${errorCount} failed`;
    const target = toJaeger === undefined ? `${url}#${id}` : toJaeger(id);
    return isLink
      ? `${terminalLink(name, target, true)}${padding}  ${after}${failed}`
      : `${terminalLink(`${name}${padding}  ${after}${failed}`, target, false)}`;
  });
  const shown = path.relative(process.cwd(), file);
  const named = shown.startsWith('..') ? file : shown;
  return [...lines, '', `Report: ${terminalLink(named, isServed ? url : pathToFileURL(file).href, isLink)}`];
}

/** Removes control characters: names come from spans. */
function plain(name: string): string {
  return name.replace(/\p{Cc}/gu, ' ');
}
