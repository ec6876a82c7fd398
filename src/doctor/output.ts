/** A report as people read it. */
import { type Report, STAGES, type Stage, type Status, type Verdict } from './finding.ts';

const TITLES: Record<Stage, string> = {
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
  for (const { stage, findings } of report.stages) {
    lines.push(paint(`${STAGES.indexOf(stage) + 1} ${TITLES[stage]}`, 1));
    for (const { status, id, found, fix } of findings) {
      lines.push(`  ${paint(status.padEnd(8), COLOURS[status])} ${id}: ${found}`);
      if (fix === undefined) continue;
      // A block keeps its own lines, so that it can be pasted.
      for (const [index, line] of fix.split('\n').entries())
        lines.push(`           ${index === 0 ? 'fix: ' : '     '}${line}`);
    }
  }
  const colour = COLOURS[report.sound ? 'ok' : report.verdict.stage === null ? 'warning' : 'failure'];
  lines.push('', paint(verdictLine(report.verdict, report.sound), colour));
  return `${lines.join('\n')}\n`;
}

/** One line: the first broken stage and its fix. */
export function verdictLine({ stage, id, text, fix }: Verdict, sound: boolean): string {
  const head = sound ? 'all stages work' : stage === null ? 'not proven' : `broken at ${stage} (${id})`;
  const [first, ...rest] = fix?.split('\n') ?? [];
  const remedy = first === undefined ? '' : ` Fix: ${first}${rest.length > 0 ? ' (the lines above)' : ''}`;
  return `milvus-otel doctor: ${head}: ${text}.${remedy}`;
}
