/** The report's data: one entry per trace, with a row per span. Pure functions. */
import type { StepsTable } from '../pictures/request-steps.ts';
import { callsOf, countJoins, shortName, type TraceNode, traceTrees } from '../pictures/trace-tree.ts';
import type { Side, WaterfallRow } from '../pictures/waterfall.ts';
import type { ReceivedSpan } from '../servers/received-span.ts';

export interface ReportRow extends WaterfallRow {
  id: string;
  /** The parent's id, when that span is not in the report. */
  missingParent?: string;
  kind: ReceivedSpan['kind'];
  service: string;
  scope: string;
  statusMessage: string;
  attributes: Record<string, unknown>;
  events: ReceivedSpan['events'];
  /** Index in the report's resources. */
  resource: number;
  /** How far its server spans lie outside of it, in ms: the clocks of two machines differ. */
  outsideMs?: number;
}

/** Whether the app's calls of a trace have spans of the server under them. */
export type Join = 'joined' | 'not joined' | 'server only' | 'no call';

export interface ReportTrace {
  id: string;
  name: string;
  side: Side;
  service: string;
  /** Since the epoch. */
  startMs: number;
  durationMs: number;
  errorCount: number;
  join: Join;
  /** Calls of the app without a span of the server. */
  unjoinedCount: number;
  /** Of the app's calls: the time in the server, and the rest. Undefined without a call that is joined. */
  serverMs?: number;
  gapMs?: number;
  rows: ReportRow[];
}

export interface ReportData {
  /** The command that wrote it, such as `npm run demo`. */
  command: string;
  /** The service of the app. */
  service: string;
  /** Since the epoch. */
  writtenMs: number;
  resources: Record<string, unknown>[];
  /** Earliest first. */
  traces: ReportTrace[];
  /** Address of a trace in another viewer, with `{id}` for the trace's id, and the viewer's name. */
  viewer?: { name: string; url: string };
  /** Where the time of requests went. */
  steps?: StepsTable;
}

export type ReportOptions = Pick<ReportData, 'command' | 'service' | 'viewer' | 'steps'>;

/** Ends of spans closer than this count as equal: clocks of one machine are read one after the other. */
const clockToleranceMs = 0.1;

export function reportData(spans: ReceivedSpan[], options: ReportOptions): ReportData {
  const resources = new Map<string, number>();
  const resourceIndex = (resource: Record<string, unknown>) => {
    const key = JSON.stringify(resource);
    const index = resources.get(key) ?? resources.size;
    resources.set(key, index);
    return index;
  };
  const traces = Map.groupBy(spans, ({ traceId }) => traceId);
  return {
    ...options,
    writtenMs: Date.now(),
    traces: [...traces.values()]
      .map((ofTrace) => reportTrace(ofTrace, options.service, resourceIndex))
      .sort((a, b) => a.startMs - b.startMs),
    resources: [...resources.keys()].map((key) => JSON.parse(key)),
  };
}

function reportTrace(
  spans: ReceivedSpan[],
  app: string,
  resourceIndex: (resource: Record<string, unknown>) => number,
): ReportTrace {
  const roots = traceTrees(spans);
  const startMs = Math.min(...spans.map((span) => span.startMs));
  const rows: ReportRow[] = [];
  const add = ({ span, children }: TraceNode, level: number, parent: number | undefined) => {
    const side = sideOf(span.service, app);
    const isJoin = parent !== undefined && rows[parent]?.side === 'app' && side !== 'app';
    const row: ReportRow = {
      id: span.spanId,
      name: shortName(span.name),
      side,
      failed: span.status.code === 'ERROR',
      startMs: micro(span.startMs - startMs),
      durationMs: micro(span.durationMs),
      level,
      parent,
      isJoin,
      kind: span.kind,
      service: span.service,
      scope: `${span.scope} ${span.scopeVersion}`.trim(),
      statusMessage: span.status.message,
      attributes: span.attributes,
      events: span.events,
      resource: resourceIndex(span.resource),
    };
    if (parent === undefined && span.parentSpanId !== undefined) row.missingParent = span.parentSpanId;
    const served = children.filter((child) => sideOf(child.span.service, app) !== 'app');
    if (side === 'app' && served.length > 0) Object.assign(row, gapOf(row, served, startMs));
    const index = rows.push(row) - 1;
    for (const child of children) add(child, level + 1, index);
  };
  for (const root of roots) add(root, 0, undefined);

  const { clientTraces, joined, unjoined } = countJoins(callsOf(spans), app);
  const measured = rows.filter(({ gapMs }) => gapMs !== undefined);
  const gapMs = measured.reduce((sum, row) => sum + (row.gapMs ?? 0), 0);
  const callsMs = measured.reduce((sum, row) => sum + row.durationMs, 0);
  const first = rows.find(({ missingParent }) => missingParent === undefined) ?? rows[0];
  const isServerOnly = rows.every(({ side }) => side !== 'app');
  return {
    id: spans[0]?.traceId ?? '',
    name: first?.name ?? '',
    side: first?.side ?? 'app',
    service: first?.service ?? '',
    startMs,
    durationMs: Math.max(...rows.map((row) => row.startMs + row.durationMs)),
    errorCount: rows.filter(({ failed }) => failed).length,
    join: isServerOnly
      ? 'server only'
      : clientTraces === 0
        ? 'no call'
        : joined === clientTraces
          ? 'joined'
          : 'not joined',
    unjoinedCount: unjoined.length,
    ...(measured.length > 0 && { serverMs: micro(callsMs - gapMs), gapMs: micro(gapMs) }),
    rows,
  };
}

/** segcore, the server's C++ part, is a separate service. */
function sideOf(service: string, app: string): Side {
  if (service === app) return 'app';
  return service === 'segcore' ? 'core' : 'server';
}

/** The time of an app's span outside of the server spans under it. */
function gapOf(
  { startMs, durationMs }: ReportRow,
  served: TraceNode[],
  traceStartMs: number,
): Pick<ReportRow, 'gapMs' | 'gaps' | 'serverCalls' | 'outsideMs'> {
  const endMs = startMs + durationMs;
  const parts = served
    .map(({ span }) => {
      const fromMs = span.startMs - traceStartMs;
      return { fromMs, toMs: fromMs + span.durationMs };
    })
    .sort((a, b) => a.fromMs - b.fromMs);

  let coveredMs = 0;
  let reachedMs = -Infinity;
  const gaps: [number, number][] = [];
  let insideMs = startMs;
  for (const { fromMs, toMs } of parts) {
    coveredMs += Math.max(0, toMs - Math.max(fromMs, reachedMs));
    reachedMs = Math.max(reachedMs, toMs);
    if (fromMs > insideMs) gaps.push([micro(insideMs), micro(Math.min(fromMs, endMs))]);
    insideMs = Math.min(endMs, Math.max(insideMs, toMs));
  }
  if (endMs > insideMs) gaps.push([micro(insideMs), micro(endMs)]);

  // Durations are right even if clocks differ; the place of the gap is not.
  const gapMs = micro(Math.max(0, durationMs - coveredMs));
  const outsideMs = Math.max(startMs - (parts[0]?.fromMs ?? startMs), reachedMs - endMs);
  const serverCalls = served.length;
  return outsideMs > clockToleranceMs
    ? { gapMs, gaps: [], serverCalls, outsideMs: micro(outsideMs) }
    : { gapMs, gaps, serverCalls };
}

/** Rounds to µs, the precision of JavaScript's and the server's spans. */
function micro(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
