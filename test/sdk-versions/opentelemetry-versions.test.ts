/** Apps with OpenTelemetry 1, 2 and 3, each installed from npm together with the packed package. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { npm } from '../../tools/processes/npm.ts';
import { packInto } from '../../tools/processes/published.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { ensureDist } from '../support/dist.ts';

const runs = useRuns();
const programs = path.join(import.meta.dirname, '../fixtures/sdk-versions');

/** Packages of the app, and the version of the API that it then shares with milvus-otel. */
const APPS: [what: string, packages: string[], api: RegExp][] = [
  ['1.13, with the oldest supported API', ['sdk-node@0.39.1', 'api@1.4.1'], /^1\.4\.1$/],
  ['1.30', ['sdk-node@0.57.2'], /^1\.9\./],
  ['2.12', ['sdk-node@0.223.0'], /^1\.9\./],
  ['3.1', ['sdk-node@0.301.0'], /^1\.1\d\./],
];
/** What an SDK sends by itself. */
const ONLY_TRACES = {
  OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  OTEL_TRACES_EXPORTER: 'otlp',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
};
const PRELOAD = ['--import', 'milvus-otel/register'];

// connect default
// work
// └─ search quick_setup
const SPANS = ['connect default', 'work', '  search quick_setup'];

let folder: string;
let tarball: string;

before(async () => {
  await ensureDist();
  folder = await mkdtemp(path.join(await realpath(os.tmpdir()), 'milvus-otel-versions-'));
  ({ tarball } = await packInto(folder));
});

after(() => rm(folder, { recursive: true, force: true }));

async function install(packages: string[]): Promise<string> {
  const app = path.join(folder, packages.join('-').replaceAll('@', '-'));
  await mkdir(app);
  await writeFile(path.join(app, 'package.json'), '{ "name": "my-shop", "private": true }');
  const scoped = packages.map((name) => `@opentelemetry/${name}`);
  const others = ['@zilliz/milvus2-sdk-node@3.0.6', 'pino@10', tarball];
  const options = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', app];
  console.error(`Installing ${scoped.join(' and ')} with the package into a separate app …`);
  await npm(['install', ...options, ...scoped, ...others], { cwd: app });
  await cp(programs, app, { recursive: true });
  return app;
}

/** Runs the app with these options of Node. */
const run = (app: string, nodeArgs: string[], env: Record<string, string> = {}) =>
  runs.run({
    file: path.join(app, 'app.mjs'),
    cwd: app,
    preload: false,
    nodeArgs,
    env: { ...ONLY_TRACES, ...env },
  });

/** Asserts the spans of the only run of a service, and that the server got the context of the search. */
async function assertJoined(service: string): Promise<void> {
  const spans = await runs.spans(service, SPANS.length);
  assert.deepEqual(outline(spans), SPANS);
  const search = spans.find(({ name }) => name === 'search quick_setup');
  const sent = runs.milvus.calls().flatMap(({ metadata }) => metadata.traceparent ?? []);
  assert.ok(
    sent.includes(`00-${search?.traceId}-${search?.spanId}-01`),
    `the context of the search in ${sent.join(' ')}`,
  );
}

for (const [what, packages, apiVersion] of APPS)
  describe(`in an app with OpenTelemetry ${what}`, () => {
    let app: string;
    before(async () => {
      app = await install(packages);
    });

    test('the app and the package share one copy of the API', async () => {
      const { version } = JSON.parse(
        await readFile(path.join(app, 'node_modules/@opentelemetry/api/package.json'), 'utf8'),
      );
      assert.match(version, apiVersion);
      await assert.rejects(
        readFile(path.join(app, 'node_modules/milvus-otel/node_modules/@opentelemetry/api')),
        {
          code: 'ENOENT',
        },
      );
    });

    test('the instrumentation adds Milvus to the traces of the app’s SDK', async () => {
      const { service, stdout, stderr, code } = await run(app, ['--import', './with-instrumentation.mjs']);
      assert.deepEqual({ stdout, stderr, code }, { stdout: 'found 5\n', stderr: '', code: 0 });
      await assertJoined(service);
    });

    test('the preload after the app’s SDK adds Milvus to its traces, and a line reports both', async () => {
      const { service, stdout, stderr } = await run(app, ['--import', './own-sdk.mjs', ...PRELOAD]);
      assert.equal(stdout, 'found 5\n');
      assert.match(
        stderr,
        /^milvus-otel: Two OpenTelemetry SDKs found: the one that started first exports .*\n$/,
      );
      await assertJoined(service);
    });

    test('the preload alone sends traces, metrics and logs', async () => {
      const { service, stdout, stderr } = await run(app, PRELOAD, {
        OTEL_METRICS_EXPORTER: 'otlp',
        OTEL_LOGS_EXPORTER: 'otlp',
        LOGS: 'yes',
      });
      assert.equal(stdout, 'found 5\n');
      assert.deepEqual(
        stderr
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).msg),
        ['searched'],
      );
      await assertJoined(service);
      const spans = await runs.spans(service, SPANS.length);
      const work = spans.find(({ name }) => name === 'work');
      const record = runs.receiver.logs().find(({ traceId }) => traceId === work?.traceId);
      assert.deepEqual([record?.body, record?.spanId], ['searched', work?.spanId]);
      const metrics = runs.receiver.requests().filter(({ path }) => /metrics/i.test(path));
      assert.ok(metrics.length > 0, 'metrics are sent');
    });
  });

test('an app with an older API than the supported ones gets one warning that names the cause', async () => {
  const app = await install(['sdk-node@0.35.1', 'api@1.3.0']);
  const { stdout, stderr } = await run(app, ['--import', './with-instrumentation.mjs']);
  assert.equal(stdout, 'found 5\n');
  const [warning, hint, ...others] = stderr.trim().split('\n');
  assert.match(
    warning ?? '',
    /^\(node:\d+\) MilvusOtelWarning: Milvus calls cannot join the app's traces: .* @opentelemetry\/api 1\.3\.0, older than/,
  );
  assert.match(hint ?? '', /^\(Use `node --trace-warnings/);
  assert.deepEqual(others, []);
});
