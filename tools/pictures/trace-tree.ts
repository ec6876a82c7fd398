import { styleText } from 'node:util';
import type { ReceivedSpan } from '../servers/receiver.ts';

/** A span with the spans under it, earliest first. */
export type TraceNode = { span: ReceivedSpan; children: TraceNode[] };

export type TreeFormat = {
  colour: boolean;
  /** Levels shown, from the root; deeper spans are counted in a "… n more" line. Default: all. */
  depth?: number;
};

export type Joins = {
  /** Traces that hold a span of the client. */
  clientTraces: number;
  /** Traces in which every RPC of the client has a span of the server as a direct child. */
  joined: number;
  /** Client spans with no span of the server under them, as `name (trace id)`. */
  unjoined: string[];
};

/**
 * One tree per span whose parent is missing, earliest first. A span that arrived twice (a retried export)
 * counts once.
 */
export function traceTrees(spans: ReceivedSpan[]): TraceNode[] {
  // Span ids are unique only within a trace.
  const idOf = (span: ReceivedSpan, spanId: string) => `${span.traceId}/${spanId}`;
  const nodes = new Map<string, TraceNode>();
  for (const span of spans) nodes.set(idOf(span, span.spanId), { span, children: [] });

  const roots: TraceNode[] = [];
  for (const node of nodes.values()) {
    const { span } = node;
    const parent = span.parentSpanId === undefined ? undefined : nodes.get(idOf(span, span.parentSpanId));
    (parent?.children ?? roots).push(node);
  }
  // OpenTelemetry JS rounds starts to ms, but not durations: of two equal starts, the span that ended first
  // is the earlier.
  const earliestFirst = ({ span: a }: TraceNode, { span: b }: TraceNode) =>
    a.startMs - b.startMs || a.durationMs - b.durationMs;
  for (const { children } of nodes.values()) children.sort(earliestFirst);
  return roots.sort(earliestFirst);
}

/**
 * Counts the client's traces that the server has joined: a server span has the client's span as its parent,
 * not only the same trace. A client span with client spans below it (an operation with RPCs, the app's root)
 * is joined by theirs.
 */
export function countJoins(spans: ReceivedSpan[], client: string, server = 'standalone'): Joins {
  const joinedByTrace = new Map<string, boolean>();
  const unjoined: string[] = [];

  const visit = ({ span, children }: TraceNode) => {
    children.forEach(visit);
    if (span.service !== client) return;
    const answered = children.some((child) => child.span.service === server);
    const passedOn = children.some((child) => child.span.service === client);
    const isJoined = answered || passedOn;
    if (!isJoined) unjoined.push(`${span.name} (trace ${span.traceId})`);
    joinedByTrace.set(span.traceId, (joinedByTrace.get(span.traceId) ?? true) && isJoined);
  };
  traceTrees(spans).forEach(visit);

  const joined = [...joinedByTrace.values()].filter(Boolean).length;
  return { clientTraces: joinedByTrace.size, joined, unjoined };
}

/** Calls to a server, and the server's spans; no internal steps of an app. */
export function callsOf(spans: ReceivedSpan[]): ReceivedSpan[] {
  return spans.filter(({ kind, service }) => kind === 'CLIENT' || service === 'standalone');
}

/** The short name: a gRPC method without its protobuf package. */
export function shortName(name: string): string {
  return name.replace(/^(?:[a-z]\w*\.)+(?=[A-Z]\w*\/)/, '');
}

/** Number of spans below the node. */
export function countDescendants({ children }: TraceNode): number {
  return children.reduce((count, child) => count + 1 + countDescendants(child), 0);
}

/**
 * One line per span: its branch, the service if it differs from the parent's, name, duration in ms, and
 * error.
 */
export function formatTree(node: TraceNode, format: TreeFormat): string {
  return formatTrees([node], format);
}

/** The trees in sequence, their durations in one column. */
export function formatTrees(nodes: TraceNode[], { colour, depth = Infinity }: TreeFormat): string {
  // The caller knows where the text goes, so styleText must not check this process' stdout.
  const paint = (style: 'bold' | 'dim' | 'red' | 'green' | 'cyan', text: string) =>
    colour && text !== '' ? styleText(style, text, { validateStream: false }) : text;
  const rows: { plain: string; painted: string; durationMs?: number; failure: string }[] = [];

  const add = (
    node: TraceNode,
    level: number,
    parent: ReceivedSpan | undefined,
    lead: string,
    below: string,
  ) => {
    const { span } = node;
    const service = span.service === parent?.service ? '' : `${span.service}: `;
    const name = shortName(span.name);
    const style = span.kind === 'CLIENT' ? 'cyan' : 'green';
    rows.push({
      plain: `${lead}${service}${name}`,
      painted: `${paint('dim', lead)}${paint(style, service)}${service === '' ? name : paint('bold', name)}`,
      durationMs: span.durationMs,
      failure: span.status.code === 'ERROR' ? `  ERROR ${span.status.message}`.trimEnd() : '',
    });

    if (level >= depth) {
      const hidden = countDescendants(node);
      if (hidden > 0) {
        const more = `${below}└─ … ${hidden} more`;
        rows.push({ plain: more, painted: paint('dim', more), failure: '' });
      }
      return;
    }
    node.children.forEach((child, index) => {
      const isLast = index === node.children.length - 1;
      add(child, level + 1, span, `${below}${isLast ? '└─ ' : '├─ '}`, `${below}${isLast ? '   ' : '│  '}`);
    });
  };
  for (const node of nodes) add(node, 1, undefined, '', '');

  const durations = rows.map(({ durationMs }) =>
    durationMs === undefined ? '' : `${durationMs.toFixed(2)} ms`,
  );
  const nameWidth = Math.max(...rows.map(({ plain }) => plain.length));
  const durationWidth = Math.max(...durations.map((text) => text.length));
  return rows
    .map(({ plain, painted, failure }, index) => {
      const duration = durations[index] ?? '';
      if (duration === '') return painted;
      return `${painted}${' '.repeat(nameWidth - plain.length)}  ${duration.padStart(durationWidth)}${paint('red', failure)}`;
    })
    .join('\n');
}
