/** A report as people read it. */
import { HOPS, type Hop, type Report, type Status, type Verdict } from './finding.ts';

const TITLES: Record<Hop, string> = {
  runtime: 'Runtime',
  settings: 'Settings',
  collector: 'Collector',
  milvus: 'Milvus',
  join: 'Join',
  app: 'App',
};

const COLOURS: Record<Status, number> = { ok: 32, warning: 33, failure: 31, skipped: 90 };

/** The whole report; its last line is the verdict. */
export function reportText(report: Report, coloured: boolean): string {
  const paint = (text: string, colour: number) => (coloured ? `\x1b[${colour}m${text}\x1b[0m` : text);
  const lines: string[] = [];
  for (const { hop, findings } of report.hops) {
    lines.push(paint(`${HOPS.indexOf(hop) + 1} ${TITLES[hop]}`, 1));
    for (const { status, id, seen, cure } of findings) {
      lines.push(`  ${paint(status.padEnd(8), COLOURS[status])} ${id}: ${seen}`);
      if (cure === undefined) continue;
      // A block keeps its own lines, so that it can be pasted.
      for (const [index, line] of cure.split('\n').entries())
        lines.push(`           ${index === 0 ? 'fix: ' : '     '}${line}`);
    }
  }
  const colour = COLOURS[report.sound ? 'ok' : report.verdict.hop === null ? 'warning' : 'failure'];
  lines.push('', paint(verdictLine(report.verdict, report.sound), colour));
  return `${lines.join('\n')}\n`;
}

/** One line: the first broken stage and its fix. */
export function verdictLine({ hop, id, text, cure }: Verdict, sound: boolean): string {
  const head = sound ? 'sound' : hop === null ? 'not proven' : `broken at ${hop} (${id})`;
  const [first, ...rest] = cure?.split('\n') ?? [];
  const remedy = first === undefined ? '' : ` Fix: ${first}${rest.length > 0 ? ' (the lines above)' : ''}`;
  return `milvus-otel doctor: ${head}: ${text}.${remedy}`;
}
