/** Twice in one process, or with another SDK: one provider, one set of spans, one line names the sender. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'rolldown';
import { outline, useRuns } from './runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const stockFolder = path.join(root, 'node_modules/@opentelemetry/auto-instrumentations-node');
const printed = 'has true, inserted 1, found 5, queried 5\n';
/** The stock SDKs' defaults that would try to send elsewhere, ask clouds, or add spans of sockets. */
const TRACES_ONLY = {
  OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
  OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process',
  OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'net,dns,fs,generic-pool',
};
const STARTED_BEFORE =
  /^milvus-otel: Two OpenTelemetry SDKs found: the one that started first [^\n]* load it first or alone\.\n$/;
const STARTED_AFTER =
  /^milvus-otel: Two OpenTelemetry SDKs found: milvus-otel exports [^\n]*milvus-otel\/instrumentation\.\n$/;

// GET (fetch)
// └─ GET (server)
//    ├─ connect default
//    └─ search quick_setup
// GET
// └─ GET
//    └─ search quick_setup
const WEB_APP = [
  'GET',
  '  GET',
  '    connect default',
  '    search quick_setup',
  'GET',
  '  GET',
  '    search quick_setup',
];

let stock: string;
before(async () => {
  const { exports } = JSON.parse(await readFile(path.join(stockFolder, 'package.json'), 'utf8'));
  const entryPoint = exports['./register'];
  stock = path.join(
    stockFolder,
    entryPoint.require?.default ?? entryPoint.require ?? entryPoint.default ?? entryPoint,
  );
});

const entryPoint = path.join(root, 'dist/register.cjs');
/** The preloads in this order, all by --import: Node loads those of --require before. */
const preloads = (...files: string[]) => ({
  NODE_OPTIONS: files.map((file) => `--import ${JSON.stringify(file)}`).join(' '),
});

describe('with another SDK', { concurrency: 2 }, () => {
  test('the stock preload before ours sends the spans, and Milvus is in them', async () => {
    const { service, stdout, stderr, code } = await runs.run({
      file: 'test/fixtures/web-app.mjs',
      preload: false,
      env: { ...TRACES_ONLY, ...preloads(stock, entryPoint) },
    });
    assert.deepEqual({ stdout, code }, { stdout: '5\n5\n', code: 0 });
    assert.match(stderr, STARTED_BEFORE);
    assert.deepEqual(outline(await runs.spans(service, 7)), WEB_APP);
  });

  test('the stock preload after ours adds its instrumentations, and no second span', async () => {
    const { service, stdout, stderr, code } = await runs.run({
      file: 'test/fixtures/web-app.mjs',
      preload: false,
      env: { ...TRACES_ONLY, ...preloads(entryPoint, stock) },
    });
    assert.deepEqual({ stdout, code }, { stdout: '5\n5\n', code: 0 });
    assert.match(stderr, STARTED_AFTER);
    assert.deepEqual(outline(await runs.spans(service, 7)), WEB_APP);
  });

  test('an SDK that the app starts itself, as an ES module, exports nothing', async () => {
    const { service, stdout, stderr, code } = await runs.run({
      file: 'test/fixtures/own-sdk.mjs',
      env: TRACES_ONLY,
    });
    assert.deepEqual({ stdout, code }, { stdout: '5\n5\n', code: 0 });
    assert.match(stderr, STARTED_AFTER);
    assert.deepEqual(outline(await runs.spans(service, 7)), WEB_APP);
  });

  test('an SDK that the app starts itself, in CommonJS, has its spans exported by the preload', async () => {
    const file = 'test/fixtures/own-sdk.cjs';
    assert.equal((await runs.run({ file, preload: false, env: TRACES_ONLY })).stdout, 'own exporter: 1\n');
    const { service, stdout, stderr, code } = await runs.run({ file, env: TRACES_ONLY });
    assert.deepEqual({ stdout, code }, { stdout: 'own exporter: 0\n', code: 0 });
    assert.match(stderr, STARTED_AFTER);
    assert.deepEqual(outline(await runs.spans(service, 1)), ['own']);
  });

  test('an SDK inside the bundle of the app, with the API, is noticed too', async () => {
    const folder = await mkdtemp(path.join(root, '.cache/bundle-'));
    try {
      const file = path.join(folder, 'app.cjs');
      await build({
        input: path.join(root, 'test/fixtures/own-sdk.cjs'),
        platform: 'node',
        output: { file, format: 'cjs', codeSplitting: false },
        logLevel: 'silent',
      });
      const { service, stdout, stderr, code } = await runs.run({ file, env: TRACES_ONLY });
      assert.deepEqual({ stdout, code }, { stdout: 'own exporter: 0\n', code: 0 });
      assert.match(stderr, STARTED_AFTER);
      assert.deepEqual(outline(await runs.spans(service, 1)), ['own']);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('an app that turns the API off keeps its traces whole', async () => {
    const { service, stdout, stderr, code } = await runs.run({ file: 'test/fixtures/api-turned-off.mjs' });
    assert.deepEqual({ stdout, stderr, code }, { stdout: 'true\ntrue\ntrue\n', stderr: '', code: 0 });
    const spans = await runs.spans(service, 10);
    const request = ['GET', '  GET', '    search quick_setup'];
    assert.deepEqual(outline(spans), ['connect default', ...request, ...request, ...request]);
  });

  test('an app that registers its own SDK instead of the preload’s exports its spans and those of Milvus', async () => {
    const file = 'test/fixtures/own-sdk-instead.cjs';
    const { stdout, stderr, code } = await runs.run({ file, env: TRACES_ONLY });
    assert.deepEqual(
      { stdout, code },
      { stdout: 'child in own\nconnect default in own\nown is a root\n', code: 0 },
    );
    assert.match(
      stderr,
      /^milvus-otel: Two OpenTelemetry SDKs found: the app's SDK has replaced milvus-otel [^\n]*\n$/,
    );
  });

  test('an app’s own instrumentations are logged only at info', async () => {
    const { stderr } = await runs.run({
      file: 'test/fixtures/own-sdk.mjs',
      env: { ...TRACES_ONLY, OTEL_LOG_LEVEL: 'info' },
    });
    assert.match(stderr, /^milvus-otel: Using the app's instrumentation http instead/m);
    assert.doesNotMatch(stderr, /instrumentation milvus/);
  });
});

describe('loaded twice', { concurrency: 2 }, () => {
  let copy: string;
  before(async () => {
    // Inside the repository, so that it finds the app's packages.
    copy = await mkdtemp(path.join(root, '.cache/copy-'));
    await cp(path.join(root, 'dist'), copy, { recursive: true });
  });
  after(() => rm(copy, { recursive: true, force: true }));

  test('from the same path, nothing is logged and there is one set of spans', async () => {
    const { service, ...result } = await runs.run({
      file: 'test/fixtures/searches.mjs',
      preload: '--require',
      env: preloads(entryPoint, entryPoint),
    });
    assert.deepEqual(result, { stdout: printed, stderr: '', code: 0, signal: null });
    await runs.spans(service, 5);
  });

  for (const way of ['--import', '--require'] as const) {
    test(`from two copies, by NODE_OPTIONS and ${way}, one traces and one line names both`, async () => {
      const other = path.join(copy, 'register.cjs');
      const { service, stdout, stderr, code } = await runs.run({
        file: 'test/fixtures/searches.mjs',
        preload: way,
        env: { NODE_OPTIONS: `${way} ${other}` },
      });
      assert.deepEqual({ stdout, code }, { stdout: printed, code: 0 });
      assert.equal(
        stderr,
        `milvus-otel: Loaded twice: using ${other}, ignoring ${entryPoint}. Load only one.\n`,
      );
      await runs.spans(service, 5);
    });
  }

  test('from two copies in an app with a worker thread, the line is logged once', async () => {
    const { service, stderr } = await runs.run({
      file: 'test/fixtures/worker.mjs',
      env: preloads(path.join(copy, 'register.cjs')),
    });
    assert.match(stderr, /^milvus-otel: Loaded twice[^\n]*\n$/);
    await runs.spans(service, 5);
  });
});
