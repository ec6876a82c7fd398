/** The RAG sample on a real Milvus: some questions, the trace of one, and the time of all, step by step. */
import { styleText } from 'node:util';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { node, runCommand, say, startedBy } from '../tools/demo/demo-command.ts';
import { showReport } from '../tools/demo/demo-report.ts';
import { joinedSpans, type Stack, startStack, startTraced } from '../tools/demo/demo-stack.ts';
import {
  medianSteps,
  type RequestSteps,
  reportedSteps,
  requestSteps,
  type StepsTable,
  searchIn,
  stepsTable,
} from '../tools/pictures/request-steps.ts';
import { callsOf, countJoins, formatTree, type TraceNode, traceTrees } from '../tools/pictures/trace-tree.ts';
import type { ReceivedSpan } from '../tools/servers/receiver.ts';

const usage = `npm run demo:rag [-- options]

Runs samples/rag, a RAG service on Express, under milvus-otel/register on a real Milvus. Asks some questions, adds a
document and asks for it, prints the trace of a question and a table of where the time went. Writes a report of all
traces, one HTML file, and prints a link to each trace in it. The exit code is 0 when every call to Milvus is joined with the
server's spans.

  --keep     keep Milvus, the viewer and the service running, serve the report, and print their addresses; Ctrl-C stops them
  --report FILE
             write the report there instead of .cache/demo/rag-report.html
  --help     print this text

  MILVUS_ADDRESS=host:port   use this Milvus. It must send its spans to port 4317 on this machine's loopback; the demo
                             prints the trace block for milvus.yaml. The demo creates and drops the collection rag_demo.
                             When it exists already, the demo stops and changes nothing.
  NO_COLOR=1                 no colours

Without MILVUS_ADDRESS, Milvus 2.3.5 is installed into .cache/ once, which needs Python 3 with pip.`;

const sample = 'samples/rag/server.js';
const service = 'rag-service';
const collection = 'rag_demo';
const questions = [
  'What is the difference between a client span and a server span?',
  'How does HNSW find the nearest neighbours?',
  'What does the network gap tell?',
  'Which sampling can keep every error?',
  'How are documents split before they are embedded?',
  'Why is a search with strong consistency slow?',
];
const newDocument = {
  title: 'Lighthouse',
  text: 'The orange lighthouse was added a moment ago, while this demo was running.',
};
const freshQuestion = 'What is the orange lighthouse?';
const freshCount = 3;
/** The request, Express' steps, the operation and the server's span. */
const shownDepth = 6;
const answerDeadlineMs = 30_000;
/** The service sends its spans every five seconds, the default. */
const spansDeadlineMs = 30_000;

interface Answer {
  answer: string | null;
  sources: { title: string; score: number }[];
}

async function post<T>(url: URL, body: object): Promise<T> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(answerDeadlineMs),
  });
  if (!response.ok)
    throw new Error(`POST ${url.pathname} was answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** All requests, in sequence. Fails when the service refuses one or does not find the added document. */
async function askAll(serviceUrl: string): Promise<void> {
  const ask = async (question: string, fresh: boolean) => {
    const { answer, sources } = await post<Answer>(new URL('/ask', serviceUrl), { question, fresh });
    say('ask', fresh ? `${question} (fresh)` : question);
    say('', styleText('dim', answer ?? 'no answer'));
    return sources;
  };
  for (const question of questions) await ask(question, false);
  await post(new URL('/documents', serviceUrl), { documents: [newDocument] });
  say('add', newDocument.text);
  for (let count = 0; count < freshCount; count += 1) {
    const [nearest] = await ask(freshQuestion, true);
    if (nearest?.title !== newDocument.title)
      throw new Error(`The document that was just added is not the nearest to "${freshQuestion}"`);
  }
}

const isAsk = ({ name, service: of, kind }: ReceivedSpan) =>
  of === service && kind === 'SERVER' && name === 'POST /ask';

/** The questions' trees that have all steps, in the order of the questions. */
function askedTrees(spans: ReceivedSpan[]): { tree: TraceNode; steps: RequestSteps }[] {
  return traceTrees(spans)
    .filter(({ span }) => isAsk(span))
    .flatMap((tree) => {
      const steps = requestSteps(tree);
      return steps === undefined ? [] : [{ tree, steps }];
    });
}

/** Prints tree and table. Returns the table, whether all is joined, and a line with the result. */
async function showTraces(stack: Stack): Promise<{ steps?: StepsTable; allJoined: boolean; result: string }> {
  say('traces', 'waiting for the spans of both sides (the service sends every 5 s)');
  const askCount = questions.length + freshCount;
  const spans = await joinedSpans(stack, spansDeadlineMs, {
    service,
    isAllHere: (received) => askedTrees(received).length >= askCount,
  });
  const { clientTraces, joined, unjoined } = countJoins(callsOf(spans), service);
  const asked = askedTrees(spans);
  const [first, ...others] = asked.slice(0, questions.length);
  const fresh = asked.slice(questions.length);
  const shown = others.at(-1);
  const waiting = fresh[0] && searchIn(fresh[0].tree);
  let steps: StepsTable | undefined;
  if (asked.length === askCount && first !== undefined && shown !== undefined) {
    const colour = process.stdout.isTTY && process.stdout.hasColors();
    console.log(`\n${formatTree(shown.tree, { colour, depth: shownDepth })}\n`);
    if (waiting !== undefined)
      console.log(`the search of a fresh question:\n${formatTree(waiting, { colour })}\n`);
    const stepsOf = (requests: typeof asked) => medianSteps(requests.map((request) => request.steps));
    const columns = [
      { title: 'the first', steps: first.steps },
      { title: `median of ${others.length}`, steps: stepsOf(others) },
      { title: `fresh, of ${fresh.length}`, steps: stepsOf(fresh) },
    ];
    console.log(`${stepsTable(columns)}\n`);
    steps = reportedSteps('Where the time of a question went', columns);
  }

  const allJoined = clientTraces > 0 && joined === clientTraces && asked.length === askCount;
  if (!allJoined) {
    for (const span of unjoined) console.error(`no span of standalone under ${span}`);
    console.error(
      `${asked.length} of ${askCount} questions have all their spans here after ${spansDeadlineMs / 1000} s.`,
    );
    if (process.env.MILVUS_ADDRESS) {
      console.error(
        `Check the trace block of the Milvus at ${stack.milvusAddress} (above), and restart it after a change.`,
      );
    }
  }
  return { steps, allJoined, result: `${joined} of ${clientTraces} client traces joined by standalone` };
}

function printKept(stack: Stack, serviceUrl: string, reportUrl: string): void {
  console.log(`
Left running. The traces are at ${stack.viewerUrl}, the service is at ${serviceUrl}
The report is at ${reportUrl} (reload it after more questions)
  curl ${serviceUrl}/ask -H 'content-type: application/json' -d '{"question": "What is a span?"}'
  ${node} samples/rag/load.mjs --url ${serviceUrl}
The command that started it, from this folder:
${startedBy(stack, sample, service)}
Ctrl-C ends it all.`);
}

/** For a Milvus that keeps running. */
async function dropCollection(address: string): Promise<void> {
  const client = new MilvusClient({ address });
  try {
    await client.dropCollection({ collection_name: collection });
  } finally {
    await client.closeConnection();
  }
}

await runCommand({
  name: 'demo:rag',
  usage,
  reportName: 'rag-report.html',
  async run({ keep, reportFile }, teardown) {
    const milvusAddress = process.env.MILVUS_ADDRESS || undefined;
    const stack = await startStack({ say, teardown, milvusAddress, viewer: true, collection });
    // Added before the service, so that it runs after the service's exit.
    if (milvusAddress !== undefined) teardown.add(() => dropCollection(stack.milvusAddress));
    const variables = { RAG_COLLECTION: collection, PORT: '0' };
    const app = startTraced({ stack, file: sample, say, teardown, service, variables });
    const [, serviceUrl = ''] = await app.waitForLine(/^listening on (\S+)$/);
    await askAll(serviceUrl);
    const { steps, allJoined, result } = await showTraces(stack);
    const report = await showReport({
      command: 'npm run demo:rag',
      service,
      steps,
      stack,
      file: reportFile,
      isServed: keep,
      say,
      teardown,
    });
    return { isSound: allJoined, result, printKept: () => printKept(stack, serviceUrl, report.url) };
  },
});
