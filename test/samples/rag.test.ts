/** The RAG sample on the real Milvus, its parts, and `npm run demo:rag`. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  medianSteps,
  type RequestSteps,
  requestSteps,
  stepsTable,
} from '../../tools/pictures/request-steps.ts';
import { type TraceNode, traceTrees } from '../../tools/pictures/trace-tree.ts';
import { type RunningFixture, runFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { oneAtATime } from '../support/one-at-a-time.ts';
import { lastLine, runDemo } from '../support/run-demo.ts';
import { type Stack, useStack } from '../support/stack.ts';

oneAtATime('demo-ports');

const root = path.join(import.meta.dirname, '..', '..');
const folder = path.join(root, 'samples', 'rag');
const arrivalTimeoutMs = 20_000;
/** The demo's first run may have Milvus to download. */
const demoTimeout = { timeout: 300_000 };

// The sample is plain JavaScript, outside of what the compiler checks.
interface Passage {
  title: string;
  text: string;
}
const { embed, similarity, dimension } = (await import(path.join(folder, 'embed.js'))) as {
  embed(text: string): number[];
  similarity(a: number[], b: number[]): number;
  dimension: number;
};
const { assembleAnswer, splitIntoPassages } = (await import(path.join(folder, 'answer.js'))) as {
  assembleAnswer(questionVector: number[], passages: Passage[]): string | null;
  splitIntoPassages(text: string, mostCharacters?: number): string[];
};

describe('the embedding', () => {
  test('is the same each time, of length 1 and of the dimension that it names', () => {
    for (const text of ['How does a search find neighbours?', 'a', '', '日本語 текст', '!?']) {
      const vector = embed(text);
      assert.deepEqual(vector, embed(text));
      assert.equal(vector.length, dimension);
      assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-9, text);
    }
  });

  test('brings forms of a word near each other, and says nothing of meaning', () => {
    const near = (a: string, b: string) => similarity(embed(a), embed(b));
    assert.ok(near('searches', 'search') > 0.15);
    assert.ok(near('searches', 'search') > near('searches', 'Jaeger') + 0.1);
    assert.ok(near('car', 'automobile') < 0.1);
  });

  test('does not count the words that every question has', () => {
    assert.deepEqual(embed('What is the recall of it?'), embed('recall'));
  });
});

describe('the answer', () => {
  const passages = [
    { title: 'Recall', text: 'Recall is the share of neighbours that were found. It is measured.' },
    { title: 'Cats', text: 'Cats sleep in the sun.' },
  ];

  test('is the nearest sentence of each passage with its number, without unrelated ones', () => {
    assert.equal(
      assembleAnswer(embed('What share of neighbours is recall?'), passages),
      'Recall is the share of neighbours that were found. [1]',
    );
  });

  test('is none when nothing is near, or when nothing was found', () => {
    assert.equal(assembleAnswer(embed('Who won yesterday?'), passages), null);
    assert.equal(assembleAnswer(embed('Who won yesterday?'), []), null);
  });

  test('comes from passages of whole sentences that are not too long', () => {
    const text = 'One sentence. Another sentence! A third? Yes.';
    assert.deepEqual(splitIntoPassages(text), [text]);
    assert.deepEqual(splitIntoPassages(text, 31), ['One sentence. Another sentence!', 'A third? Yes.']);
    assert.deepEqual(splitIntoPassages('This one alone is longer.', 5), ['This one alone is longer.']);
  });
});

describe('where the time went', () => {
  const span = (spanId: string, parentSpanId: string | undefined, given: Partial<ReceivedSpan>) =>
    ({
      traceId: 't',
      spanId,
      parentSpanId,
      service: 'rag',
      startMs: 0,
      durationMs: 1,
      attributes: {},
      ...given,
    }) as ReceivedSpan;
  // POST /ask 20 ms ├─ embed question 1 ms
  //                 ├─ search docs 12 ms ├─ standalone: DescribeCollection 2 ms
  //                 │                    └─ standalone: Search 6 ms
  //                 └─ assemble answer 3 ms
  const asked = [
    span('request', undefined, { name: 'POST /ask', durationMs: 20 }),
    span('embed', 'request', { name: 'embed question', durationMs: 1 }),
    span('search', 'request', {
      name: 'search docs',
      durationMs: 12,
      attributes: { 'db.operation.name': 'search' },
    }),
    span('describe', 'search', { service: 'standalone', durationMs: 2 }),
    span('served', 'search', { service: 'standalone', durationMs: 6 }),
    span('assemble', 'request', { name: 'assemble answer', durationMs: 3 }),
  ];
  const expected = { request: 20, embed: 1, milvus: 12, server: 8, gap: 4, assemble: 3, rest: 4 };
  const stepsOf = (spans: ReceivedSpan[]) => requestSteps(traceTrees(spans)[0] as TraceNode);

  test('the steps of a request add up to it, and what the server did not take of a search is the gap', () => {
    assert.deepEqual(stepsOf(asked), expected);
  });

  for (const missing of ['embed', 'search', 'assemble']) {
    test(`a request without its ${missing} is not complete`, () => {
      assert.equal(stepsOf(asked.filter(({ spanId }) => spanId !== missing)), undefined);
    });
  }

  test('a search that the server has not joined is not complete', () => {
    assert.equal(stepsOf(asked.filter(({ service }) => service !== 'standalone')), undefined);
  });

  test('the median is taken step by step, of an even number between the two in the middle', () => {
    const times = (factor: number) =>
      Object.fromEntries(
        Object.entries(expected).map(([step, ms]) => [step, ms * factor]),
      ) as unknown as RequestSteps;
    assert.deepEqual(medianSteps([times(5), times(1), times(100)]), times(5));
    assert.deepEqual(medianSteps([times(1), times(3), times(2), times(100)]), times(2.5));
    assert.throws(() => medianSteps([]), /No request/);
  });

  test('the table has a line for each step and a column for each set of requests', () => {
    const table = stepsTable([
      { title: 'the first', steps: expected },
      { title: 'median', steps: expected },
    ]);
    const lines = table.split('\n');
    assert.match(lines[0] ?? '', /^ +the first +median$/);
    assert.match(table, /^HTTP request +20\.00 ms +100 % +20\.00 ms +100 %$/m);
    assert.match(table, /^│ {2}└─ network gap +4\.00 ms +20 % +4\.00 ms +20 %$/m);
    assert.equal(lines.length, 8);
    assert.equal(new Set(lines.map(({ length }) => length)).size, 1);
  });
});

describe('the service', () => {
  let stack: Stack;
  before(async () => {
    stack = await useStack();
  });

  interface Service {
    fixture: RunningFixture;
    url: string;
    post(route: string, body: unknown): Promise<{ status: number; body: any }>;
  }

  /** With a separate collection, which is gone after the test. */
  async function startService(
    t: { after(hook: () => Promise<unknown>): void },
    collection: string,
    { preload = true, env = {} }: { preload?: boolean; env?: Record<string, string> } = {},
  ): Promise<Service> {
    const { MilvusClient } = await import('@zilliz/milvus2-sdk-node');
    const fixture = startFixture({
      file: 'samples/rag/server.js',
      preload,
      env: {
        MILVUS_ADDRESS: stack.milvusAddress,
        OTEL_SERVICE_NAME: collection,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
        RAG_COLLECTION: collection,
        PORT: '0',
        ...env,
      },
    });
    t.after(async () => {
      fixture.kill('SIGKILL');
      await fixture.ended;
      const client = new MilvusClient({ address: stack.milvusAddress });
      await client.dropCollection({ collection_name: collection });
      await client.closeConnection();
    });
    const [url] = await fixture.waitForStdout(/http:\/\/\S+/);
    return {
      fixture,
      url,
      post: async (route, body) => {
        const response = await fetch(`${url}${route}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        return { status: response.status, body: await response.json() };
      },
    };
  }

  test('a question is one trace: the request, its own steps, the search and what Milvus did', async (t) => {
    const service = 'rag_one_trace';
    const { fixture, post, url } = await startService(t, service);
    const asked = await post('/ask', { question: 'What is recall measured against?' });
    assert.equal(asked.status, 200);
    assert.match(
      asked.body.answer,
      /^It is measured against a brute-force search over the same data\. \[1\]/,
    );
    assert.equal(asked.body.sources[0].title, 'Recall');
    assert.equal(asked.body.sources.length, 4);

    const added = await post('/documents', {
      documents: [{ title: 'Lighthouse', text: `The orange lighthouse. ${'It is tall. '.repeat(60)}` }],
    });
    assert.deepEqual(added, { status: 201, body: { passages: 2 } });
    const fresh = await post('/ask', { question: 'orange lighthouse', limit: 1, fresh: true });
    assert.deepEqual(
      fresh.body.sources.map(({ title }: Passage) => title),
      ['Lighthouse'],
    );
    const health = await fetch(`${url}/healthz`);
    assert.deepEqual([health.status, await health.json()], [200, { status: 'ok' }]);

    fixture.kill('SIGTERM');
    const { stdout, stderr, code, signal } = await fixture.ended;
    assert.deepEqual({ stderr, code, signal }, { stderr: '', code: 0, signal: null });
    assert.match(stdout, /^rag_one_trace is new: 52 passages of corpus\.json are in it\n/);
    assert.match(stdout, /\nSIGTERM: closing\nclosed\n$/);

    // Between the request and its steps there are the spans of Express' layers.
    // POST /ask                POST /documents          GET /healthz
    // ├─ embed question        ├─ embed passages        └─ getLoadState rag_one_trace
    // ├─ search rag_one_trace  └─ insert rag_one_trace     └─ standalone: …/GetLoadState
    // │  └─ standalone: …/Search  └─ standalone: …/Insert
    // └─ assemble answer
    const requests = [
      ['POST /ask', ['embed question', 'search rag_one_trace > Search', 'assemble answer']],
      ['POST /documents', ['embed passages', 'insert rag_one_trace > Insert']],
      ['POST /ask', ['embed question', 'search rag_one_trace > Search', 'assemble answer']],
      ['GET /healthz', ['getLoadState rag_one_trace > GetLoadState']],
    ];
    const outlined = (spans: ReceivedSpan[]) =>
      traceTrees(spans)
        .filter(({ span }) => span.kind === 'SERVER' && span.service === service)
        .map((tree) => [tree.span.name, stepsIn(tree)]);
    const isComplete = (spans: ReceivedSpan[]) =>
      JSON.stringify(outlined(spans)) === JSON.stringify(requests);
    const spans = await stack.receiver
      .waitForSpans(isComplete, arrivalTimeoutMs, { service })
      .catch(() => stack.receiver.spans({ service }));
    assert.deepEqual(outlined(spans), requests);
    const own = spans.filter((span) => span.service === service);
    assert.ok(!JSON.stringify(own).includes('lighthouse'), 'a question or a document is in a span');
  });

  /**
   * The service's own steps and its operations, in order; an operation with the server's first span under it.
   */
  function stepsIn({ span, children }: TraceNode): string[] {
    const [served] = children.filter((child) => child.span.service === 'standalone');
    if (served) return [`${span.name} > ${served.span.name.replace(/^.*\//, '')}`];
    const below = children.flatMap(stepsIn);
    return span.scope === 'rag-sample' || span.scope === 'milvus-otel' ? [span.name, ...below] : below;
  }

  test('without the instrumentation of router, each of Express’ steps is there once', async (t) => {
    const service = 'rag_without_router';
    const env = { OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'router' };
    const { fixture, post } = await startService(t, service, { env });
    assert.equal((await post('/ask', { question: 'What is recall?' })).status, 200);
    fixture.kill('SIGTERM');
    await fixture.ended;

    // POST /ask
    // ├─ a step of Express that reads the body
    // └─ request handler
    //    ├─ embed question
    //    ├─ search rag_without_router
    //    └─ assemble answer
    const spans = await stack.receiver.waitForSpans(
      (received) => received.some(({ name }) => name === 'POST /ask'),
      arrivalTimeoutMs,
      { service },
    );
    const scopes = new Set(spans.map(({ scope }) => scope));
    assert.ok(scopes.has('@opentelemetry/instrumentation-express'));
    assert.ok(!scopes.has('@opentelemetry/instrumentation-router'));
    const handlers = spans.filter(({ name }) => name.startsWith('request handler'));
    assert.equal(handlers.length, 1);
  });

  test('it answers the same without the preload, and finds its collection again', async (t) => {
    const collection = 'rag_plain';
    const first = await startService(t, collection, { preload: false });
    const question = { question: 'What does the collector do?' };
    const { body } = await first.post('/ask', question);
    assert.match(body.answer, /^The OpenTelemetry Collector receives spans/);
    first.fixture.kill('SIGTERM');
    assert.equal((await first.fixture.ended).code, 0);

    const second = await startService(t, collection, { preload: false });
    assert.deepEqual((await second.post('/ask', question)).body, body);
    second.fixture.kill('SIGTERM');
    const { stdout } = await second.fixture.ended;
    assert.doesNotMatch(stdout, /is new/);
  });

  test('bad requests are told what is wrong, and the service goes on', async (t) => {
    const { url, post } = await startService(t, 'rag_bad_requests', { env: { OTEL_SDK_DISABLED: 'true' } });
    const bad: [string, unknown, RegExp][] = [
      ['/ask', {}, /question is missing/],
      ['/ask', { question: '  ' }, /question is missing/],
      ['/ask', { question: 'x'.repeat(1001) }, /above 1000 characters/],
      ['/ask', { question: 'a', limit: 0 }, /limit is not/],
      ['/ask', { question: 'a', limit: '4' }, /limit is not/],
      ['/ask', { question: 'a', fresh: 'yes' }, /fresh is neither/],
      ['/documents', {}, /documents is not/],
      ['/documents', { documents: [] }, /documents is not/],
      ['/documents', { documents: [{ title: 'no text' }] }, /documents is not/],
    ];
    for (const [route, body, reason] of bad) {
      const answer = await post(route, body);
      assert.equal(answer.status, 400);
      assert.match(answer.body.error, reason);
    }
    const broken = await fetch(`${url}/ask`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    assert.equal(broken.status, 400);
    const nothingNear = await post('/ask', { question: 'Who won the football match yesterday?' });
    assert.deepEqual([nothingNear.status, nothingNear.body.answer], [200, null]);
  });

  test('the load script says rate and percentiles, and ends with 1 when questions fail', async (t) => {
    const { url, fixture } = await startService(t, 'rag_load', { env: { OTEL_SDK_DISABLED: 'true' } });
    const load = (...args: string[]) => runFixture({ file: 'samples/rag/load.mjs', args });
    const short = ['--requests-per-second', '20', '--seconds', '1'];
    const { stdout, stderr, code } = await load('--url', url, ...short);
    assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
    assert.match(stdout, /^20 of 20 answered in \d+\.\d s, \d+\.\d a second\np50 [\d.]+ ms, p95 .*slowest/);

    fixture.kill('SIGTERM');
    await fixture.ended;
    const refused = await load('--url', url, ...short);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /^0 of 20 answered/);
    assert.match(refused.stderr, /^20 failed: ECONNREFUSED\n$/);
  });

  test('Ctrl-C ends the load script with the figures so far', async (t) => {
    const { url } = await startService(t, 'rag_load_ended', { env: { OTEL_SDK_DISABLED: 'true' } });
    const script = startFixture({
      file: 'samples/rag/load.mjs',
      args: ['--url', url, '--seconds', '60'],
    });
    // Nothing is written before the end: it shall have sent some.
    await sleep(1_500);
    script.kill('SIGINT');
    const { stdout, code } = await script.ended;
    assert.equal(code, 0);
    const [, answered, sent] = /^(\d+) of (\d+) answered/.exec(stdout) ?? [];
    assert.equal(answered, sent);
    assert.ok(Number(sent) > 0 && Number(sent) < 1200, stdout);
  });

  for (const [args, text] of [
    [['--seconds', 'long'], /^load: --seconds long: needs a number above 0\n\nnode load\.mjs/],
    [['--url', 'nowhere'], /^load: --url nowhere: needs a URL/],
    [['--sceonds', '3'], /^load: Unknown option '--sceonds'/],
  ] as const) {
    test(`load.mjs ${args.join(' ')} is an error with the usage`, async () => {
      const { stdout, stderr, code } = await runFixture({ file: 'samples/rag/load.mjs', args: [...args] });
      assert.deepEqual({ stdout, code }, { stdout: '', code: 2 });
      assert.match(stderr, text);
    });
  }
});

describe('npm run demo:rag', () => {
  test(
    'prints a joined trace and where the time went, and leaves nothing running',
    demoTimeout,
    async (t) => {
      // The user's settings for other apps do not reach the sample.
      const demo = runDemo(t, 'demo-rag', [], { OTEL_SERVICE_NAME: 'somebody-else', PORT: '1' });
      const code = await demo.ended;
      const { stdout, stderr } = demo.output;
      assert.equal(code, 0, `${stdout}\n${stderr}`);
      assert.match(lastLine(stdout) ?? '', /^(\d+) of \1 client traces joined by standalone$/);

      const duration = String.raw` +\d+\.\d\d ms`;
      for (const line of [
        `^rag-service: POST /ask${duration}$`,
        `^ +├─ embed question${duration}$`,
        `^ +├─ search rag_demo${duration}$`,
        `^ +│  └─ standalone: MilvusService/Search${duration}$`,
        `^ +└─ assemble answer${duration}$`,
        `Delegator-waitTSafe${duration}$`,
        '^HTTP request .*100 %',
        '^│  └─ network gap .* ms',
      ]) {
        assert.match(stdout, new RegExp(line, 'm'));
      }
      assert.match(stdout, /What is the orange lighthouse\? \(fresh\)\n +The orange lighthouse was added/);
      assert.ok(!stdout.includes('\u001b'), 'no colours into a pipe');
      const links = stdout.match(/^POST \/ask +\d+\.\d\d ms {2}file:\S+\/rag-report\.html#[0-9a-f]{32}$/gm);
      assert.equal(links?.length, 9, stdout);
      const [, file = ''] = /^Report: (\S+) /m.exec(stdout) ?? [];
      assert.match(await readFile(path.join(root, file), 'utf8'), /"Where the time of a question went"/);
      assert.deepEqual(await demo.leftovers(), []);
    },
  );

  test('with --keep the service answers until Ctrl-C', demoTimeout, async (t) => {
    const demo = runDemo(t, 'demo-rag', ['--keep']);
    await demo.waitForLine('Ctrl-C ends it all.');
    const [, viewer = '', service = ''] =
      /The traces are at (\S+), the service is at (\S+)/.exec(demo.output.stdout) ?? [];
    assert.equal((await fetch(`${service}/healthz`)).status, 200);
    assert.equal((await fetch(viewer)).status, 200);

    demo.pressCtrlC();
    assert.equal(await demo.ended, 0);
    assert.deepEqual(await demo.leftovers(), []);
    await assert.rejects(fetch(service), 'the service has ended too');
  });

  test("a collection rag_demo in the user's Milvus is left alone", demoTimeout, async (t) => {
    const { MilvusClient } = await import('@zilliz/milvus2-sdk-node');
    const { milvusAddress } = await useStack();
    const client = new MilvusClient({ address: milvusAddress });
    t.after(async () => {
      await client.dropCollection({ collection_name: 'rag_demo' });
      await client.closeConnection();
    });
    await client.createCollection({ collection_name: 'rag_demo', dimension: 4 });

    const demo = runDemo(t, 'demo-rag', [], { MILVUS_ADDRESS: milvusAddress });
    assert.equal(await demo.ended, 1);
    assert.match(demo.output.stderr, /it has a collection rag_demo, which the sample would drop\./);
    assert.equal((await client.hasCollection({ collection_name: 'rag_demo' })).value, true);
  });

  test(
    '--help tells the options, and an option that it does not know is an error',
    demoTimeout,
    async (t) => {
      const help = runDemo(t, 'demo-rag', ['--help']);
      assert.equal(await help.ended, 0);
      for (const option of ['--keep', '--help', 'MILVUS_ADDRESS']) {
        assert.ok(help.output.stdout.includes(option), option);
      }
      const mistaken = runDemo(t, 'demo-rag', ['--kepp']);
      assert.equal(await mistaken.ended, 2);
      assert.match(mistaken.output.stderr, /^demo:rag: Unknown option '--kepp'\n\nnpm run demo:rag/);
    },
  );
});
