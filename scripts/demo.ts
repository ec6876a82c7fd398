/**
 * One command that shows the join: a real Milvus, a plain app under the preload, and their spans in one tree.
 */
import { runCommand, say, startedBy, UsageError } from '../tools/demo/demo-command.ts';
import { showReport } from '../tools/demo/demo-report.ts';
import { clientService, joinedSpans, runTraced, type Stack, startStack } from '../tools/demo/demo-stack.ts';
import { countJoins, formatTrees, traceTrees } from '../tools/pictures/trace-tree.ts';
import type { Teardown } from '../tools/processes/teardown.ts';

const usage = `npm run demo [-- options]

Runs a plain Milvus app under milvus-otel/register on a real Milvus, and prints each trace of the app as a tree: its spans,
and below them those of the Milvus server (standalone). Writes a report of all traces, one HTML file, and prints a link to
each trace in it. The exit code is 0 when all of them are joined.

  --keep     keep Milvus and the viewer running, serve the report, and print their addresses; Ctrl-C stops them
  --report FILE
             write the report there instead of .cache/demo/report.html
  --docker   use compose/docker-compose.yml (Milvus and Jaeger) instead of starting Milvus without Docker; links lead
             to Jaeger when it stays up
  --help     print this text

  MILVUS_ADDRESS=host:port   use this Milvus. It must send its spans to port 4317 on this machine's loopback; the demo
                             prints the trace block for milvus.yaml. The demo creates and drops the collection quick_setup.
                             When it exists already, the demo stops and changes nothing.
  NO_COLOR=1                 no colours

Without --docker and MILVUS_ADDRESS, Milvus 2.3.5 is installed into .cache/ once, which needs Python 3 with pip.`;

const sample = 'samples/quickstart/quickstart.mjs';
/** The client span, the server's span under it, and the server's first steps; deeper spans are counted. */
const shownDepth = 3;
const spansDeadlineMs = 20_000;

async function startFor(docker: boolean, teardown: Teardown): Promise<Stack> {
  const milvusAddress = process.env.MILVUS_ADDRESS || undefined;
  if (!docker) return await startStack({ say, teardown, milvusAddress, viewer: true });
  if (milvusAddress !== undefined) {
    throw new UsageError(`MILVUS_ADDRESS is "${milvusAddress}" and --docker is given: leave out one of them`);
  }
  // Imported late: most runs do without it.
  const { startDockerStack } = await import('../tools/demo/demo-docker.ts');
  return await startDockerStack(say, teardown);
}

/** Prints the client's traces. Returns whether all are joined, and a line with the result. */
async function showTraces(stack: Stack): Promise<{ allJoined: boolean; result: string }> {
  say('traces', 'waiting for the spans of both sides');
  const spans = await joinedSpans(stack, spansDeadlineMs);
  const { clientTraces, joined, unjoined } = countJoins(spans, clientService);
  const trees = traceTrees(spans);
  const ofClient = trees.filter(({ span }) => span.service === clientService);
  const ofClientIds = new Set(ofClient.map(({ span }) => span.traceId));
  const others = trees.filter(({ span }) => !ofClientIds.has(span.traceId)).length;
  const colour = process.stdout.isTTY && process.stdout.hasColors();

  if (ofClient.length > 0) console.log(`\n${formatTrees(ofClient, { colour, depth: shownDepth })}\n`);
  if (others > 0)
    console.log(`and ${others} traces of the server's own (its trace.sampleFraction is above 0)\n`);

  const allJoined = clientTraces > 0 && joined === clientTraces;
  if (!allJoined) {
    for (const span of unjoined) console.error(`no span of standalone under ${span}`);
    const missing =
      clientTraces === 0 ? `No span of ${clientService} has` : 'Not every span of the server has';
    console.error(`${missing} arrived within ${spansDeadlineMs / 1000} s.`);
    if (process.env.MILVUS_ADDRESS && clientTraces > 0) {
      console.error(
        `Check the trace block of the Milvus at ${stack.milvusAddress} (above), and restart it after a change.`,
      );
    }
  }
  return { allJoined, result: `${joined} of ${clientTraces} client traces joined by standalone` };
}

function printKept(stack: Stack, reportUrl: string): void {
  console.log(`
Left running. The traces are at ${stack.viewerUrl}, the report is at ${reportUrl} (reload it after another run)
Another run, from this folder:
${startedBy(stack, sample)}
Ctrl-C ends it all.`);
}

await runCommand({
  name: 'demo',
  usage,
  reportName: 'report.html',
  flags: ['docker'],
  async run({ docker, keep, reportFile }, teardown) {
    const stack = await startFor(docker, teardown);
    const appCode = await runTraced(stack, sample, say, teardown);
    const { allJoined, result } = await showTraces(stack);
    if (appCode !== 0) {
      console.error(appCode === null ? `${sample} had to be killed` : `${sample} ended with code ${appCode}`);
    }
    const report = await showReport({
      command: 'npm run demo',
      service: clientService,
      stack,
      file: reportFile,
      isServed: keep,
      say,
      teardown,
    });
    return { isSound: allJoined && appCode === 0, result, printKept: () => printKept(stack, report.url) };
  },
});
