/**
 * The waterfall of a trace: names, bars on a common time axis, durations. The report draws it in the browser
 * for the width of the window, and docs/trace.svg is written with it. Pure functions; styles are in
 * waterfall.css.
 */
import { duration, type Element, element, px } from './svg.ts';

export type Side = 'app' | 'server' | 'core';

/** One span, in tree order: a parent precedes its children. */
export interface WaterfallRow {
  name: string;
  side: Side;
  failed: boolean;
  /** Since the start of the trace, in ms. */
  startMs: number;
  durationMs: number;
  /** 0 for a root. */
  level: number;
  /** Index of the parent's row; undefined for a root. */
  parent: number | undefined;
  /** A span of the server directly under one of the app. */
  isJoin: boolean;
  /** For an app's span above server spans: the time outside of these, in ms. */
  gapMs?: number;
  /** The intervals of that time, in ms since the start of the trace. */
  gaps?: [fromMs: number, toMs: number][];
  /** Number of these server spans. */
  serverCalls?: number;
}

export interface WaterfallOptions {
  /** Pixels. */
  width: number;
  /** More attributes of a row's group, for pages that select rows. */
  rowAttributes?(row: WaterfallRow, index: number): Record<string, string | number>;
}

/** Name of each side in the legend, followed by the service name. */
export const sideNames: Record<Side, string> = {
  app: 'your app',
  server: 'Milvus server',
  core: 'Milvus C++ core',
};

/** Then the time outside of the server is not only the network: the SDK waits between calls. */
export const hasSeveralCalls = ({ serverCalls = 0 }: WaterfallRow) => serverCalls > 1;

/** Below this width, a row has two lines: name and duration, and the bar below them. */
const stackedBelow = 620;
const nameSize = 12.5;
/** Width of a monospace character: 0.6 of the size in usual fonts. */
const characterWidth = 0.6 * nameSize;
const quietCharacterWidth = 6.4;
const legendLine = 24;
const axisHeight = 26;
const glyphWidth = 17;

interface Layout {
  width: number;
  isStacked: boolean;
  rowHeight: number;
  /** Height of a bar of the app and the server; the core's are lower. */
  barHeight: number;
  /** From the upper edge of a row to the middle of its bar, and to the baseline of its name. */
  barMiddle: number;
  baseline: number;
  nameWidth: number;
  indent: number;
  chartLeft: number;
  chartWidth: number;
  totalMs: number;
  head: number;
}

const isStacked = (width: number) => width < stackedBelow;
/** Across other rows an arrow would cover their bars; the line between the names is enough there. */
const isArrowDrawn = ({ isJoin, parent }: WaterfallRow, index: number) => isJoin && parent === index - 1;

function layOut(rows: WaterfallRow[], width: number, head: number): Layout {
  const stacked = isStacked(width);
  const durationWidth = 84;
  const padding = 8;
  const nameWidth = stacked
    ? width - durationWidth - 2 * padding
    : Math.min(380, Math.max(230, width * 0.39));
  const deepest = Math.max(1, ...rows.map(({ level }) => level));
  const chartLeft = stacked ? padding : padding + nameWidth;
  return {
    width,
    isStacked: stacked,
    rowHeight: stacked ? 44 : 27,
    barHeight: stacked ? 12 : 15,
    barMiddle: stacked ? 33 : 13.5,
    baseline: 18,
    nameWidth,
    // Deep traces keep room for their names.
    indent: Math.min(stacked ? 10 : 15, (0.4 * nameWidth) / deepest),
    chartLeft,
    chartWidth: stacked ? width - 2 * padding : width - 2 * padding - nameWidth - durationWidth,
    totalMs: Math.max(0.001, ...rows.map(({ startMs, durationMs }) => startMs + durationMs)),
    head,
  };
}

/** The elements, without the <svg> around them, and their height in pixels. */
export function drawWaterfall(
  rows: WaterfallRow[],
  { width, rowAttributes = () => ({}) }: WaterfallOptions,
): { elements: Element[]; height: number } {
  const legend = drawLegend(rows, width);
  const layout = layOut(rows, width, legend.height + axisHeight);
  const height = layout.head + rows.length * layout.rowHeight + 4;
  return {
    height,
    elements: [
      hatch(),
      ...legend.elements,
      ...drawAxis(layout, height - 4),
      ...rows.map((row, index) => drawRow(row, index, rows, layout, rowAttributes(row, index))),
      // After the bars, to be above them.
      ...rows.flatMap((row, index) =>
        !layout.isStacked && isArrowDrawn(row, index) ? drawJoin(row, index, layout) : [],
      ),
    ],
  };
}

/** The pattern of time outside of the server. */
function hatch(): Element {
  return element(
    'defs',
    {},
    element(
      'pattern',
      {
        id: 'gap',
        width: 5,
        height: 5,
        patternUnits: 'userSpaceOnUse',
        patternTransform: 'rotate(45)',
      },
      element('rect', { class: 'gap-ground', width: 5, height: 5 }),
      element('path', { class: 'gap-line', d: 'M1 0V5' }),
    ),
  );
}

/** A symbol per side, which differs in form, not only in colour. */
export function glyph(side: Side, x: number, middle: number): Element {
  if (side === 'app') return element('circle', { class: side, cx: px(x + 5), cy: px(middle), r: 5 });
  if (side === 'server')
    return element('rect', { class: side, x: px(x), y: px(middle - 5), width: 10, height: 10, rx: 1 });
  return element('path', { class: side, d: `M${px(x + 5)} ${px(middle - 6)}l5 6l-5 6l-5 -6z` });
}

function drawLegend(rows: WaterfallRow[], width: number): { elements: Element[]; height: number } {
  const sides = (['app', 'server', 'core'] as const).filter((side) => rows.some((row) => row.side === side));
  const items: { sign(x: number, middle: number): Element[]; signWidth: number; text: string }[] = sides.map(
    (side) => ({
      sign: (x, middle) => [glyph(side, x, middle)],
      signWidth: 16,
      text: sideNames[side],
    }),
  );
  if (rows.some(({ gaps }) => gaps !== undefined && gaps.length > 0)) {
    items.push({
      sign: (x, middle) => [
        element('rect', {
          class: 'gap',
          x: px(x + 0.5),
          y: px(middle - 5.5),
          width: 21,
          height: 11,
          rx: 5.5,
          fill: 'url(#gap)',
        }),
      ],
      signWidth: 28,
      text: rows.some(hasSeveralCalls) ? 'network gap, and between calls' : 'network gap',
    });
  }
  if (!isStacked(width) && rows.some(isArrowDrawn)) {
    items.push({
      sign: (x, middle) => [
        element('path', { class: 'join', d: `M${px(x)} ${middle}h12` }),
        element('path', { class: 'arrow', d: `M${px(x + 18)} ${middle}l-7 -4v8z` }),
      ],
      signWidth: 24,
      text: 'traceparent, sent with the call',
    });
  }
  if (rows.some(({ failed }) => failed)) {
    items.push({
      sign: (x, middle) => [cross(x + 5, middle)],
      signWidth: 16,
      text: 'failed',
    });
  }
  let x = 8;
  let line = 0;
  const elements: Element[] = [];
  for (const { sign, signWidth, text } of items) {
    const itemWidth = signWidth + text.length * quietCharacterWidth;
    if (x > 8 && x + itemWidth > width - 8) {
      x = 8;
      line += 1;
    }
    const middle = line * legendLine + 12;
    elements.push(
      ...sign(x, middle),
      element('text', { class: 'quiet', x: px(x + signWidth), y: middle + 4 }, text),
    );
    x += itemWidth + 20;
  }
  return { elements, height: (line + 1) * legendLine + 6 };
}

/** Round numbers of ms, as many as fit. */
function drawAxis({ totalMs, chartLeft, chartWidth, head, isStacked }: Layout, bottom: number): Element[] {
  const roughMs = totalMs / Math.max(2, Math.floor(chartWidth / 80));
  const magnitude = 10 ** Math.floor(Math.log10(roughMs));
  const stepMs = magnitude * ([1, 2, 5].find((factor) => factor * magnitude >= roughMs) ?? 10);
  const elements: Element[] = [];
  for (let tick = 0; tick * stepMs <= totalMs; tick++) {
    const ms = Number((tick * stepMs).toPrecision(12));
    const share = ms / totalMs;
    const x = px(chartLeft + share * chartWidth);
    // A label at an edge stays inside.
    const anchor = share < 0.05 ? 'start' : share > 0.93 ? 'end' : 'middle';
    elements.push(
      // A line through the names would make them hard to read.
      element('path', { class: 'grid', d: `M${x} ${head - 6}V${isStacked ? head : bottom}` }),
      element(
        'text',
        { class: 'quiet', x, y: head - 11, 'text-anchor': anchor },
        tick === 0 ? '0 ms' : String(ms),
      ),
    );
  }
  return elements;
}

function drawRow(
  row: WaterfallRow,
  index: number,
  rows: WaterfallRow[],
  layout: Layout,
  attributes: Record<string, string | number>,
): Element {
  const { width, isStacked, rowHeight, barMiddle, baseline, nameWidth, indent } = layout;
  const y = layout.head + index * rowHeight;
  const left = 8 + row.level * indent;
  const signs = glyphWidth + (row.failed ? glyphWidth : 0);
  const longest = Math.max(4, Math.floor((nameWidth - row.level * indent - signs - 10) / characterWidth));
  const name = row.name.length > longest ? `${row.name.slice(0, longest - 1)}…` : row.name;
  const nameMiddle = isStacked ? y + 14 : y + barMiddle;
  const children: Element[] = [
    element('rect', {
      class: index % 2 === 0 ? 'hit stripe' : 'hit',
      x: 1,
      y: px(y + 0.5),
      width: px(width - 2),
      height: rowHeight - 1,
      rx: 5,
    }),
  ];
  children.push(...drawBranches(row, index, rows, layout), glyph(row.side, left, nameMiddle));
  if (row.failed) children.push(cross(left + glyphWidth + 5, nameMiddle));
  children.push(
    element(
      'text',
      {
        class: row.parent === undefined || row.isJoin ? 'mono strong' : 'mono',
        x: px(left + signs),
        y: y + baseline,
      },
      name,
    ),
    ...drawBar(row, index, y, layout),
    element(
      'text',
      { class: 'mono', x: px(width - 8), y: y + baseline, 'text-anchor': 'end' },
      duration(row.durationMs),
    ),
  );
  return element('g', { class: 'row', ...attributes }, ...children);
}

/** The tree's lines within this row, so that its bar covers them. */
function drawBranches(row: WaterfallRow, index: number, rows: WaterfallRow[], layout: Layout): Element[] {
  const { isStacked, rowHeight, barMiddle, indent, head } = layout;
  const top = head + index * rowHeight;
  const bottom = top + rowHeight;
  const middle = top + (isStacked ? 14 : barMiddle);
  const hasChildBelow = (parent: number) => rows.some((other, at) => at > index && other.parent === parent);
  const lines: string[] = [];
  for (let parent = row.parent, child = row; parent !== undefined; ) {
    const ancestor = rows[parent];
    if (ancestor === undefined) break;
    const x = px(8 + ancestor.level * indent + 5);
    const isGoingOn = hasChildBelow(parent);
    if (child === row) {
      const length = px(Math.max(2, indent - 8));
      lines.push(`M${x} ${px(top)}V${px(isGoingOn ? bottom : middle)}M${x} ${px(middle)}h${length}`);
    } else if (isGoingOn) lines.push(`M${x} ${px(top)}V${px(bottom)}`);
    child = ancestor;
    parent = ancestor.parent;
  }
  if (hasChildBelow(index)) lines.push(`M${px(8 + row.level * indent + 5)} ${px(middle + 8)}V${px(bottom)}`);
  return lines.length === 0 ? [] : [element('path', { class: 'branch', d: lines.join('') })];
}

/**
 * The app's bars are round, the server's square, the core's low; hatched where the app waits outside of the
 * server.
 */
function drawBar(row: WaterfallRow, index: number, y: number, layout: Layout): Element[] {
  const { chartLeft, chartWidth, totalMs, barMiddle } = layout;
  const toX = (ms: number) => chartLeft + (ms / totalMs) * chartWidth;
  const height = row.side === 'core' ? layout.barHeight - 6 : layout.barHeight;
  const x = toX(row.startMs);
  // At least two pixels, so that a span of some µs is visible.
  const width = Math.max(toX(row.startMs + row.durationMs) - x, 2);
  const place = {
    x: px(Math.min(x, chartLeft + chartWidth - 2)),
    y: px(y + barMiddle - height / 2),
    width: px(width),
    height,
    rx: px(Math.min(row.side === 'app' ? height / 2 : 1, width / 2)),
  };
  const colour = row.failed ? `${row.side} failed` : row.side;
  const bar = element('rect', { class: `bar ${colour}`, ...place });
  const gaps = (row.gaps ?? []).filter(([fromMs, toMs]) => toX(toMs) - toX(fromMs) >= 0.5);
  if (gaps.length === 0) return [bar];
  const clip = `bar-${index}`;
  return [
    element('clipPath', { id: clip }, element('rect', place)),
    bar,
    ...gaps.map(([fromMs, toMs]) =>
      element('rect', {
        class: 'gap',
        'clip-path': `url(#${clip})`,
        x: px(toX(fromMs)),
        y: place.y,
        width: px(toX(toMs) - toX(fromMs)),
        height,
        fill: 'url(#gap)',
      }),
    ),
    element('rect', { class: `outline ${colour}`, ...place }),
  ];
}

/** An arrow from the app's bar to the start of the server's. */
function drawJoin({ startMs }: WaterfallRow, index: number, layout: Layout): Element[] {
  const { chartLeft, chartWidth, totalMs, rowHeight, barMiddle, barHeight, head } = layout;
  const x = px(chartLeft + (startMs / totalMs) * chartWidth + 6);
  const from = px(head + (index - 1) * rowHeight + barMiddle);
  const to = px(head + index * rowHeight + barMiddle - barHeight / 2 + 3);
  return [
    element('circle', { class: 'arrow', cx: x, cy: from, r: 3 }),
    element('path', { class: 'join', d: `M${x} ${from}V${px(to - 5)}` }),
    element('path', { class: 'arrow', d: `M${x} ${to}l-4.5 -7h9z` }),
  ];
}

function cross(x: number, middle: number): Element {
  return element('path', { class: 'cross', d: `M${px(x - 4)} ${px(middle - 4)}l8 8m0 -8l-8 8` });
}
