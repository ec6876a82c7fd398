import os from 'node:os';
import type { Plan, Row } from './measures.ts';
import type { Spread } from './statistics.ts';
import type { Installed } from './variants.ts';

const HEAD = ['', 'no preload', 'ours adds', 'stock adds', 'ours / stock', 'target', ''];

/** Whether a row keeps its target; undefined for a row that has none. */
export function isMet(row: Row): boolean | undefined {
  if (row.target === undefined) return undefined;
  // A lost span counts whichever burst lost it; a ratio is judged by its median.
  const value = row.unit === 'spans' ? row.ours.max : row.ratio?.median;
  return value !== undefined && value <= row.target;
}

/** The table as columns of text for a terminal. */
export function terminalTable(rows: Row[], colour: boolean): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => (line[column] as string).length)));
  return lines
    .map((line, index) => {
      const text = line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number),
        )
        .join('  ')
        .trimEnd();
      const met = index === 0 ? undefined : isMet(rows[index - 1] as Row);
      return !colour || met === undefined ? text : `\x1b[${met ? 32 : 33}m${text}\x1b[0m`;
    })
    .join('\n');
}

/** The same as Markdown, with the conditions under it. */
export function markdownTable(rows: Row[], conditions: string[]): string {
  const line = (values: string[]) => `| ${values.join(' | ')} |`;
  return [
    line(HEAD),
    line(HEAD.map((_, column) => (column === 0 ? '---' : '---:'))),
    ...rows.map((row) => line(cells(row))),
    '',
    ...conditions.map((condition) => `- ${condition}`),
  ].join('\n');
}

/** What was compared, on what, how often: no date and no host, so that an unchanged setup gives unchanged text. */
export function conditions(installed: Installed, plan: Plan): string[] {
  const [cpu] = os.cpus();
  const { sdk, ours, stock } = installed.versions;
  return [
    `Machine: ${os.cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${Math.round(os.totalmem() / 2 ** 30)} GiB, ` +
      `${os.platform()} ${os.arch()}, Node ${process.versions.node}`,
    `Versions: milvus-otel ${ours}, @opentelemetry/auto-instrumentations-node ${stock}, @zilliz/milvus2-sdk-node ${sdk}`,
    `Rounds: ${plan.startUpRounds} for start-up, ${plan.searchRounds} of ${plan.searchCalls.toLocaleString('en')} searches, ` +
      `${plan.burstRounds} bursts; values are medians, with the smallest and the largest`,
  ];
}

const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

/** `page` with what stands between its two markers replaced. Throws when it has no such markers. */
export function replaceTable(page: string, table: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/benchmarks.md lacks its markers ${BEGIN} and ${END}`);
  return `${page.slice(0, begin + BEGIN.length)}\n${table}\n${page.slice(end)}`;
}

function cells(row: Row): string[] {
  const met = isMet(row);
  return [
    row.what,
    row.none ? withUnit(row.none, row.unit) : '',
    withUnit(row.ours, row.unit),
    withUnit(row.stock, row.unit),
    row.ratio ? ranged(row.ratio, (value) => value.toFixed(2)) : '',
    row.target === undefined ? '' : row.unit === 'spans' ? String(row.target) : `<= ${row.target}`,
    met === undefined ? '' : met ? 'met' : 'not met',
  ];
}

function withUnit(value: Spread, unit: Row['unit']): string {
  return unit === 'spans' ? ranged(value, round) : `${ranged(value, round)} ${unit}`;
}

function ranged(value: Spread, format: (value: number) => string): string {
  const [median, min, max] = [value.median, value.min, value.max].map(format);
  return min === max ? (median as string) : `${median} (${min}–${max})`;
}

/** Three digits are what the noise leaves. */
function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Number.isInteger(value) ? 0 : 1);
}
