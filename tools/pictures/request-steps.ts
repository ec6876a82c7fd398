/** Splits the time of a request into steps, by its trace. Pure functions. */
import type { TraceNode } from './trace-tree.ts';

/** Durations in ms of one request to the RAG sample; those of the steps add up to `request`. */
export interface RequestSteps {
  request: number;
  embed: number;
  /** The Milvus operation as the client measures it: `server` plus `gap`. */
  milvus: number;
  /** The server's spans directly under the operation. */
  server: number;
  /** The rest of the operation: the network, and the client's gRPC and SDK. */
  gap: number;
  assemble: number;
  /** The rest of the request: Express, JSON, the event loop. */
  rest: number;
}

/**
 * `tree` has the request's server span as its root. Undefined when a step is missing: spans have not arrived,
 * or the request was refused.
 */
export function requestSteps(tree: TraceNode): RequestSteps | undefined {
  const nodes = flat(tree);
  const named = (name: string) => nodes.find(({ span }) => span.name === name);
  const operation = searchIn(tree);
  const embedded = named('embed question');
  const assembled = named('assemble answer');
  const served = operation?.children.filter(({ span }) => span.service !== tree.span.service) ?? [];
  if (!operation || !embedded || !assembled || served.length === 0) return undefined;

  const request = tree.span.durationMs;
  const embed = embedded.span.durationMs;
  const milvus = operation.span.durationMs;
  const assemble = assembled.span.durationMs;
  // One after the other: the SDK awaits each call before the next.
  const server = served.reduce((sum, { span }) => sum + span.durationMs, 0);
  return {
    request,
    embed,
    milvus,
    server,
    gap: milvus - server,
    assemble,
    rest: request - embed - milvus - assemble,
  };
}

/** The Milvus search in a request's tree, with the server spans under it. */
export function searchIn(tree: TraceNode): TraceNode | undefined {
  return flat(tree).find(({ span }) => span.attributes['db.operation.name'] === 'search');
}

function flat(node: TraceNode): TraceNode[] {
  return [node, ...node.children.flatMap(flat)];
}

/**
 * The median of each step separately; of an even number, the mean of the middle two. Fails without a request.
 */
export function medianSteps(requests: RequestSteps[]): RequestSteps {
  const median = (step: keyof RequestSteps) => {
    const sorted = requests.map((each) => each[step]).sort((a, b) => a - b);
    const upper = sorted[Math.floor(sorted.length / 2)];
    const lower = sorted[Math.ceil(sorted.length / 2) - 1];
    if (upper === undefined || lower === undefined) throw new Error('No request to take the median of');
    return (upper + lower) / 2;
  };
  return {
    request: median('request'),
    embed: median('embed'),
    milvus: median('milvus'),
    server: median('server'),
    gap: median('gap'),
    assemble: median('assemble'),
    rest: median('rest'),
  };
}

const rows: [step: keyof RequestSteps, branch: string, label: string][] = [
  ['request', '', 'HTTP request'],
  ['embed', '├─ ', 'embedding'],
  ['milvus', '├─ ', 'search, the client’s span'],
  ['server', '│  ├─ ', 'the Milvus server'],
  ['gap', '│  └─ ', 'network gap'],
  ['assemble', '├─ ', 'answer'],
  ['rest', '└─ ', 'the rest: Express, JSON'],
];

/** The same for the report: a line is a part of the nearest line above it with a lower level. */
export interface StepsTable {
  title: string;
  columns: string[];
  rows: { label: string; level: number; cells: { ms: number; share: number }[] }[];
}

export function reportedSteps(title: string, columns: { title: string; steps: RequestSteps }[]): StepsTable {
  return {
    title,
    columns: columns.map((column) => column.title),
    rows: rows.map(([step, branch, label]) => ({
      label,
      level: branch.length / 3,
      cells: columns.map(({ steps }) => ({ ms: steps[step], share: steps[step] / steps.request })),
    })),
  };
}

/** Ten characters for `12.34 ms`, plus a share of up to 100 %. */
const columnWidth = 18;

/** A line for each step, a column for each set of requests, with the share of that column's request. */
export function stepsTable(columns: { title: string; steps: RequestSteps }[]): string {
  const labelWidth = Math.max(...rows.map(([, branch, label]) => branch.length + label.length));
  const width = Math.max(columnWidth, ...columns.map(({ title }) => title.length));
  const head = `${' '.repeat(labelWidth)}${columns.map(({ title }) => `  ${title.padStart(width)}`).join('')}`;
  const lines = rows.map(([step, branch, label]) => {
    const cells = columns.map(({ steps }) => {
      const share = `${Math.round((100 * steps[step]) / steps.request)} %`;
      return `  ${`${steps[step].toFixed(2)} ms ${share.padStart(6)}`.padStart(width)}`;
    });
    return `${(branch + label).padEnd(labelWidth)}${cells.join('')}`;
  });
  return [head, ...lines].join('\n');
}
