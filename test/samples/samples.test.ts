/** The samples as a user runs them, on the real Milvus: their output, their exit, their traces. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import type { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { countJoins, type TraceNode, traceTrees } from '../../tools/pictures/trace-tree.ts';
import { type RunningFixture, runFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type Stack, useStack } from '../support/stack.ts';

const root = path.join(import.meta.dirname, '..', '..');
const arrivalTimeoutMs = 15_000;
/** Nothing listens there: it is reserved for a service that is not in use. */
const closedAddress = '127.0.0.1:1';

const quickstartOutput = (address: string) => `connected to ${address}
has quick_setup: false
dropped quick_setup
created quick_setup, dimension 5
load state: LoadStateLoaded
insert count 10
search found color_3, color_8, color_7
query read 2 rows
dropped quick_setup
closed
`;

/**
 * In the order of the calls: the operation's span, and the server's spans directly under it, each name once.
 */
const quickstartOperations = [
  ['connect default', ['Connect']],
  ['hasCollection quick_setup', ['DescribeCollection']],
  ['dropCollection quick_setup', ['DropCollection']],
  [
    'createCollection quick_setup',
    ['DescribeCollection', 'CreateCollection', 'CreateIndex', 'LoadCollection', 'GetLoadingProgress'],
  ],
  ['getLoadState quick_setup', ['GetLoadState']],
  ['insert quick_setup', ['DescribeCollection', 'Insert']],
  ['search quick_setup', ['Search']],
  ['query quick_setup', ['Query']],
  ['dropCollection quick_setup', ['DropCollection']],
];

let stack: Stack;
before(async () => {
  stack = await useStack();
});

function sampleEnv(service: string): Record<string, string> {
  return {
    MILVUS_ADDRESS: stack.milvusAddress,
    OTEL_SERVICE_NAME: service,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
  };
}

/** All spans of the service's traces, once each client call among at least `traceCount` traces is joined. */
function joinedSpans(service: string, traceCount: number): Promise<ReceivedSpan[]> {
  const isComplete = (spans: ReceivedSpan[]) => {
    const { clientTraces, unjoined } = countJoins(
      spans.filter((span) => span.kind === 'CLIENT' || span.service === 'standalone'),
      service,
    );
    return clientTraces >= traceCount && unjoined.length === 0;
  };
  return stack.receiver.waitForSpans(isComplete, arrivalTimeoutMs, { service });
}

/** An operation next to the names of the server's spans directly under it, as in quickstartOperations. */
function operationWithRpcs({ span, children }: TraceNode): [string, string[]] {
  const ofServer = children.filter((child) => child.span.service === 'standalone');
  assert.equal(ofServer.length, children.length, `${span.name} has a span of the client's own under it`);
  return [span.name, [...new Set(ofServer.map((child) => child.span.name.replace(/^.*\//, '')))]];
}

describe('quickstart', () => {
  for (const [file, preload] of [
    ['samples/quickstart/quickstart.mjs', '--import'],
    ['samples/quickstart/quickstart.cjs', '--require'],
  ] as const) {
    const name = path.basename(file);

    test(`${name} runs without the preload`, async () => {
      const result = await runFixture({ file, env: { MILVUS_ADDRESS: stack.milvusAddress } });
      assert.deepEqual(result, {
        stdout: quickstartOutput(stack.milvusAddress),
        stderr: '',
        code: 0,
        signal: null,
      });
    });

    test(`${name} under ${preload} prints the same, and each operation is a trace that the server joined`, async () => {
      const service = `sample-${name}`;
      const result = await runFixture({ file, preload, env: sampleEnv(service) });
      assert.deepEqual(result, {
        stdout: quickstartOutput(stack.milvusAddress),
        stderr: '',
        code: 0,
        signal: null,
      });

      // connect default
      // └─ standalone: MilvusService/Connect
      // …
      // insert quick_setup
      // ├─ standalone: MilvusService/DescribeCollection
      // └─ standalone: MilvusService/Insert
      // search quick_setup
      // └─ standalone: MilvusService/Search
      // …
      const trees = traceTrees(await joinedSpans(service, quickstartOperations.length));
      assert.deepEqual(trees.map(operationWithRpcs), quickstartOperations);
      for (const { span } of trees) {
        assert.equal(span.service, service);
        assert.equal(span.kind, 'CLIENT');
        assert.equal(span.status.code, 'UNSET');
      }
    });
  }
});

test('root-span has every operation, and the server’s spans for it, in one trace under test_milvus_otel', async () => {
  const service = 'sample-root-span';
  const file = 'samples/root-span/root-span.mjs';
  const result = await runFixture({ file, preload: true, env: sampleEnv(service) });
  assert.deepEqual(result, {
    stdout: quickstartOutput(stack.milvusAddress),
    stderr: '',
    code: 0,
    signal: null,
  });

  // test_milvus_otel
  // ├─ connect default
  // │  └─ standalone: MilvusService/Connect
  // ├─ hasCollection quick_setup
  // │  └─ standalone: MilvusService/DescribeCollection
  // ├─ dropCollection quick_setup
  // │  └─ standalone: MilvusService/DropCollection
  // ├─ createCollection quick_setup
  // │  ├─ standalone: MilvusService/DescribeCollection
  // │  ├─ standalone: MilvusService/CreateCollection
  // │  ├─ standalone: MilvusService/CreateIndex
  // │  ├─ standalone: MilvusService/LoadCollection
  // │  └─ standalone: MilvusService/GetLoadingProgress, until it is loaded
  // ├─ getLoadState quick_setup
  // │  └─ standalone: MilvusService/GetLoadState
  // ├─ insert quick_setup
  // │  ├─ standalone: MilvusService/DescribeCollection
  // │  └─ standalone: MilvusService/Insert
  // ├─ search quick_setup
  // │  └─ standalone: MilvusService/Search
  // ├─ query quick_setup
  // │  └─ standalone: MilvusService/Query
  // └─ dropCollection quick_setup
  //    └─ standalone: MilvusService/DropCollection
  const trees = traceTrees(await joinedSpans(service, 1));
  assert.deepEqual(
    trees.map(({ span }) => span.name),
    ['test_milvus_otel'],
  );
  const [tree] = trees;
  assert.ok(tree);
  assert.deepEqual(tree.children.map(operationWithRpcs), quickstartOperations);
  assert.equal(tree.span.kind, 'INTERNAL');
  assert.equal(tree.span.scope, 'root-span-sample');
});

test('root-span runs as a plain Milvus program without the preload', async () => {
  const { stdout, code } = await runFixture({
    file: 'samples/root-span/root-span.mjs',
    env: { MILVUS_ADDRESS: stack.milvusAddress },
  });
  assert.deepEqual({ stdout, code }, { stdout: quickstartOutput(stack.milvusAddress), code: 0 });
});

describe('express', () => {
  /** Waits until it listens; drops an earlier collection. */
  async function startService(
    env: Record<string, string>,
  ): Promise<{ fixture: RunningFixture; url: string }> {
    const sdk = await import('@zilliz/milvus2-sdk-node');
    const client: MilvusClient = new sdk.MilvusClient({ address: stack.milvusAddress });
    await client.dropCollection({ collection_name: 'docs' });
    await client.closeConnection();
    const fixture = startFixture({
      file: 'samples/express/server.js',
      preload: true,
      env: { ...env, PORT: '0' },
    });
    const [url] = await fixture.waitForStdout(/http:\/\/\S+/);
    return { fixture, url };
  }

  /** From the span up to its root. */
  function ancestors(span: ReceivedSpan, spans: ReceivedSpan[]): ReceivedSpan[] {
    const parent = spans.find(
      ({ traceId, spanId }) => traceId === span.traceId && spanId === span.parentSpanId,
    );
    return parent === undefined ? [] : [parent, ...ancestors(parent, spans)];
  }

  /**
   * The only trace whose root has this name: its spans, and the operation in it with the server's span under
   * that.
   */
  function requestTrace(rootName: string, operationName: string, spans: ReceivedSpan[]) {
    const roots = spans.filter(({ name, parentSpanId }) => name === rootName && parentSpanId === undefined);
    assert.equal(roots.length, 1, `${roots.length} roots are called ${rootName}`);
    const [requestSpan] = roots;
    const operation = spans.find(
      ({ name, traceId }) => name === operationName && traceId === requestSpan?.traceId,
    );
    assert.ok(requestSpan && operation, `${rootName} has no ${operationName}`);
    const underOperation = spans.filter(
      ({ traceId, parentSpanId }) => traceId === operation.traceId && parentSpanId === operation.spanId,
    );
    return { requestSpan, operation, underOperation };
  }

  test('a request is the root of its search, and SIGTERM ends the service cleanly with every span sent', async () => {
    const service = 'sample-express';
    const { fixture, url } = await startService(sampleEnv(service));
    const posted = await fetch(`${url}/documents`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ texts: ['a purple elephant'] }),
    });
    assert.deepEqual([posted.status, await posted.json()], [201, { inserted: 1 }]);
    const searched = await fetch(`${url}/search?q=purple`);
    const { hits } = (await searched.json()) as { hits: { text: string; score: number }[] };
    assert.equal(searched.status, 200);
    assert.equal(hits[0]?.text, 'a purple elephant');

    fixture.kill('SIGTERM');
    const { stdout, stderr, code, signal } = await fixture.ended;
    assert.deepEqual({ stderr, code, signal }, { stderr: '', code: 0, signal: null });
    assert.match(stdout, /\nSIGTERM: closing\nclosed\n$/);

    // Between request and operation there are the spans of Express' layers.
    // GET /search
    // └─ search docs
    //    └─ standalone: MilvusService/Search
    // POST /documents
    // └─ insert docs
    //    └─ standalone: MilvusService/Insert
    const spans = await joinedSpans(service, 6);
    for (const [rootName, operationName, rpc] of [
      ['GET /search', 'search docs', 'Search'],
      ['POST /documents', 'insert docs', 'Insert'],
    ] as const) {
      const { requestSpan, operation, underOperation } = requestTrace(rootName, operationName, spans);
      assert.equal(requestSpan.kind, 'SERVER');
      const above = ancestors(operation, spans);
      assert.equal(above.at(-1), requestSpan);
      assert.ok(above.every((span) => span.service === service));
      assert.deepEqual(
        underOperation.map((span) => [span.service, span.name.replace(/^.*\//, '')]),
        [['standalone', rpc]],
      );
    }
  });

  test('a request that is half sent at SIGTERM is still answered, and its spans are sent too', async () => {
    const service = 'sample-express-half-sent';
    const { fixture, url } = await startService(sampleEnv(service));
    // The interim answer proves that the service has the request: from here on it is running.
    const post: ClientRequest = request(`${url}/documents`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', expect: '100-continue', connection: 'close' },
    });
    post.flushHeaders();
    await once(post, 'continue');
    fixture.kill('SIGTERM');
    await fixture.waitForStdout(/SIGTERM: closing/);
    post.end(JSON.stringify({ texts: ['late but whole'] }));
    const [response] = (await once(post, 'response')) as [IncomingMessage];
    response.resume();
    assert.equal(response.statusCode, 201);

    const { code, signal } = await fixture.ended;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
    // POST /documents └─ insert docs └─ standalone: MilvusService/Insert
    requestTrace('POST /documents', 'insert docs', await joinedSpans(service, 5));
  });

  test('the answer to a bad request names the missing field, and the service goes on', async () => {
    const { fixture, url } = await startService({
      MILVUS_ADDRESS: stack.milvusAddress,
      OTEL_SDK_DISABLED: 'true',
    });
    const json = { 'content-type': 'application/json' };
    const answers = [
      await fetch(`${url}/search`),
      await fetch(`${url}/documents`, { method: 'POST', headers: json, body: '{"texts": []}' }),
      await fetch(`${url}/documents`, { method: 'POST', headers: json, body: '{not json' }),
      await fetch(`${url}/documents`, { method: 'POST' }),
    ];
    for (const answer of answers) {
      assert.equal(answer.status, 400);
      assert.equal(typeof ((await answer.json()) as { error: unknown }).error, 'string');
    }
    assert.equal((await fetch(`${url}/search?q=spans`)).status, 200);
    fixture.kill('SIGTERM');
    assert.equal((await fixture.ended).code, 0);
  });

  for (const PORT of ['abc', '70000', '-1']) {
    test(`PORT=${PORT} is named with the fix`, async () => {
      const { stderr, code } = await runFixture({
        file: 'samples/express/server.js',
        env: { MILVUS_ADDRESS: stack.milvusAddress, PORT },
      });
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`^PORT=${PORT} .*set it to .*\n$`));
    });
  }
});

describe('without Milvus', () => {
  for (const file of [
    'samples/quickstart/quickstart.mjs',
    'samples/quickstart/quickstart.cjs',
    'samples/root-span/root-span.mjs',
    'samples/express/server.js',
    'samples/rag/server.js',
  ]) {
    test(`${path.basename(file)} names the address and the fix in one line and exits with 1`, async () => {
      const { stderr, code } = await runFixture({ file, env: { MILVUS_ADDRESS: closedAddress } });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^No Milvus at 127\.0\.0\.1:1: start it there or set MILVUS_ADDRESS=host:port .*\n$/,
      );
    });
  }

  test('the quickstart waits five seconds for a server that never answers', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const MILVUS_ADDRESS = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const { stderr, code } = await runFixture({
      file: 'samples/quickstart/quickstart.mjs',
      env: { MILVUS_ADDRESS },
      timeoutMs: 12_000,
    });
    silent.close();
    assert.equal(code, 1);
    assert.match(stderr, /no answer within 5000 ms/);
  });
});

test('the package.json of a copied sample has all its imports', () => {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const sample of ['quickstart', 'root-span', 'express', 'rag']) {
    const folder = path.join(root, 'samples', sample);
    const { dependencies } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
    assert.equal(dependencies['milvus-otel'], `^${version}`);
    for (const file of readdirSync(folder).filter((name) => /\.[cm]?js$/.test(name))) {
      const source = readFileSync(path.join(folder, file), 'utf8');
      for (const [, name = ''] of source.matchAll(/(?:from |require\()'([^.'][^']*)'/g)) {
        if (!name.startsWith('node:')) assert.ok(name in dependencies, `${file} imports ${name}`);
      }
    }
  }
});
