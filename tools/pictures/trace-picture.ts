/**
 * Draws docs/trace.svg, one search from the app into the server as in the demo's report, from a new run:
 * `node_modules/node/bin/node tools/pictures/trace-picture.ts [file.svg]`. Every figure comes from a span.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureBuilt } from '../build/build-package.ts';
import { clientService, joinedSpans, runTraced, type Say, startStack } from '../demo/demo-stack.ts';
import { endOnSignals, Teardown } from '../processes/teardown.ts';
import { type ReportTrace, reportData } from '../report/report-data.ts';
import { duration, type Element, element, markup } from './svg.ts';
import { drawWaterfall } from './waterfall.ts';

const sample = 'samples/quickstart/quickstart.mjs';
const operation = 'search';
const spansDeadlineMs = 20_000;
/** The server's C++ part sends its spans every 5 s. */
const coreSpansMs = 6_000;
const styleFile = path.join(import.meta.dirname, 'waterfall.css');
const pictureFile = path.join(import.meta.dirname, '..', '..', 'docs', 'trace.svg');

const width = 960;
const margin = 20;
const headHeight = 54;
const footHeight = 40;

/** The report's waterfall as a picture: a card with a title, and a breakdown of the call's time below it. */
export function drawTrace({ rows, id }: Pick<ReportTrace, 'rows' | 'id'>, style: string): string {
  const waterfall = drawWaterfall(rows, { width: width - 2 * margin });
  const bottom = headHeight + waterfall.height;
  const height = Math.ceil(bottom + footHeight);
  const [root] = rows;
  if (root === undefined) throw new Error(`trace ${id} has no span`);
  const title = `${root.name}: one trace from the app into the Milvus server`;
  const text = (attributes: Element['attributes'], content: string) => element('text', attributes, content);
  const sum = root.gapMs === undefined ? '' : timeSum(root.durationMs, root.gapMs);
  const picture = element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
    },
    element('title', {}, title),
    element('style', {}, `\n${style}`),
    element('rect', { class: 'card', x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 12 }),
    text({ class: 'title', x: margin + 8, y: 36 }, title),
    element('g', { transform: `translate(${margin} ${headHeight})` }, ...waterfall.elements),
    text({ class: 'quiet', x: margin + 8, y: bottom + 22 }, sum),
    text({ class: 'quiet', x: width - margin - 8, y: bottom + 22, 'text-anchor': 'end' }, `trace ${id}`),
  );
  return `${markup(picture)}\n`;
}

/** The rounded figures add up. */
function timeSum(totalMs: number, gapMs: number): string {
  const hundredths = (ms: number) => Math.round(ms * 100) / 100;
  const serverMs = hundredths(totalMs - gapMs);
  return (
    `${duration(totalMs)} = ${duration(serverMs)} in the server + ` +
    `${duration(hundredths(totalMs) - serverMs)} network gap: network, gRPC and SDK`
  );
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
  const { traces } = reportData(await stack.spans(), { command: '', service: clientService });
  const trace = traces.find(({ name }) => name.startsWith(`${operation} `));
  if (trace === undefined) throw new Error(`no trace of ${clientService} is a ${operation}`);
  if (trace.join !== 'joined') throw new Error(`the server has not joined "${trace.name}"`);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, drawTrace(trace, await readFile(styleFile, 'utf8')));
  console.log(`Drew "${trace.name}" (trace ${trace.id}) into ${path.relative(process.cwd(), file)}`);
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
