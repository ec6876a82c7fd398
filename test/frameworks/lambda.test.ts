/** AWS Lambda functions under the real runtime client: spans reach the collector before the freeze. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { tried } from '../../tools/docs/tried-apps.ts';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { packInto } from '../../tools/processes/published.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { type FunctionRun, runFunction, runtimeClient } from '../support/lambda-runtime.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const register = pathToFileURL(path.join(root, 'dist/register.cjs')).href;
const packages = { '@opentelemetry/api': '1', '@zilliz/milvus2-sdk-node': '3.0.6', esbuild: '0.28.2' };

/** One folder per function, below the packages that they share. */
let functions: string;

before(async () => {
  const [folder] = await Promise.all([installed(packages), runtimeClient()]);
  functions = await mkdtemp(path.join(folder, 'function-'));
  const fixtures = path.join(root, 'test/fixtures/lambda');
  const { build } = createRequire(path.join(folder, 'any.js'))('esbuild');
  for (const [name, options] of Object.entries({
    'bundle-cjs': { format: 'cjs', outfile: 'index.js' },
    'bundle-cjs-minified': { format: 'cjs', minify: true, outfile: 'index.js' },
    'bundle-esm': { format: 'esm', outfile: 'index.mjs' },
  })) {
    await build({
      entryPoints: [path.join(fixtures, 'handler.ts')],
      bundle: true,
      platform: 'node',
      external: ['@zilliz/milvus2-sdk-node'],
      ...options,
      outfile: path.join(functions, name, options.outfile),
    });
  }
  await mkdir(path.join(functions, 'plain'));
  await cp(path.join(fixtures, 'plain.cjs'), path.join(functions, 'plain/index.js'));
  await mkdir(path.join(functions, 'plain-cjs'));
  await cp(path.join(fixtures, 'plain.cjs'), path.join(functions, 'plain-cjs/index.cjs'));
  await mkdir(path.join(functions, 'plain-esm/src'), { recursive: true });
  await cp(path.join(fixtures, 'plain.mjs'), path.join(functions, 'plain-esm/src/index.js'));
  await writeFile(path.join(functions, 'plain-esm/package.json'), '{ "type": "module" }');
});
after(() => rm(functions, { recursive: true, force: true }));

let count = 0;

interface Invoked extends FunctionRun {
  service: string;
  arrived: () => ReturnType<typeof runs.receiver.spans>;
}

async function invoke(
  name: string,
  handler: string,
  events: unknown[],
  {
    env = {},
    preload = true,
    nodePath,
  }: { env?: Record<string, string>; preload?: boolean; nodePath?: string } = {},
): Promise<Invoked> {
  const service = `lambda-${++count}`;
  const arrived = () => runs.receiver.spans().filter((span) => span.service === service);
  const run = await runFunction({
    folder: path.join(functions, name),
    handler,
    events,
    onFreeze: () => arrived().length,
    ...(nodePath === undefined ? {} : { nodePath }),
    env: {
      MILVUS_ADDRESS: runs.milvus.address,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
      OTEL_SERVICE_NAME: service,
      ...(preload ? { NODE_OPTIONS: `--import ${register}` } : {}),
      ...env,
    },
  });
  return { ...run, service, arrived };
}

const events = [{ question: 'a' }, { question: 'b' }];
const answers = [
  { question: 'a', found: 5 },
  { question: 'b', found: 5 },
];

/** connect default    ask └─ search docs    ask └─ search docs */
const traces = ['connect default', 'ask', '  search docs', 'ask', '  search docs'];

function assertAllSent(run: Invoked): void {
  // No span arrived while the function was frozen, so all arrived before.
  for (const { start, end } of run.freezes) assert.equal(start, end, 'a span arrived in the freeze');
  assert.deepEqual(
    run.freezes.map(({ start }) => start),
    [3, 5],
  );
  const spans = run.arrived();
  assert.deepEqual(outline(spans).sort(), [...traces].sort());
  assert.deepEqual(
    outline(spans)
      .slice(-2)
      .map((line) => line.trim()),
    tried('AWS Lambda').seen,
  );
  const search = runs.milvus.calls().findLast(({ method }) => method === 'Search');
  const [, traceId, spanId] = String(search?.metadata.traceparent).split('-');
  const caller = spans.find((span) => span.traceId === traceId && span.spanId === spanId);
  assert.equal(caller?.name, 'search docs');
}

describe('all spans of an invocation are at the collector before the freeze', () => {
  for (const [what, name, handler] of [
    ["esbuild's CommonJS", 'bundle-cjs', 'index.handler'],
    ["esbuild's CommonJS, minified", 'bundle-cjs-minified', 'index.handler'],
    ["esbuild's ES module", 'bundle-esm', 'index.handler'],
    ['a plain function', 'plain', 'index.handler'],
    ['a plain function in a .cjs', 'plain-cjs', 'index.handler'],
    ['a plain ES module in a folder', 'plain-esm', 'src/index.handler'],
    ['a handler in an object', 'plain', 'index.nested.ask'],
    ['a handler that only passes on a promise', 'plain', 'index.promise'],
  ] as const) {
    test(`of ${what}, and nothing else differs`, async () => {
      const untraced = await invoke(name, handler, events, { preload: false });
      const traced = await invoke(name, handler, events);
      assert.deepEqual(traced.answers, answers);
      assert.deepEqual(
        [traced.answers, traced.stdout, traced.stderr],
        [untraced.answers, untraced.stdout, untraced.stderr],
      );
      assertAllSent(traced);
    });
  }

  for (const version of ['22.15.0', '22', '26']) {
    for (const name of ['bundle-cjs', 'bundle-esm']) {
      test(`of ${name} on Node ${version}`, async () => {
        const nodePath = await nodeBinary(version);
        const env = { AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${version.split('.')[0]}.x` };
        const traced = await invoke(name, 'index.handler', events, { nodePath, env });
        assert.deepEqual([traced.answers, traced.stderr], [answers, '']);
        assertAllSent(traced);
      });
    }
  }

  test('of a handler that answers without waiting', async () => {
    const traced = await invoke('plain', 'index.immediate', events);
    assert.deepEqual(traced.answers, events);
    for (const { start, end } of traced.freezes) assert.equal(start, end);
    const requests = traced.arrived().filter(({ name }) => name === 'ask');
    assert.equal(requests.length, 2);
  });

  test('of a handler that streams its answer, without spans of the stream itself', async () => {
    const traced = await invoke('plain', 'index.streaming', events);
    assert.deepEqual(traced.answers, answers);
    assertAllSent(traced);
  });

  test('of an invocation that fails, which fails as it does without the preload', async () => {
    const failing = [{ question: 'fail' }];
    const untraced = await invoke('bundle-cjs', 'index.handler', failing, { preload: false });
    const traced = await invoke('bundle-cjs', 'index.handler', failing);
    const shown = ([answer]: unknown[]) => {
      const { errorType, errorMessage } = answer as Record<string, unknown>;
      return { errorType, errorMessage };
    };
    assert.deepEqual(shown(traced.answers), { errorType: 'Error', errorMessage: 'no such question' });
    assert.deepEqual(shown(traced.answers), shown(untraced.answers));
    assert.equal(traced.freezes[0]?.start, traced.freezes[0]?.end);
    const request = traced.arrived().find(({ name }) => name === 'ask');
    assert.equal(request?.status.code, 'ERROR');
  });
});

test('the sample, built as documented, is traced by its layer, with the variables of its template', async () => {
  const folder = await mkdtemp(path.join(functions, 'sample-'));
  await cp(path.join(root, 'samples/lambda'), folder, { recursive: true });
  await symlink(path.join(functions, '../node_modules'), path.join(folder, 'node_modules'));
  const { tarball } = await packInto(folder);
  await promisify(execFile)(process.execPath, ['build.mjs', tarball], {
    cwd: folder,
    env: { ...process.env, npm_config_prefer_offline: 'true' },
  });
  const template = parse(await readFile(path.join(folder, 'template.yaml'), 'utf8'), { logLevel: 'error' });
  const { Handler, CodeUri, Environment } = template.Resources.SearchFunction.Properties;
  const { ContentUri } = template.Resources.TracingLayer.Properties;
  const NODE_OPTIONS = Environment.Variables.NODE_OPTIONS.replace(
    '/opt/',
    `${path.join(folder, ContentUri)}/`,
  );
  const traced = await invoke(
    path.join(path.basename(folder), CodeUri),
    Handler,
    [{ vector: [1, 0, 0, 0] }],
    {
      env: { NODE_OPTIONS },
    },
  );
  assert.equal((traced.answers as { results: unknown[] }[])[0]?.results.length, 5);
  assert.equal(traced.stderr, '');
  assert.deepEqual(outline(traced.arrived()).sort(), ['  search docs', 'ask', 'connect default']);
});

test('an event that is null reaches the handler as null', async () => {
  const { answers } = await invoke('plain', 'index.handler', [null]);
  assert.deepEqual(answers, [{ found: 5 }]);
});

test('an event with a traceparent continues its trace', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
  const traced = await invoke('bundle-esm', 'index.handler', [{ headers }]);
  const request = traced.arrived().find(({ name }) => name === 'ask');
  assert.deepEqual([request?.traceId, request?.parentSpanId], [traceId, 'b7ad6b7169203331']);
});

test('the service has the name of the function by default', async () => {
  const { arrived: _, ...run } = await invoke('plain', 'index.handler', [{}], {
    env: { OTEL_SERVICE_NAME: '' },
  });
  assert.equal(run.stderr, '');
  const request = runs.receiver.spans().findLast(({ name }) => name === 'ask');
  assert.equal(request?.service, 'ask');
});

test('a collector that does not answer delays an invocation by the bound at most, without failure', async () => {
  // Reserved for documentation: nothing answers there.
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://192.0.2.1:4317', OTEL_NODE_FLUSH_TIMEOUT: '300' };
  const { answers: given } = await invoke('plain', 'index.handler', events, { env });
  assert.deepEqual(given, answers);
});
