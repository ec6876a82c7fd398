/** Apps in one file: with the SDK outside of it as any app, with the SDK inside as far as it can be seen. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { outline, useRuns } from '../preload/runs.ts';

const runs = useRuns();

const packages = {
  '@grpc/grpc-js': '1',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  esbuild: '0.28.2',
  webpack: '5.112.2',
};

const SDK = '@zilliz/milvus2-sdk-node';
const GRPC = '@grpc/grpc-js';

let programs: string;
let require: NodeJS.Require;

before(async () => {
  const folder = await installed(packages);
  programs = await mkdtemp(path.join(folder, 'program-'));
  await cp(path.join(import.meta.dirname, '../fixtures/apps/frameworks'), programs, { recursive: true });
  require = createRequire(path.join(programs, 'any.js'));
});
after(() => rm(programs, { recursive: true, force: true }));

interface Bundle {
  bundler: 'esbuild' | 'webpack';
  external: string[];
  format: 'cjs' | 'mjs';
  minify?: boolean;
}

/** Resolves to the path of the file with all of the service http.mjs but `external`. */
async function bundle({ bundler, external, format, minify = false }: Bundle): Promise<string> {
  const entry = path.join(programs, 'http.mjs');
  const file = [bundler, external.length, minify ? 'min' : 'plain', format].join('.');
  if (bundler === 'esbuild') {
    await require('esbuild').build({
      entryPoints: [entry],
      outfile: path.join(programs, file),
      bundle: true,
      platform: 'node',
      format: format === 'mjs' ? 'esm' : 'cjs',
      minify,
      external,
      logLevel: 'error',
      // What bundled CommonJS needs inside an ES module.
      ...(format === 'mjs'
        ? {
            banner: {
              js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
            },
          }
        : {}),
    });
  } else {
    await new Promise<void>((resolve, reject) => {
      require('webpack')(
        {
          mode: minify ? 'production' : 'development',
          devtool: false,
          target: 'node22',
          entry,
          output: { path: programs, filename: file },
          externals: Object.fromEntries(external.map((name) => [name, `commonjs ${name}`])),
        },
        (error: Error | null, stats: { hasErrors(): boolean; toString(): string }) =>
          error !== null || stats.hasErrors() ? reject(error ?? new Error(stats.toString())) : resolve(),
      );
    });
  }
  return path.join(programs, file);
}

/** One request to the service in `file`. */
async function ask(file: string, nodePath?: string): Promise<{ service: string; stderr: string }> {
  const running = runs.start({ file, ...(nodePath === undefined ? {} : { nodePath }) });
  const [, port] = await running.waitForStdout(/port (\d+)/);
  const response = await fetch(`http://127.0.0.1:${port}/ask`);
  const { found } = (await response.json()) as { found: unknown[] };
  assert.equal(found.length, 5);
  running.kill('SIGTERM');
  const { stderr, signal } = await running.ended;
  assert.equal(signal, 'SIGTERM');
  return { service: running.service, stderr };
}

/** The span that Milvus was told to be the caller of its last search. */
function callerOfSearch(spans: ReceivedSpan[]): ReceivedSpan | undefined {
  const { metadata } = runs.milvus.calls().findLast(({ method }) => method === 'Search') ?? {};
  const [, traceId, spanId] = String(metadata?.traceparent).split('-');
  return spans.find((span) => span.traceId === traceId && span.spanId === spanId);
}

const line = (file: string): RegExp =>
  new RegExp(
    `^milvus-otel: Milvus is bundled into ${path.basename(file)}, so its calls are traced without collections and results\\. .*external.*\\n$`,
  );

describe('a bundle with the SDK outside', () => {
  for (const options of [
    { bundler: 'esbuild', format: 'cjs' },
    { bundler: 'esbuild', format: 'mjs', minify: true },
    { bundler: 'webpack', format: 'cjs' },
    { bundler: 'webpack', format: 'cjs', minify: true },
  ] as const) {
    test(`by ${Object.values(options).join(', ')} is traced as any app`, async () => {
      const { service, stderr } = await ask(await bundle({ ...options, external: [SDK, GRPC] }));
      assert.equal(stderr, '');
      // connect default    GET └─ search docs
      const spans = await runs.spans(service, 3);
      assert.deepEqual(outline(spans), ['connect default', 'GET', '  search docs']);
      assert.equal(callerOfSearch(spans)?.name, 'search docs');
    });
  }
});

describe('a bundle with the SDK inside', () => {
  for (const [version, options] of [
    [undefined, { bundler: 'esbuild', format: 'cjs' }],
    [undefined, { bundler: 'esbuild', format: 'mjs', minify: true }],
    [undefined, { bundler: 'webpack', format: 'cjs' }],
    ['22.15.0', { bundler: 'esbuild', format: 'cjs' }],
    ['22.15.0', { bundler: 'esbuild', format: 'mjs' }],
    ['26', { bundler: 'esbuild', format: 'mjs' }],
  ] as const) {
    test(`by ${Object.values(options).join(', ')} has a span for each call on Node ${version ?? process.versions.node}, and a line with the cure`, async () => {
      const file = await bundle({ ...options, external: [] });
      const nodePath = version === undefined ? undefined : await nodeBinary(version);
      const { service, stderr } = await ask(file, nodePath);
      assert.match(stderr, line(file));
      // connect    describeCollection    GET └─ search
      // A call that waits for the connection is made in the context of whoever opens it: the first ones may be anywhere.
      const spans = await runs.spans(service, 4);
      const at = runs.milvus.address;
      assert.deepEqual(spans.map(({ name }) => name).sort(), [
        'GET',
        `connect ${at}`,
        `describeCollection ${at}`,
        `search ${at}`,
      ]);
      const search = callerOfSearch(spans);
      const [host, port] = runs.milvus.address.split(':');
      assert.deepEqual(
        [search?.kind, search?.scope, search?.status.code],
        ['CLIENT', 'milvus-otel', 'UNSET'],
      );
      assert.deepEqual(search?.attributes, {
        'db.system.name': 'milvus',
        'db.operation.name': 'search',
        'server.address': host,
        'server.port': Number(port),
        'rpc.grpc.status_code': 0,
      });
    });
  }

  test('and gRPC outside has the spans of its instrumentation for gRPC, and the line', async () => {
    const file = await bundle({ bundler: 'esbuild', format: 'cjs', external: [GRPC] });
    const { service, stderr } = await ask(file);
    assert.match(stderr, line(file));
    const of = 'grpc.milvus.proto.milvus.MilvusService';
    // GET └─ grpc.…/Search
    const spans = await runs.receiver.waitForSpans(
      (received) => received.some((span) => span.service === service && span.name === `${of}/Search`),
      5_000,
    );
    const request = spans.find((span) => span.service === service && span.name === 'GET');
    assert.equal(callerOfSearch(spans)?.parentSpanId, request?.spanId);
    assert.equal(callerOfSearch(spans)?.name, `${of}/Search`);
  });

  test('is left alone when Milvus is disabled', async () => {
    const file = await bundle({ bundler: 'esbuild', format: 'cjs', external: [] });
    const { service, ...running } = runs.start({
      file,
      env: { OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'milvus' },
    });
    const [, port] = await running.waitForStdout(/port (\d+)/);
    await (await fetch(`http://127.0.0.1:${port}/ask`)).json();
    running.kill('SIGTERM');
    assert.equal((await running.ended).stderr, '');
    assert.deepEqual(outline(await runs.spans(service, 1)), ['GET']);
  });
});

test('an app that loads http2 itself is no bundle of Milvus', async () => {
  const file = path.join(programs, 'http2.mjs');
  await writeFile(file, "import { constants } from 'node:http2';\nconsole.log(constants.HTTP_STATUS_OK);\n");
  const { stdout, stderr, code } = await runs.run({ file });
  assert.deepEqual([stdout, stderr, code], ['200\n', '', 0]);
});
