/**
 * Draws docs/dashboard.svg: the dashboard of compose/production with the answers of a real Prometheus to its
 * queries, in Grafana's layout. Run without arguments, it starts the production set's programs and a load of
 * two minutes: `node_modules/node/bin/node tools/pictures/dashboard-picture.ts [file]`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Panel, RowPanel } from '@grafana/schema';
import { runMeasuredLoad } from '../dashboard/measured-load.ts';
import { productionFolder } from '../servers/production-set.ts';
import type { Exemplar, Prometheus, RangeSeries, Series } from '../servers/prometheus.ts';
import { type Element, element, markup, px } from './svg.ts';

/** Result of a query: series over time in charts, else one value each. */
export interface Answer {
  legend: string;
  ranges: RangeSeries[];
  values: Series[];
  exemplars: Exemplar[];
}

export interface DrawnPanel {
  panel: Panel | RowPanel;
  answers: Answer[];
}

/** Pixels. */
const width = 1200;
const columnWidth = width / 24;
const unitHeight = 25;
const gap = 4;
const titleHeight = 24;
const axisWidth = 58;
const legendHeight = 34;
const colours = ['#3b5bdb', '#e8590c', '#2f9e44', '#c2255c', '#0c8599', '#9c36b5', '#e67700', '#5c7cfa'];

const style = `
  text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1f2430; font-size: 12px; }
  .back { fill: #f2f4f8; } .card { fill: #ffffff; stroke: #d5d9e2; } .grid { stroke: #e3e7ee; }
  .row { font-size: 14px; font-weight: 600; } .title { font-weight: 600; } .quiet { fill: #667085; font-size: 11px; }
  .figure { font-size: 30px; font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
  .line { fill: none; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e9ef; } .back { fill: #0d1117; } .card { fill: #151a23; stroke: #323a48; } .grid { stroke: #2b3342; }
    .quiet { fill: #98a2b3; }
  }`;

export function drawDashboard(panels: DrawnPanel[], fromSeconds: number, toSeconds: number): string {
  const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => (gridPos ? gridPos.y + gridPos.h : 0)));
  const height = bottom * unitHeight + gap;
  return `${markup(
    element(
      'svg',
      {
        xmlns: 'http://www.w3.org/2000/svg',
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: 'img',
        'aria-label':
          'The dashboard: calls, errors and durations of Milvus operations, client, server and network',
      },
      element('style', {}, style),
      element('rect', { class: 'back', width, height }),
      ...panels.map((one) => drawPanel(one, fromSeconds, toSeconds)),
    ),
  )}\n`;
}

function drawPanel({ panel, answers }: DrawnPanel, fromSeconds: number, toSeconds: number): Element {
  const { x = 0, y = 0, w = 0, h = 0 } = panel.gridPos ?? {};
  const place = { transform: `translate(${px(x * columnWidth + gap)} ${px(y * unitHeight + gap)})` };
  const box = { width: w * columnWidth - gap, height: h * unitHeight - gap };
  const title = panel.title ?? '';
  if (panel.type === 'row') return element('g', place, text(title, 6, 16, 'row'));
  const isEmpty = answers.every(({ ranges, values }) => ranges.length === 0 && values.length === 0);
  const content = isEmpty
    ? [
        text(
          (panel as Panel).fieldConfig?.defaults.noValue ?? 'No data',
          box.width / 2,
          box.height / 2,
          'quiet middle',
        ),
      ]
    : drawers[panel.type as keyof typeof drawers](panel as Panel, answers, box, fromSeconds, toSeconds);
  return element(
    'g',
    place,
    element('rect', { class: 'card', ...box, rx: 3 }),
    text(title, 8, 17, 'title'),
    ...content,
  );
}

type Box = { width: number; height: number };

const drawers = { stat: drawStat, table: drawTable, timeseries: drawChart };

function drawStat(panel: Panel, answers: Answer[], box: Box): Element[] {
  const value = answers[0]?.values[0]?.value ?? Number.NaN;
  const { unit, mappings, thresholds } = panel.fieldConfig?.defaults ?? {};
  const [mapping] = (mappings ?? []) as { options: Record<string, { text?: string; color?: string }> }[];
  const mapped = mapping?.options[String(value)];
  const step = thresholds?.steps.findLast((one) => one.value === null || value >= one.value);
  const fill = { green: '#2f9e44', red: '#e03131' }[mapped?.color ?? step?.color ?? 'green'] ?? '#2f9e44';
  const label = text(
    mapped?.text ?? formatted(value, unit),
    box.width / 2,
    box.height / 2 + 22,
    'figure middle',
  );
  return [{ ...label, attributes: { ...label.attributes, style: `fill: ${fill}` } }];
}

/** A line for each combination of labels, a column for each query, most calls first. */
function drawTable(panel: Panel, answers: Answer[], box: Box): Element[] {
  const rows = new Map<string, (number | undefined)[]>();
  for (const [index, { values }] of answers.entries())
    for (const { metric, value } of values) {
      const key = ['db_operation_name', 'db_collection_name', 'rpc']
        .map((name) => metric[name] ?? '')
        .join(' ');
      const row = rows.get(key) ?? [];
      row[index] = value;
      rows.set(key, row);
    }
  const columnAt = (index: number) => box.width * 0.4 + ((index + 1) * (box.width * 0.58)) / answers.length;
  const units = panel.fieldConfig?.overrides.map(({ properties }) =>
    properties.find(({ id }) => id === 'unit'),
  );
  return [
    ...answers.map(({ legend }, index) => text(legend, columnAt(index), titleHeight + 18, 'quiet end')),
    ...[...rows]
      .sort(([, a], [, b]) => (b[0] ?? 0) - (a[0] ?? 0))
      .slice(0, Math.floor((box.height - titleHeight - 24) / 20))
      .flatMap(([key, cells], line) => [
        text(key.trim(), 8, titleHeight + 40 + line * 20),
        ...answers.map((_, index) => {
          const shown = formatted(cells[index], units?.[index]?.value as string);
          return text(shown, columnAt(index), titleHeight + 40 + line * 20, 'end');
        }),
      ]),
  ];
}

function drawChart(
  panel: Panel,
  answers: Answer[],
  box: Box,
  fromSeconds: number,
  toSeconds: number,
): Element[] {
  const { unit } = panel.fieldConfig?.defaults ?? {};
  // Highest values first: the legend has no room for all.
  const series = answers
    .flatMap(({ legend, ranges, exemplars }) =>
      ranges.map(({ metric, points: all }) => {
        const points = all.filter(([, value]) => Number.isFinite(value));
        const name = legend.replace(/{{(\w+)}}/g, (_, label) => metric[label] ?? '').trim();
        return { name, points, top: Math.max(...points.map(([, value]) => value), 0), exemplars };
      }),
    )
    .sort((a, b) => b.top - a.top);
  const top = series[0]?.top ?? 0;
  const scale = top === 0 ? 1 : top * 1.05;
  const plot = { left: axisWidth, top: titleHeight + 8, bottom: box.height - legendHeight };
  const xOf = (seconds: number) =>
    tenth(plot.left + ((seconds - fromSeconds) / (toSeconds - fromSeconds)) * (box.width - plot.left - 10));
  const yOf = (value: number) =>
    tenth(plot.bottom - (Math.min(value, scale) / scale) * (plot.bottom - plot.top));
  const marks = series.map(({ exemplars }, index) => {
    // One per position: most are within a pixel of another.
    const places = new Set(
      exemplars.map(({ value, atSeconds }) => `M${Math.round(xOf(atSeconds))} ${Math.round(yOf(value)) - 3}`),
    );
    const d = [...places].map((place) => `${place}l3 3l-3 3l-3-3z`).join('');
    return element('path', { d, fill: colours[index % colours.length] as string });
  });
  const legendColumns = box.width > 500 ? 3 : 2;
  const shown = series.slice(0, 2 * legendColumns);
  return [
    ...[0, 0.5, 1].flatMap((share) => [
      element('line', {
        class: 'grid',
        x1: plot.left,
        x2: box.width - 10,
        y1: yOf(share * scale),
        y2: yOf(share * scale),
      }),
      text(formatted(share * scale, unit), plot.left - 5, yOf(share * scale) + 4, 'quiet end'),
    ]),
    ...series.map(({ points }, index) =>
      element('polyline', {
        class: 'line',
        stroke: colours[index % colours.length] as string,
        points: withoutRepeats(points)
          .map(([seconds, value]) => `${xOf(seconds)},${yOf(value)}`)
          .join(' '),
      }),
    ),
    ...marks.filter(({ attributes: { d } }) => d !== ''),
    ...shown.flatMap(({ name }, index) => {
      const [x, y] = [
        8 + (index % legendColumns) * (box.width / legendColumns),
        plot.bottom + 15 + Math.floor(index / legendColumns) * 14,
      ];
      return [
        element('rect', {
          x,
          y: y - 7,
          width: 8,
          height: 3,
          fill: colours[index % colours.length] as string,
        }),
        text(name, x + 12, y - 2, 'quiet'),
      ];
    }),
  ];
}

/** Without the inner points of a horizontal line. */
const withoutRepeats = (points: RangeSeries['points']) =>
  points.filter(([, value], index) => value !== points[index - 1]?.[1] || value !== points[index + 1]?.[1]);

const tenth = (value: number) => Math.round(value * 10) / 10;

const text = (content: string, x: number, y: number, names?: string) =>
  element('text', { x: px(x), y: px(y), ...(names === undefined ? {} : { class: names }) }, content);

/** With Grafana's units. */
function formatted(value: number | undefined, unit = 'short'): string {
  if (value === undefined || Number.isNaN(value)) return '';
  const digits = (figure: number) => String(Number(figure.toPrecision(3)));
  if (unit === 'percentunit') return `${digits(value * 100)} %`;
  if (unit === 's') return value < 1 ? `${digits(value * 1_000)} ms` : `${digits(value)} s`;
  return unit === 'reqps' ? `${digits(value)}/s` : digits(value);
}

/** Results of each panel's queries, with all services and collections selected in Grafana. */
async function answersOf(
  panels: (Panel | RowPanel)[],
  prometheus: Prometheus,
  fromMs: number,
  toMs: number,
): Promise<DrawnPanel[]> {
  const stepSeconds = Math.max(1, Math.round((toMs - fromMs) / 1_000 / 60));
  const range = `${Math.ceil((toMs - fromMs) / 1_000)}s`;
  const drawn: DrawnPanel[] = [];
  for (const panel of panels) {
    const answers: Answer[] = [];
    for (const target of panel.type === 'row' ? [] : ((panel as Panel).targets ?? [])) {
      const expr = String(target.expr)
        .replaceAll('$__rate_interval', panel.type === 'stat' ? range : '15s')
        .replaceAll('$__range', range)
        .replaceAll(/\$(service|collection)/g, '.*');
      const isChart = panel.type === 'timeseries';
      answers.push({
        legend: String(target.legendFormat),
        ranges: isChart ? await prometheus.queryRange(expr, fromMs, toMs, stepSeconds) : [],
        values: isChart ? [] : await prometheus.query(expr, toMs),
        exemplars: target.exemplar === true ? await prometheus.exemplars(expr, fromMs, toMs) : [],
      });
    }
    drawn.push({ panel, answers });
  }
  return drawn;
}

if (import.meta.main) {
  const root = path.join(import.meta.dirname, '..', '..');
  const [file = path.join(root, 'docs', 'dashboard.svg')] = process.argv.slice(2);
  const loadSeconds = 120;
  const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-dashboard-'));
  const load = await runMeasuredLoad(scratch, loadSeconds, (line) => console.error(line));
  try {
    const { panels } = JSON.parse(
      readFileSync(path.join(productionFolder, 'grafana', 'dashboards', 'milvus.json'), 'utf8'),
    );
    // Skips the start of the apps, whose first calls take seconds.
    const [fromMs, toMs] = [load.fromMs + 20_000, load.fromMs + loadSeconds * 1_000];
    const drawn = await answersOf(panels, load.prometheus, fromMs, toMs);
    writeFileSync(file, drawDashboard(drawn, fromMs / 1_000, toMs / 1_000));
    console.log(`Wrote ${path.relative(process.cwd(), file)}`);
  } finally {
    await load.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}
