/** One command that shows the join: a real Milvus, a plain app under the preload, and their spans in one tree. */
import path from 'node:path';
import { parseArgs, styleText } from 'node:util';
import { ensureBuilt } from './build.ts';
import {
  appVariables,
  clientService,
  endOnSignals,
  joinedSpans,
  runTraced,
  type Say,
  type Stack,
  startStack,
  Teardown,
} from './demo-stack.ts';
import { countJoins, formatTrees, traceTrees } from './trace-tree.ts';

const usage = `npm run demo [-- options]

Runs a plain Milvus app under milvus-otel/register against a real Milvus, and prints every trace of the app as a tree:
its spans, and under them those of the Milvus server (standalone). Exit code 0 only if all of them are joined.

  --keep     leave Milvus and the viewer running and print their addresses; Ctrl-C ends them
  --docker   use compose/docker-compose.yml (Milvus and Jaeger) instead of starting both here
  --help     this text

  MILVUS_ADDRESS=host:port   use this Milvus. Its spans have to come to the demo's viewer, on port 4317 of this machine's
                             loopback: the demo prints the trace block for its milvus.yaml. The collection quick_setup is
                             created and dropped there; one that exists already is left alone, and the demo stops.
  NO_COLOR=1                 no colours

Without --docker and MILVUS_ADDRESS, Milvus 2.3.5 is installed into .cache/ once, which needs Python 3 with pip.`;

const sample = 'samples/quickstart/quickstart.mjs';
/** Client span, the server's span under it, and what the server did first; the rest is counted. */
const shownDepth = 3;
const spansDeadlineMs = 20_000;

class UsageError extends Error {}

interface Options {
  keep: boolean;
  docker: boolean;
  help: boolean;
}

function readOptions(args: string[]): Options {
  try {
    const off = { type: 'boolean', default: false } as const;
    return parseArgs({ args, options: { keep: off, docker: off, help: off } }).values;
  } catch (error) {
    // The first sentence names the argument; the others are about positional ones, of which there are none here.
    throw new UsageError((error as Error).message.split('. ')[0]);
  }
}

const say: Say = (who, line) => console.log(`${styleText('dim', who.padEnd(7))} ${line}`);

async function startFor(options: Options, teardown: Teardown): Promise<Stack> {
  const milvusAddress = process.env.MILVUS_ADDRESS || undefined;
  if (!options.docker) return await startStack({ say, teardown, milvusAddress, viewer: true });
  if (milvusAddress !== undefined) {
    throw new UsageError(`MILVUS_ADDRESS is "${milvusAddress}" and --docker is given: leave out one of them`);
  }
  // Only here: most runs do without it.
  const { startDockerStack } = await import('./demo-docker.ts');
  return await startDockerStack(say, teardown);
}

/** Prints the client's traces; gives whether every one is joined, and the line that says so. */
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

function printKept(stack: Stack): void {
  const variables = { ...appVariables(stack), MILVUS_ADDRESS: stack.milvusAddress };
  // Not just `node`: the machine's own may be too old for the preload.
  const node = path.relative(process.cwd(), process.execPath);
  const assignments = Object.entries(variables).map((pair) => pair.join('='));
  console.log(`
Left running. The traces are at ${stack.viewerUrl}
Another run, from this folder:
  ${assignments.join(' \\\n  ')} \\
  ${node} --import milvus-otel/register ${sample}
Ctrl-C ends it all.`);
}

/** Gives the exit code. */
async function runDemo(options: Options, teardown: Teardown): Promise<number> {
  let keptExitCode: number | undefined;
  endOnSignals(teardown, (usual) => keptExitCode ?? usual);

  await ensureBuilt();
  const stack = await startFor(options, teardown);
  const appCode = await runTraced(stack, sample, say, teardown);
  const { allJoined, result } = await showTraces(stack);
  if (appCode !== 0) {
    console.error(appCode === null ? `${sample} had to be ended` : `${sample} ended with code ${appCode}`);
  }
  const exitCode = allJoined && appCode === 0 ? 0 : 1;

  if (options.keep) {
    console.log(result);
    keptExitCode = exitCode;
    printKept(stack);
    // Until a signal: an open handle is what keeps the process alive meanwhile.
    await new Promise(() => setInterval(() => {}, 2 ** 30));
  }
  // The result is the last line, so what is said at the end comes before it.
  await teardown.run();
  console.log(result);
  return exitCode;
}

const teardown = new Teardown();
try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) console.log(usage);
  else process.exitCode = await runDemo(options, teardown);
} catch (error) {
  const { message } = error as Error;
  console.error(error instanceof UsageError ? `demo: ${message}\n\n${usage}` : `demo: ${message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
await teardown.run();
// What is still open (idle connections) has no more to say.
process.exit();
