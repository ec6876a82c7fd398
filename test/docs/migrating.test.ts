/** docs/migrating.md: each row of its table, checked by runs of the stock preload and this one. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type StubMilvus, startStubMilvus } from '../../bench/stub-milvus.ts';
import { readSettings } from '../../src/config/settings.ts';
import { installed } from '../../tools/processes/installed.ts';
import { type FixtureResult, runFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import { startGrpcWithLimit } from '../../tools/reliability/collectors.ts';
import { type ReceivedSpan, type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { startScriptedMilvus } from '../differential/scripted-milvus.ts';
import { outline } from '../preload/runs.ts';
import { ensureDist } from '../support/dist.ts';
import { placeProgram } from '../support/traced-app.ts';

const root = path.join(import.meta.dirname, '..', '..');
const page = readFileSync(path.join(root, 'docs', 'migrating.md'), 'utf8');
const stock = '@opentelemetry/auto-instrumentations-node/register';
const searches = 'test/fixtures/searches.mjs';
const file = 'test/fixtures/search-then-exit.mjs';
/** As in test/ecosystem/loggers.test.ts, which then shares their installation. */
const loggers = { pino: '10.4.0', winston: '3.19.0', bunyan: '2.0.5' };
/** For spans that a program sent before it exited. */
const arrivalTimeoutMs = 10_000;

let milvus: StubMilvus;
before(async () => {
  await ensureDist();
  milvus = await startStubMilvus();
});
after(() => milvus.stop());

interface Run extends Omit<FixtureResult, 'signal'> {
  signal: NodeJS.Signals | null;
  spans: ReceivedSpan[];
  /** In the order of their start, indented. */
  names: string[];
  /** `grpc traces`, `http metrics`, …: transport and signal of the requests, each once, sorted. */
  signals: string[];
}

type Preload = 'stock' | 'ours' | 'none';

interface RunOptions {
  file?: string;
  args?: string[];
  env?: Record<string, string>;
  kill?: { signal: NodeJS.Signals; afterStdout: RegExp };
  /** Spans to wait for. Default: one, or none if the program sends none. */
  count?: number;
  /** Given to --import instead of a preload of the table. */
  imports?: string[];
}

const finished = new Map<string, Promise<Run>>();

/** Runs a program under a preload, with a separate collector; the same run is not repeated. */
function run(preload: Preload, options: RunOptions = {}): Promise<Run> {
  const key = JSON.stringify([preload, options]);
  const known = finished.get(key) ?? runOnce(preload, options);
  finished.set(key, known);
  return known;
}

async function runOnce(preload: Preload, options: RunOptions): Promise<Run> {
  const { file = searches, args, env = {}, kill, count = 1, imports = [] } = options;
  const receiver = await startReceiver();
  try {
    const overHttp = env.OTEL_EXPORTER_OTLP_PROTOCOL?.startsWith('http') ?? preload !== 'ours';
    const modules = preload === 'stock' ? [stock, ...imports] : imports;
    const result = await runFixture({
      file,
      args,
      kill,
      preload: preload === 'ours',
      env: {
        MILVUS_ADDRESS: milvus.address,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${overHttp ? receiver.httpPort : receiver.grpcPort}`,
        NODE_OPTIONS: modules.map((name) => `--import=${name}`).join(' '),
        ...env,
      },
    });
    if (count > 0) await receiver.waitForSpans(({ length }) => length >= count, arrivalTimeoutMs);
    const spans = receiver.spans();
    return { ...result, spans, names: outline(spans), signals: signalsOf(receiver) };
  } finally {
    await receiver.stop();
  }
}

function signalsOf(receiver: Receiver): string[] {
  const found = receiver.requests().map(({ transport, path: where }) => {
    const [signal] = /traces?(?=Service|$)|metrics(?=Service|$)|logs(?=Service|$)/i.exec(where) ?? [where];
    return `${transport} ${signal.toLowerCase().replace(/^trace$/, 'traces')}`;
  });
  return [...new Set(found)].sort();
}

/** Variables in the page's last column, in the row of this name. */
function oldBehaviour(row: string): Record<string, string> {
  const cell =
    rows()
      .find(([name]) => name === row)
      ?.at(-1) ?? '';
  return Object.fromEntries(
    Array.from(cell.matchAll(/`([A-Z_]+)=([^`]+)`/g), ([, name = '', value = '']) => [name, value]),
  );
}

/** Cells of the page's table. */
function rows(): string[][] {
  const [, table = ''] = /<!-- rows:start -->\n([\s\S]*)<!-- rows:end -->/.exec(page) ?? [];
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const resourceKeys = ({ spans }: Run) => Object.keys(spans[0]?.resource ?? {}).sort();
const serviceOf = ({ spans }: Run) => spans[0]?.resource['service.name'];
const clouds = 'OTEL_NODE_RESOURCE_DETECTORS';
/** Detectors without requests: the stock preload's default waits for clouds that are not there. */
const quick = { [clouds]: 'env,host,process' };
const operations = [
  'connect default',
  'hasCollection quick_setup',
  'insert quick_setup',
  'search quick_setup',
  'query quick_setup',
];

/** Name of the row → its check. */
const checks: Record<string, () => Promise<void>> = {
  async Protocol() {
    const env = oldBehaviour('Protocol');
    assert.deepEqual((await run('stock', { env: { ...quick, OTEL_METRICS_EXPORTER: 'none' } })).signals, [
      'http traces',
    ]);
    assert.deepEqual((await run('ours')).signals, ['grpc traces']);
    assert.deepEqual((await run('ours', { env })).signals, ['http traces']);
  },
  async Metrics() {
    assert.ok((await run('stock', { env: quick })).signals.includes('http metrics'));
    assert.deepEqual((await run('ours')).signals, ['grpc traces']);
    const old = await run('ours', { env: oldBehaviour('Metrics') });
    assert.deepEqual(old.signals, ['grpc metrics', 'grpc traces']);
  },
  async Logs() {
    // CommonJS: the stock preload does not see a logger that an ES module imports.
    const file = await placeProgram('logs.cjs', await installed(loggers));
    const options = { file, count: 2 };
    assert.ok((await run('stock', { ...options, env: quick })).signals.includes('http logs'));
    assert.deepEqual((await run('ours', options)).signals, ['grpc traces']);
    const old = await run('ours', { ...options, env: oldBehaviour('Logs') });
    assert.deepEqual(old.signals, ['grpc logs', 'grpc traces']);
  },
  async 'Service name'() {
    assert.match(String(serviceOf(await run('stock', { env: quick }))), /^unknown_service:.*node$/);
    assert.equal(serviceOf(await run('ours')), 'milvus-otel');
    const env = oldBehaviour('Service name');
    assert.equal(serviceOf(await run('ours', { env })), 'unknown_service:node');
  },
  async Resource() {
    const [before, now] = [await run('stock'), await run('ours')];
    for (const key of ['process.command_args', 'os.type', 'service.instance.id']) {
      assert.ok(resourceKeys(before).includes(key), `${key} is not in the stock preload's resource`);
      assert.ok(!resourceKeys(now).includes(key), key);
    }
    for (const key of ['host.name', 'process.pid']) assert.ok(resourceKeys(now).includes(key), key);
    const old = await run('ours', { env: oldBehaviour('Resource') });
    assert.deepEqual(resourceKeys(old), resourceKeys(before));
  },
  async 'Sockets and pools'() {
    const [before, now] = [await run('stock', { env: quick }), await run('ours')];
    for (const name of ['tcp.connect', 'generic-pool.acquire'])
      assert.ok(
        before.names.some((line) => line.trim() === name),
        `no ${name}`,
      );
    assert.deepEqual(now.names, operations);
    const [, list = ''] = /for instance `([a-z,-]+)`/.exec(rowNamed('Sockets and pools')) ?? [];
    // An operation suppresses them, so the Milvus instrumentation must be off to see them all again.
    const old = await run('ours', {
      env: { ...oldBehaviour('Heartbeats'), OTEL_NODE_ENABLED_INSTRUMENTATIONS: list },
    });
    assert.deepEqual(old.names, before.names);
  },
  async 'Milvus calls'() {
    const grpcNames = ({ names }: Run) =>
      names.map((line) => line.trim()).filter((name) => /^grpc\./.test(name));
    const [before, now] = [await run('stock', { env: quick }), await run('ours')];
    assert.ok(grpcNames(before).includes('grpc.milvus.proto.milvus.MilvusService/Search'));
    assert.deepEqual(now.names, operations);
    const { OTEL_NODE_DISABLED_INSTRUMENTATIONS = '' } = oldBehaviour('Milvus calls');
    const old = await run('ours', { env: { OTEL_NODE_DISABLED_INSTRUMENTATIONS } });
    assert.deepEqual(grpcNames(old), grpcNames(before));
    const { OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS = '' } = oldBehaviour('Milvus calls');
    const both = await run('ours', { env: { OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS } });
    // search quick_setup └─ MilvusService/Search
    const search = both.names.indexOf('search quick_setup');
    assert.equal(both.names[search + 1], '  milvus.proto.milvus.MilvusService/Search');
  },
  async Heartbeats() {
    const beats = ({ names }: Run) => names.filter((line) => line.includes('Heartbeat')).length;
    assert.ok(beats(await run('stock', { env: quick })) > 0);
    assert.equal(beats(await run('ours')), 0);
    assert.ok(beats(await run('ours', { env: oldBehaviour('Heartbeats') })) > 0);
  },
  async 'Failures in answers'() {
    const refusing = await startScriptedMilvus();
    const options = { file: 'test/fixtures/refused.mjs', count: 3 };
    const env = { MILVUS_ADDRESS: refusing.addresses['bad status later'] };
    const queryStatus = ({ spans }: Run) =>
      spans.find(({ name }) => /^query |MilvusService\/Query$/.test(name))?.status;
    try {
      const before = await run('stock', { ...options, env: { ...env, ...quick } });
      assert.equal(queryStatus(before)?.code, 'UNSET');
      const now = await run('ours', { ...options, env });
      assert.equal(queryStatus(now)?.code, 'ERROR');
      assert.match(queryStatus(now)?.message ?? '', /^collection not found/);
      const refused = now.spans.find(({ name }) => name.startsWith('query '));
      assert.equal(refused?.attributes['db.response.status_code'], '100');
      const old = await run('ours', { ...options, env: { ...env, ...oldBehaviour('Failures in answers') } });
      assert.equal(queryStatus(old)?.code, 'UNSET');
    } finally {
      refusing.stop();
    }
  },
  async 'ES modules'() {
    const file = 'test/fixtures/express-route.mjs';
    const served = ({ spans }: Run) => spans.find(({ kind }) => kind === 'SERVER')?.name;
    assert.equal(served(await run('stock', { file, count: 2, env: quick })), 'GET');
    assert.equal(served(await run('ours', { file, count: 2 })), 'GET /hello/:name');
    const NODE_OPTIONS = '--experimental-loader=@opentelemetry/instrumentation/hook.mjs';
    const flagged = await run('ours', { file, count: 2, env: { NODE_OPTIONS } });
    assert.equal(served(flagged), 'GET /hello/:name');
    assert.equal(flagged.spans.filter(({ kind }) => kind === 'SERVER').length, 1);
  },
  async 'Sudden exits'() {
    for (const [args, kill] of [
      [['exit'], undefined],
      [['throw'], undefined],
      [['wait'], { signal: 'SIGINT', afterStdout: /ready/ }],
    ] as const) {
      const options = { file, args: [...args], kill };
      const before = await run('stock', { ...options, count: 0, env: quick });
      assert.deepEqual(before.spans, [], `the stock preload keeps the spans of ${args}`);
      const now = await run('ours', { ...options, count: 2 });
      assert.deepEqual(now.names, ['connect default', 'search quick_setup']);
      assert.deepEqual([now.code, now.signal], [before.code, before.signal]);
      const old = await run('ours', { ...options, count: 0, env: oldBehaviour('Sudden exits') });
      assert.deepEqual(old.spans, [], `${args} still sends`);
    }
  },
  async SIGTERM() {
    const receiver = await startReceiver();
    const fixture = startFixture({
      file,
      args: ['wait'],
      env: {
        MILVUS_ADDRESS: milvus.address,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.httpPort}`,
        NODE_OPTIONS: `--import=${stock}`,
        ...quick,
      },
    });
    await fixture.waitForStdout(/ready/);
    fixture.kill('SIGTERM');
    await receiver.waitForSpans(({ length }) => length > 0, arrivalTimeoutMs);
    const stillRuns = Symbol('still runs');
    const ending = await Promise.race([
      fixture.ended,
      new Promise((resolve) => setTimeout(resolve, 2_000, stillRuns)),
    ]);
    fixture.kill('SIGKILL');
    await fixture.ended;
    await receiver.stop();
    assert.equal(ending, stillRuns);

    const kill = { signal: 'SIGTERM', afterStdout: /ready/ } as const;
    const now = await run('ours', { file, args: ['wait'], kill, count: 2 });
    assert.deepEqual([now.code, now.signal], [null, 'SIGTERM']);
  },
  async Queue() {
    assert.equal(readSettings({}).maxQueueSize, 8_192);
    assert.equal(readSettings(oldBehaviour('Queue')).maxQueueSize, 2_048);
  },
  async 'Large spans'() {
    const receiver = await startReceiver();
    // The gRPC limit of collectors; 512 of these spans are larger.
    const collector = await startGrpcWithLimit(receiver.grpcPort, 4 * 1_024 * 1_024);
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    };
    const options = { file: 'test/fixtures/large-spans.mjs', args: ['600', '10', '1'], env, count: 0 };
    try {
      await run('stock', { ...options, env: { ...env, OTEL_SERVICE_NAME: 'stock' } });
      await run('ours', { ...options, env: { ...env, OTEL_SERVICE_NAME: 'ours' } });
      const arrived = (await receiver.waitForSpans(({ length }) => length > 600, arrivalTimeoutMs)).map(
        ({ service }) => service,
      );
      assert.equal(arrived.filter((service) => service === 'ours').length, 601);
      assert.equal(arrived.filter((service) => service === 'stock').length, 601 - 512);
    } finally {
      await collector.stop();
      await receiver.stop();
    }
  },
  async 'OTEL_LOG_LEVEL=info'() {
    const env = { OTEL_LOG_LEVEL: 'info' };
    const app = 'has true, inserted 1, found 5, queried 5\n';
    const before = await run('stock', { env: { ...env, ...quick } });
    assert.notEqual(before.stdout, app);
    assert.ok(before.stdout.includes('OpenTelemetry'));
    const now = await run('ours', { env });
    assert.equal(now.stdout, app);
    assert.match(now.stderr, /^milvus-otel: Started \S+: service/);
  },
};

function rowNamed(name: string): string {
  return (
    rows()
      .find(([first]) => first === name)
      ?.join(' | ') ?? ''
  );
}

test('every row of the table is checked here, and nothing else', () => {
  assert.deepEqual(
    rows().map(([name]) => name),
    Object.keys(checks),
    'a row that is new in docs/migrating.md needs a check of the same name in this file',
  );
});

describe('the table', { concurrency: 2 }, () => {
  for (const [name, check] of Object.entries(checks)) test(`is right about ${name}`, check);
});

describe('the page’s code', () => {
  let folder: string;
  before(async () => {
    // Inside the repository, because the code imports its packages.
    folder = await mkdtemp(path.join(root, 'test', 'docs', '.page-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** The code block that begins with a comment naming this file, as that file. */
  async function written(name: string): Promise<string> {
    const blocks = Array.from(page.matchAll(/```js\n([\s\S]*?)```/g), ([, code = '']) => code);
    const code = blocks.find((block) => block.startsWith(`// ${name}:`));
    assert.ok(code, `docs/migrating.md has no code for ${name}`);
    const file = path.join(folder, name);
    await writeFile(file, code);
    return file;
  }

  for (const file of [searches, 'test/fixtures/searches.cjs']) {
    test(`an app's own NodeSDK has Milvus operations by one more instrumentation: ${file}`, async () => {
      const imports = [await written('instrumentation.mjs')];
      const { names, stderr } = await run('none', { file, imports, count: 5, env: quick });
      // The operations, and no spans of gRPC or pools.
      const own = names.filter((name) => !/^ *tcp\.connect$/.test(name));
      assert.deepEqual({ own, stderr }, { own: operations, stderr: '' });
    });

    test(`another preload has them by this one after it, and a line names the sender: ${file}`, async () => {
      const imports = ['milvus-otel/register'];
      const { names, stderr } = await run('stock', { file, imports, count: 5, env: quick });
      assert.deepEqual(
        names.filter((name) => !/^ *tcp\.connect$/.test(name)),
        operations,
      );
      assert.match(stderr, /^milvus-otel: .*\n$/);
    });
  }
});
