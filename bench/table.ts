import type { CacheCost } from './compile-cache.ts';
import { FLAT, type Growth } from './growth.ts';
import type { Instructions } from './instructions.ts';
import type { Floor, Row, Unit } from './measures.ts';
import type { Peer } from './peers.ts';
import type { Spread } from './statistics.ts';

/** A table as text: the first column is left-aligned, the others right-aligned. */
export interface Table {
  title: string;
  head: string[];
  lines: { cells: string[]; met?: boolean }[];
}

/** Whether a row meets its target; undefined without one. */
export function isMet(row: Row): boolean | undefined {
  if (row.target === undefined) return undefined;
  // Lost spans count in any burst; a ratio is judged by its median.
  const value = row.unit === 'spans' ? row.ours.max : row.ratio?.median;
  return value !== undefined && value <= row.target;
}

const judged = (met: boolean | undefined): string => (met === undefined ? '' : met ? 'met' : 'not met');

export function mainTable(rows: Row[]): Table {
  return {
    title: 'What is added',
    head: ['', 'no preload', 'ours adds', 'stock adds', 'ours / stock', 'target', ''],
    lines: rows.map((row) => {
      const met = isMet(row);
      return {
        met,
        cells: [
          row.what,
          row.none ? withUnit(row.none, row.unit) : '',
          withUnit(row.ours, row.unit),
          withUnit(row.stock, row.unit),
          row.ratio ? ranged(row.ratio, (value) => value.toFixed(2)) : '',
          row.target === undefined ? '' : row.unit === 'spans' ? String(row.target) : `<= ${row.target}`,
          judged(met),
        ],
      };
    }),
  };
}

/** Whether the cost of a call stays constant; undefined for the smallest size. */
export function isFlat({ isSmallest, oursToSmaller }: Growth): boolean | undefined {
  // Below zero the noise exceeds the cost, which proves nothing.
  return isSmallest ? undefined : oursToSmaller !== undefined && oursToSmaller >= 0 && oursToSmaller <= FLAT;
}

export function growthTable(growth: Growth[]): Table {
  const multiple = ({ isSmallest, oursToSmaller = 0 }: Growth) => {
    if (isSmallest) return '';
    return oursToSmaller > 0 ? `× ${oursToSmaller.toFixed(2)}` : 'noise';
  };
  return {
    title: 'CPU time of a span as the work grows',
    head: ['', 'a call without one', 'the span adds', 'to a smaller size', 'target', ''],
    lines: growth.map((row) => {
      const met = isFlat(row);
      return {
        met,
        cells: [
          `${row.operation}, ${row.by}: ${row.size.toLocaleString('en')}`,
          withUnit(row.untraced, 'µs'),
          withUnit(row.ours, 'µs'),
          multiple(row),
          met === undefined ? '' : `<= ${FLAT}`,
          judged(met),
        ],
      };
    }),
  };
}

export function floorTable(floors: Floor[]): Table {
  return {
    title: 'The floor',
    head: ['', 'added'],
    lines: floors.map(({ to, what, unit, added }) => ({ cells: [`${to}: ${what}`, withUnit(added, unit)] })),
  };
}

export function cacheTable(costs: CacheCost[]): Table {
  return {
    title: "V8's compile cache: added to the start of an app",
    head: ['', 'wall', 'CPU'],
    lines: costs.map(({ what, wall, cpu }) => ({ cells: [what, withUnit(wall, 'ms'), withUnit(cpu, 'ms')] })),
  };
}

export function instructionsTable(counts: Map<string, Instructions>): Table {
  const of = (name: string) => counts.get(name) as Instructions;
  const [none, ours, stock] = [of('none'), of('ours'), of('stock')];
  const parts = ['running', 'compiling', 'collecting'] as const;
  const sum = (count: Instructions) => parts.reduce((total, part) => total + count[part], 0);
  const line = (what: string, value: (count: Instructions) => number) => {
    const [added, theirs] = [value(ours) - value(none), value(stock) - value(none)];
    const ratio = theirs > 0 ? (added / theirs).toFixed(2) : '';
    return { cells: [what, ...[value(none), added, theirs].map(thousands), ratio] };
  };
  return {
    title: 'Instructions for a search, in thousands',
    head: ['', 'no preload', 'ours adds', 'stock adds', 'ours / stock'],
    lines: [
      line('running', ({ running }) => running),
      line('compiling', ({ compiling }) => compiling),
      line('collecting garbage', ({ collecting }) => collecting),
      line('all', sum),
    ],
  };
}

const thousands = (value: number): string => (value / 1000).toFixed(1);

export function peerTable(peers: Peer[]): Table {
  const cell = (value: Spread | undefined, unit: Unit) => (value ? withUnit(value, unit) : '');
  return {
    title: 'Peers',
    head: [
      'adds',
      'start-up, wall',
      'start-up, CPU',
      'peak memory, start-up',
      'CPU per search',
      'installed',
      '',
    ],
    lines: peers.map((peer) => ({
      cells: [
        `${peer.package}${peer.version ? ` ${peer.version}` : ''}`,
        cell(peer.startUpWallMs, 'ms'),
        cell(peer.startUpCpuMs, 'ms'),
        cell(peer.peakMiB, 'MiB'),
        cell(peer.searchCpuUs, 'µs'),
        peer.sizeMiB === undefined ? '' : `${round(peer.sizeMiB)} MiB`,
        peer.problem ? `not measured: ${peer.problem}` : '',
      ],
    })),
  };
}

/** For a terminal, in columns. */
export function terminalText({ title, head, lines }: Table, colour: boolean): string {
  const all = [head, ...lines.map(({ cells }) => cells)];
  const widths = head.map((_, column) => Math.max(...all.map((cells) => (cells[column] as string).length)));
  const text = all.map((cells, index) => {
    const line = cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
      )
      .join('  ')
      .trimEnd();
    const met = lines[index - 1]?.met;
    return !colour || met === undefined ? line : `\x1b[${met ? 32 : 33}m${line}\x1b[0m`;
  });
  return [title, ...text].join('\n');
}

export function markdown({ head, lines }: Table): string {
  const line = (values: string[]) => `| ${values.map((value) => value.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    line(head),
    line(head.map((_, column) => (column === 0 ? '---' : '---:'))),
    ...lines.map(({ cells }) => line(cells)),
  ].join('\n');
}

/** `page` with the text between a part's two markers replaced. Throws when they are missing. */
export function replacePart(page: string, part: string, text: string): string {
  const [begin, end] = [`<!-- bench:${part}:begin -->`, `<!-- bench:${part}:end -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/benchmarks.md lacks its markers ${begin} and ${end}`);
  return `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`;
}

function withUnit(value: Spread, unit: Unit): string {
  return unit === 'spans' ? ranged(value, round) : `${ranged(value, round)} ${unit}`;
}

function ranged(value: Spread, format: (value: number) => string): string {
  const [median, min, max] = [value.median, value.min, value.max].map(format);
  return min === max ? (median as string) : `${median} (${min}–${max})`;
}

/** Noise leaves three meaningful digits. */
function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Number.isInteger(value) ? 0 : 1);
}
