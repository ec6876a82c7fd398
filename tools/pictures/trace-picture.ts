/**
 * Draws docs/trace.svg, one search from the app into the server, from the spans of a run made for it:
 * `node_modules/node/bin/node tools/pictures/trace-picture.ts [file.svg]`. Every figure in the picture is a span's.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureBuilt } from '../build/build-package.ts';
import { clientService, joinedSpans, runTraced, type Say, startStack } from '../demo/demo-stack.ts';
import { endOnSignals, Teardown } from '../processes/teardown.ts';
import { escaped, px } from './svg.ts';
import { shortName, type TraceNode, traceTrees } from './trace-tree.ts';

const sample = 'samples/quickstart/quickstart.mjs';
const operation = 'search';
const spansDeadlineMs = 20_000;
/** The server's C++ part sends its spans every 5 s, whatever the rest does. */
const coreSpansMs = 6_000;
const pictureFile = path.join(import.meta.dirname, '..', '..', 'docs', 'trace.svg');

/** Pixels; a monospace character is 0.6 of its size wide in all usual fonts. */
const width = 960;
const margin = 28;
const rowHeight = 27;
const barHeight = 15;
const headHeight = 112;
const footHeight = 46;
const nameSize = 12.5;
const nameWidth = 350;
const indentWidth = 16;
const durationWidth = 92;
const chartLeft = margin + nameWidth;
const chartWidth = width - 2 * margin - nameWidth - durationWidth;

/** Light and dark by the reader's setting; on a page of the other kind the card's own background keeps it legible. */
const style = `
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1f2430; }
  .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: ${nameSize}px; }
  .title { font-size: 18px; font-weight: 600; }
  .quiet { fill: #667085; font-size: 12px; }
  .strong { font-weight: 700; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .card { fill: #ffffff; stroke: #d5d9e2; }
  .stripe { fill: #f5f7fa; }
  .grid { stroke: #e3e7ee; }
  .branch { stroke: #b4bccb; fill: none; }
  .client { fill: #3b5bdb; }
  .server { fill: #0c9d82; }
  .core { fill: #8a4fd0; }
  .failed { fill: #d6336c; }
  .join { stroke: #e8790c; stroke-width: 2; fill: none; }
  .arrow { fill: #e8790c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; }
    .quiet { fill: #98a2b3; }
    .card { fill: #151a23; stroke: #323a48; }
    .stripe { fill: #1b212c; }
    .grid { stroke: #2b3342; }
    .branch { stroke: #4d586b; }
    .client { fill: #7c9bff; }
    .server { fill: #2fc5a8; }
    .core { fill: #b68cf0; }
    .failed { fill: #ff6b9d; }
    .join { stroke: #ffa94d; }
    .arrow { fill: #ffa94d; }
  }`;

interface Row {
  node: TraceNode;
  level: number;
  /** Index of the parent's row; undefined for the root. */
  parent: number | undefined;
  /** The span of the server that hangs directly under one of the client: where the two sides meet. */
  isJoin: boolean;
}

function rowsOf(root: TraceNode): Row[] {
  const rows: Row[] = [];
  const add = (node: TraceNode, level: number, parent: number | undefined) => {
    const parentService = parent === undefined ? undefined : rows[parent]?.node.span.service;
    const isJoin = parentService === clientService && node.span.service !== clientService;
    const index = rows.push({ node, level, parent, isJoin }) - 1;
    for (const child of node.children) add(child, level + 1, index);
  };
  add(root, 0, undefined);
  return rows;
}

/** A waterfall of the trace as an SVG document: names on the left, bars on a common time axis, durations on the right. */
export function drawTrace(root: TraceNode): string {
  const rows = rowsOf(root);
  const startMs = Math.min(...rows.map(({ node }) => node.span.startMs));
  const endMs = Math.max(...rows.map(({ node }) => node.span.startMs + node.span.durationMs));
  const pixelsPerMs = chartWidth / Math.max(endMs - startMs, 0.001);
  const x = (ms: number) => chartLeft + (ms - startMs) * pixelsPerMs;
  const top = (row: number) => headHeight + row * rowHeight;
  const bottom = top(rows.length);
  const height = bottom + footHeight;

  const services = [...new Set(rows.map(({ node }) => node.span.service))];
  const title = `${shortName(root.span.name)}: one trace from the app into the Milvus server`;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${style}\n</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="12"/>`,
    `<text class="title" x="${margin}" y="38">${escaped(title)}</text>`,
    ...legend(services),
    ...axis(endMs - startMs, pixelsPerMs, bottom),
    ...rows.flatMap((row, index) => drawRow(row, index, { x, top })),
    // After the bars, to lie on them.
    ...rows.flatMap((row, index) => (row.isJoin ? drawJoin(row, index, { x, top }) : [])),
    `<text class="quiet" x="${margin}" y="${bottom + 28}">trace ${root.span.traceId}</text>`,
    `<text class="quiet end" x="${width - margin}" y="${bottom + 28}">${rows.length} spans of a real run</text>`,
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

interface Scale {
  /** Left edge of a time, ms since the epoch. */
  x(ms: number): number;
  /** Upper edge of a row. */
  top(row: number): number;
}

function legend(services: string[]): string[] {
  const y = 66;
  const characterWidth = 0.6 * nameSize;
  const parts: string[] = [];
  let left = margin;
  for (const service of services) {
    parts.push(
      `<rect class="${colourOf(service)}" x="${left}" y="${y - 10}" width="12" height="12" rx="3"/>`,
      `<text class="mono" x="${left + 18}" y="${y}">${escaped(service)}</text>`,
    );
    left += 18 + service.length * characterWidth + 26;
  }
  parts.push(
    `<path class="join" d="M${px(left)} ${y - 4}h14"/>`,
    `<path class="arrow" d="M${px(left + 20)} ${y - 4}l-8 -4v8z"/>`,
    `<text class="quiet" x="${px(left + 28)}" y="${y}">traceparent: the server's span has the client's as its parent</text>`,
  );
  return parts;
}

/** Four to ten lines, a round number of ms apart. */
function axis(totalMs: number, pixelsPerMs: number, bottom: number): string[] {
  const roughMs = totalMs / 5;
  const magnitude = 10 ** Math.floor(Math.log10(roughMs));
  const stepMs = magnitude * ([1, 2, 5].find((factor) => factor * magnitude >= roughMs) ?? 10);
  const parts: string[] = [];
  for (let tick = 0; tick * stepMs <= totalMs; tick++) {
    const ms = Number((tick * stepMs).toPrecision(12));
    const left = px(chartLeft + ms * pixelsPerMs);
    parts.push(
      `<path class="grid" d="M${left} ${headHeight - 4}V${bottom}"/>`,
      `<text class="quiet middle" x="${left}" y="${headHeight - 11}">${ms}${tick === 0 ? ' ms' : ''}</text>`,
    );
  }
  return parts;
}

function drawRow({ node: { span }, level, parent, isJoin }: Row, index: number, { x, top }: Scale): string[] {
  const y = top(index);
  const baseline = px(y + rowHeight / 2 + nameSize * 0.35);
  const left = margin + level * indentWidth;
  const longest = Math.floor((nameWidth - level * indentWidth - 12) / (0.6 * nameSize));
  const name = shortName(span.name);
  const shown = name.length > longest ? `${name.slice(0, longest - 1)}…` : name;
  const emphasis = parent === undefined || isJoin ? ' strong' : '';
  // Two pixels at least: a span of some µs is there too.
  const barWidth = Math.max(x(span.startMs + span.durationMs) - x(span.startMs), 2);
  const colour = span.status.code === 'ERROR' ? 'failed' : colourOf(span.service);

  const parts: string[] = [];
  if (index % 2 === 0) {
    parts.push(
      `<rect class="stripe" x="${margin - 8}" y="${y}" width="${width - 2 * margin + 16}" height="${rowHeight}" rx="5" fill-opacity="0.7"/>`,
    );
  }
  if (parent !== undefined) {
    const branchX = px(left - indentWidth + 5);
    parts.push(
      `<path class="branch" d="M${branchX} ${px(top(parent) + rowHeight / 2 + 9)}V${px(y + rowHeight / 2)}h8"/>`,
    );
  }
  parts.push(
    `<text class="mono${emphasis}" x="${left}" y="${baseline}">${escaped(shown)}</text>`,
    `<rect class="${colour}" x="${px(x(span.startMs))}" y="${px(y + (rowHeight - barHeight) / 2)}" width="${px(barWidth)}" height="${barHeight}" rx="${Math.min(3, barWidth / 2)}"/>`,
    `<text class="mono end" x="${width - margin}" y="${baseline}">${span.durationMs.toFixed(2)} ms</text>`,
  );
  return parts;
}

/** An arrow from the client's bar to the server's, where the server's begins. */
function drawJoin({ node: { span }, parent = 0 }: Row, index: number, { x, top }: Scale): string[] {
  const left = x(span.startMs) + 5;
  const from = px(top(parent) + rowHeight / 2);
  const to = px(top(index) + (rowHeight - barHeight) / 2 + 3);
  return [
    `<circle class="arrow" cx="${px(left)}" cy="${from}" r="3.5"/>`,
    `<path class="join" d="M${px(left)} ${from}V${to - 5}"/>`,
    `<path class="arrow" d="M${px(left)} ${to}l-5 -8h10z"/>`,
  ];
}

/** segcore, the server's C++ part, is a service of its own. */
function colourOf(service: string): 'client' | 'server' | 'core' {
  if (service === clientService) return 'client';
  return service === 'segcore' ? 'core' : 'server';
}

async function makePicture(file: string, teardown: Teardown): Promise<void> {
  const say: Say = (who, line) => console.log(`${who.padEnd(7)} ${line}`);
  await ensureBuilt();
  const stack = await startStack({ say, teardown, viewer: false });
  const code = await runTraced(stack, sample, say, teardown);
  if (code !== 0) throw new Error(`${sample} ended with code ${code}`);
  await joinedSpans(stack, spansDeadlineMs);
  say('traces', `waiting ${coreSpansMs / 1000} s for the last of the server's spans`);
  await sleep(coreSpansMs);
  const roots = traceTrees(await stack.spans());
  const root = roots.find(
    ({ span }) => span.service === clientService && span.name.startsWith(`${operation} `),
  );
  if (root === undefined) throw new Error(`no span of ${clientService} is a ${operation}`);
  if (!rowsOf(root).some(({ isJoin }) => isJoin))
    throw new Error(`the server has not joined "${root.span.name}"`);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, drawTrace(root));
  console.log(
    `Drew "${root.span.name}" (trace ${root.span.traceId}) into ${path.relative(process.cwd(), file)}`,
  );
}

if (import.meta.main) {
  const teardown = new Teardown();
  endOnSignals(teardown);
  try {
    await makePicture(path.resolve(process.argv[2] ?? pictureFile), teardown);
  } catch (error) {
    console.error(`trace-picture: ${(error as Error).message}`);
    process.exitCode = 1;
  }
  await teardown.run();
  process.exit();
}
