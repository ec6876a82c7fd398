/**
 * Draws docs/startup.svg and docs/cost-per-call.svg from the results of `npm run bench -- --write`:
 * `node_modules/node/bin/node tools/pictures/bench-plot.ts [results.json [folder]]`.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Growth } from '../../bench/growth.ts';
import type { Row } from '../../bench/measures.ts';
import type { Results } from '../../bench/results.ts';
import type { Spread } from '../../bench/statistics.ts';
import { escaped, px } from './svg.ts';

const root = path.join(import.meta.dirname, '..', '..');

/** Pixels. */
const width = 960;
const margin = 28;
const labelWidth = 300;
const valueWidth = 110;
const barLeft = margin + labelWidth;
const barWidth = width - barLeft - margin - valueWidth;
const rowHeight = 30;
const barHeight = 15;
const groupHeadHeight = 44;
const groupGap = 14;
const headHeight = 62;
const footHeight = 44;
const chartHeight = 150;
const chartGap = 36;

/** Follows the reader's light or dark setting; the card's background keeps it legible on any page. */
const style = `
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1f2430; font-size: 13px; }
  .title { font-size: 18px; font-weight: 600; }
  .group { font-weight: 600; }
  .quiet { fill: #667085; font-size: 12px; }
  .strong { font-weight: 700; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .card { fill: #ffffff; stroke: #d5d9e2; }
  .grid { stroke: #e3e7ee; }
  .range { stroke: #1f2430; stroke-opacity: 0.55; }
  .ours { fill: #3b5bdb; }
  .stock { fill: #98a2b3; }
  .floor { fill: #d5d9e2; }
  .line { fill: none; stroke-width: 2.5; }
  .line.ours { fill: none; stroke: #3b5bdb; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; }
    .quiet { fill: #98a2b3; }
    .card { fill: #151a23; stroke: #323a48; }
    .grid { stroke: #2b3342; }
    .range { stroke: #e6e9ef; }
    .ours { fill: #7c9bff; }
    .stock { fill: #667085; }
    .floor { fill: #3d4757; }
    .line.ours { stroke: #7c9bff; }
  }`;

type Kind = 'ours' | 'stock' | 'floor';

interface Bar {
  label: string;
  kind: Kind;
  value: Spread;
}

interface Group {
  title: string;
  unit: 'ms' | 'µs';
  bars: Bar[];
}

/** Start-up time that a preload adds; undefined without results. */
export function drawStartUp(results: Results): string | undefined {
  const groups: Group[] = [
    {
      title: 'An app that imports the Milvus SDK and ends',
      unit: 'ms',
      bars: [...floorBars(results, 'start-up, wall'), ...preloadBars(results, 'start-up added, wall')],
    },
    {
      title: 'A web app: Express, pg and the Milvus SDK',
      unit: 'ms',
      bars: preloadBars(results, 'start-up added to Express, pg and Milvus, wall'),
    },
  ];
  return drawGroups('What a preload adds to the start of an app', groups, results, []);
}

/** CPU time added per search; undefined without results. */
export function drawCostPerCall(results: Results): string | undefined {
  const groups: Group[] = [
    {
      title: 'One search, eight at a time',
      unit: 'µs',
      bars: preloadBars(results, 'CPU added per search'),
    },
  ];
  return drawGroups('CPU time that a preload adds to a call', groups, results, results.growth);
}

function preloadBars({ rows }: Results, what: string): Bar[] {
  const row = rows.find((one: Row) => one.what === what);
  return row
    ? [
        { label: 'milvus-otel', kind: 'ours', value: row.ours },
        { label: 'stock auto-instrumentations-node', kind: 'stock', value: row.stock },
      ]
    : [];
}

/** The floors without milvus-otel, which has a separate bar. */
function floorBars({ floors }: Results, to: string): Bar[] {
  return floors
    .filter((floor) => floor.to === to && floor.what !== 'ours')
    .map(({ what, added }) => ({ label: what, kind: 'floor', value: added }));
}

function drawGroups(
  title: string,
  all: Group[],
  { conditions }: Results,
  growth: Growth[],
): string | undefined {
  const groups = all.filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return undefined;
  const parts: string[] = [];
  let y = headHeight;
  for (const group of groups) {
    parts.push(...drawGroup(group, y));
    y += groupHeadHeight + group.bars.length * rowHeight + groupGap;
  }
  if (growth.length > 0) {
    parts.push(...drawGrowth(growth, y));
    y += groupHeadHeight + chartHeight + 54;
  }
  const height = y + footHeight;
  const description = groups
    .map(
      (group) =>
        `${group.title}: ${group.bars.map(({ label, value }) => `${label} ${amount(value.median)} ${group.unit}`).join(', ')}.`,
    )
    .join(' ');
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description)}</desc>`,
    `<style>${style}\n</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="12"/>`,
    `<text class="title" x="${margin}" y="38">${escaped(title)}</text>`,
    ...parts,
    `<text class="quiet" x="${margin}" y="${height - 18}">${escaped(conditions[0] ?? '')}</text>`,
    `<text class="quiet end" x="${width - margin}" y="${height - 18}">bar: median, line: smallest to largest</text>`,
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

function drawGroup({ title, unit, bars }: Group, top: number): string[] {
  // One outlier round must not make all bars short.
  const largest = Math.max(...bars.map(({ value }) => Math.max(value.median, 0) * 1.25), 1e-9);
  const x = (value: number) => px(barLeft + (Math.min(Math.max(value, 0), largest) / largest) * barWidth);
  const first = top + groupHeadHeight;
  const bottom = first + bars.length * rowHeight;
  return [
    `<text class="group" x="${margin}" y="${top + 20}">${escaped(title)}</text>`,
    ...ticks(largest).flatMap((tick) => [
      `<path class="grid" d="M${x(tick)} ${first - 6}V${bottom}"/>`,
      `<text class="quiet middle" x="${x(tick)}" y="${first - 11}">${tick}${tick === 0 ? ` ${unit}` : ''}</text>`,
    ]),
    ...bars.flatMap(({ label, kind, value }, index) => {
      const middle = px(first + (index + 0.5) * rowHeight);
      const baseline = px(middle + 4.5);
      const strong = kind === 'ours' ? ' class="strong"' : '';
      return [
        `<text${strong} x="${margin}" y="${baseline}">${escaped(label)}</text>`,
        `<rect class="${kind}" x="${barLeft}" y="${px(middle - barHeight / 2)}" width="${px(Math.max(x(value.median) - barLeft, 1))}" height="${barHeight}" rx="2"/>`,
        `<path class="range" d="M${x(value.min)} ${middle}H${x(value.max)}"/>`,
        `<text x="${width - margin}" y="${baseline}" class="end${kind === 'ours' ? ' strong' : ''}">${amount(value.median)} ${unit}</text>`,
      ];
    }),
  ];
}

/** One small chart per growing quantity, all on one scale: a flat line is a cost that does not grow. */
function drawGrowth(growth: Growth[], top: number): string[] {
  const series = [...new Set(growth.map(({ by }) => by))];
  const chartWidth = (width - 2 * margin - (series.length - 1) * chartGap) / series.length;
  const largest = Math.max(...growth.map(({ ours }) => ours.median), 1e-9) * 1.1;
  const chartTop = top + groupHeadHeight;
  const bottom = chartTop + chartHeight;
  const y = (value: number) => px(bottom - (Math.max(value, 0) / largest) * chartHeight);
  const parts = [
    `<text class="group" x="${margin}" y="${top + 20}">A span of milvus-otel as the work grows, in µs</text>`,
  ];
  for (const [at, by] of series.entries()) {
    const rows = growth.filter((row) => row.by === by);
    const left = margin + at * (chartWidth + chartGap);
    const x = (index: number) => px(left + 34 + (index / Math.max(rows.length - 1, 1)) * (chartWidth - 60));
    for (const tick of ticks(largest))
      parts.push(
        `<path class="grid" d="M${px(left + 26)} ${y(tick)}H${px(left + chartWidth)}"/>`,
        `<text class="quiet end" x="${px(left + 20)}" y="${px(y(tick) + 4)}">${tick}</text>`,
      );
    const points = rows.map(({ ours }, index) => ({ cx: x(index), cy: y(ours.median) }));
    parts.push(
      `<path class="line ours" d="M${points.map(({ cx, cy }) => `${cx} ${cy}`).join('L')}"/>`,
      ...points.map(({ cx, cy }) => `<circle class="ours" cx="${cx}" cy="${cy}" r="3.5"/>`),
    );
    for (const [index, { size }] of rows.entries())
      parts.push(
        `<text class="quiet middle" x="${x(index)}" y="${bottom + 18}">${size.toLocaleString('en')}</text>`,
      );
    parts.push(
      `<text class="middle" x="${px(left + chartWidth / 2)}" y="${bottom + 38}">${escaped(by)}</text>`,
    );
  }
  return parts;
}

/** Three to six round numbers from 0 up. */
function ticks(largest: number): number[] {
  const rough = largest / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = magnitude * ([1, 2, 5].find((factor) => factor * magnitude >= rough) ?? 10);
  return Array.from({ length: Math.floor(largest / step) + 1 }, (_, tick) =>
    Number((tick * step).toPrecision(12)),
  );
}

function amount(value: number): string {
  return Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(1);
}

/** Writes both pictures into `folder`, docs/ by default. Rejects results of a partial run. */
export async function writePlots(results: Results, folder = path.join(root, 'docs')): Promise<void> {
  const drawn = { 'startup.svg': drawStartUp(results), 'cost-per-call.svg': drawCostPerCall(results) };
  for (const [file, picture] of Object.entries(drawn)) {
    if (picture === undefined) throw new Error(`the results have no data for ${file}`);
    await writeFile(path.join(folder, file), picture);
  }
}

if (import.meta.main) {
  const [file = path.join(root, 'bench', 'results.json'), folder] = process.argv.slice(2);
  try {
    await writePlots(JSON.parse(await readFile(file, 'utf8')), folder);
  } catch (error) {
    console.error(`bench-plot: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
