/** Bundled apps: traced as any app if the SDK is external, else by their messages on the wire. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import type { FixtureOptions } from '../../tools/processes/run-fixture.ts';
import { singleExecutable } from '../../tools/processes/single-executable.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { useStack } from '../support/stack.ts';

const runs = useRuns();

const packages = {
  '@grpc/grpc-js': '1',
  '@opentelemetry/api': '1',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  esbuild: '0.28.2',
  rolldown: '1.2.19',
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
  bundler: 'esbuild' | 'webpack' | 'rolldown';
  external: string[];
  format: 'cjs' | 'mjs';
  minify?: boolean;
  /** The program; http when not given. */
  program?: string;
}

/** Bundled CommonJS needs it inside an ES module. */
const REQUIRE =
  "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

/** Resolves to the path of the file to start, with all of the program but `external`. */
async function bundle({
  bundler,
  external,
  format,
  minify = false,
  program = 'http',
}: Bundle): Promise<string> {
  const entry = path.join(programs, `${program}.mjs`);
  const file = [program, bundler, external.length, minify ? 'min' : 'plain', format].join('.');
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
      ...(format === 'mjs' ? { banner: { js: REQUIRE } } : {}),
    });
  } else if (bundler === 'rolldown') {
    // As Vite builds a server: the SDK, gRPC and the app in separate files.
    const { build } = (await import(require.resolve('rolldown'))) as typeof import('rolldown');
    await build({
      input: { [file]: entry },
      platform: 'node',
      external,
      logLevel: 'warn',
      output: {
        dir: programs,
        format: format === 'mjs' ? 'esm' : 'cjs',
        minify,
        entryFileNames: '[name]',
        chunkFileNames: `[hash].${format}`,
        codeSplitting: {
          groups: [
            { name: 'grpc', test: /grpc-js/ },
            { name: 'sdk', test: /milvus2-sdk-node/ },
          ],
        },
      },
    });
  } else {
    await new Promise<void>((resolve, reject) => {
      require('webpack')(
        {
          mode: minify ? 'production' : 'development',
          // Each module is an eval with the path of its source as its name.
          devtool: minify ? false : 'eval-source-map',
          target: 'node22',
          entry,
          output: { path: programs, filename: file },
          externals: Object.fromEntries(external.map((name) => [name, `commonjs ${name}`])),
          ignoreWarnings: [/require/],
        },
        (error: Error | null, stats: { hasErrors(): boolean; toString(): string }) =>
          error !== null || stats.hasErrors() ? reject(error ?? new Error(stats.toString())) : resolve(),
      );
    });
  }
  return path.join(programs, file);
}

/** One request to the service in `file`. */
async function ask(
  file: string,
  nodePath?: string,
  options: Pick<FixtureOptions, 'preload' | 'env'> = {},
): Promise<{ service: string; stderr: string }> {
  const running = runs.start({ file, ...(nodePath === undefined ? {} : { nodePath }), ...options });
  const [, port] = await running.waitForStdout(/port (\d+)/);
  const response = await fetch(`http://127.0.0.1:${port}/ask`);
  const { found } = (await response.json()) as { found: unknown[] };
  assert.equal(found.length, 5);
  running.kill('SIGTERM');
  const { stderr, signal } = await running.ended;
  assert.equal(signal, 'SIGTERM');
  return { service: running.service, stderr };
}

/** The span in the traceparent of the last search that Milvus received. */
function callerOfSearch(spans: ReceivedSpan[]): ReceivedSpan | undefined {
  const { metadata } = runs.milvus.calls().findLast(({ method }) => method === 'Search') ?? {};
  const [, traceId, spanId] = String(metadata?.traceparent).split('-');
  return spans.find((span) => span.traceId === traceId && span.spanId === spanId);
}

/** The spans of a run that has exited after its search. */
async function spansOf(service: string): Promise<ReceivedSpan[]> {
  const spans = await runs.receiver.waitForSpans(
    (received) =>
      ['GET', 'search docs'].every((name) =>
        received.some((span) => span.service === service && span.name === name),
      ),
    5_000,
  );
  return spans.filter((span) => span.service === service);
}

/** @param file whose name is in it, when it is the one that makes the connection. */
const line = (file?: string): RegExp =>
  new RegExp(
    `^milvus-otel: Milvus is bundled into ${file === undefined ? '(\\S+|the app)' : path.basename(file)}: each of its gRPC calls gets a span, .*` +
      'To trace the SDK itself: keep .* external \\(esbuild --external:NAME, webpack externals, Vite ssr\\.external; .*\\n$',
  );

const SEARCH = {
  'db.system.name': 'milvus',
  'db.operation.name': 'search',
  'db.collection.name': 'docs',
  'db.namespace': 'default',
  // The collection's: the SDK treats ConsistencyLevelEnum.Strong (0) as missing.
  'milvus.consistency_level': 'Bounded',
  'milvus.anns_field': 'vector',
  'milvus.search.nq': 1,
  'milvus.search.limit': 1,
  'db.response.returned_rows': 5,
};

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
    [undefined, { bundler: 'rolldown', format: 'mjs' }],
    [undefined, { bundler: 'rolldown', format: 'cjs', minify: true }],
    ['22.15.0', { bundler: 'esbuild', format: 'cjs' }],
    ['22.15.0', { bundler: 'rolldown', format: 'mjs' }],
    ['26', { bundler: 'esbuild', format: 'mjs' }],
  ] as const) {
    test(`by ${Object.values(options).join(', ')} has the span of each operation on Node ${version ?? process.versions.node}, and a line with the fix`, async () => {
      const file = await bundle({ ...options, external: [] });
      const nodePath = version === undefined ? undefined : await nodeBinary(version);
      const { service, stderr } = await ask(file, nodePath);
      assert.match(stderr, line(options.bundler === 'esbuild' ? file : undefined));
      // GET ├─ describeCollection docs (the SDK's own, unless it had to wait for the connection)
      //     └─ search docs
      const spans = await spansOf(service);
      assert.deepEqual(
        outline(spans).filter((name) => name !== '  describeCollection docs'),
        ['GET', '  search docs'],
      );
      const search = callerOfSearch(spans);
      const [host, port] = runs.milvus.address.split(':');
      assert.deepEqual(
        [search?.name, search?.kind, search?.scope, search?.status.code],
        ['search docs', 'CLIENT', 'milvus-otel', 'UNSET'],
      );
      assert.deepEqual(search?.attributes, {
        ...SEARCH,
        'server.address': host,
        'server.port': Number(port),
      });
    });
  }

  test('in a single executable application has the same, and its server has the span of a request', async () => {
    const main = await bundle({ bundler: 'esbuild', format: 'cjs', external: [] });
    const executable = await singleExecutable(main, { folder: programs, name: 'my-service' });
    const { service, stderr } = await ask(main, executable, {
      preload: false,
      env: { NODE_OPTIONS: `--require ${path.join(import.meta.dirname, '../../dist/register.cjs')}` },
    });
    assert.match(stderr, line());
    const spans = await spansOf(service);
    assert.deepEqual(
      outline(spans).filter((name) => name !== '  describeCollection docs'),
      ['GET', '  search docs'],
    );
    assert.equal(callerOfSearch(spans)?.name, 'search docs');
  });

  test('and external gRPC has the same in the spans of the instrumentation for gRPC, and the line', async () => {
    const file = await bundle({ bundler: 'esbuild', format: 'cjs', external: [GRPC] });
    const { service, stderr } = await ask(file);
    assert.match(stderr, line(file));
    const spans = await spansOf(service);
    const request = spans.find((span) => span.service === service && span.name === 'GET');
    const search = callerOfSearch(spans);
    assert.deepEqual([search?.name, search?.parentSpanId], ['search docs', request?.spanId]);
    for (const [name, value] of Object.entries(SEARCH)) assert.deepEqual(search?.attributes[name], value);
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

describe('on a real Milvus', () => {
  /** Its spans under the span `work`, as name and attributes, without the SDK's internal calls. */
  async function operations(file: string, env: Record<string, string> = {}) {
    const { milvusAddress, receiver } = await useStack();
    const collection = `bundled_${randomBytes(4).toString('hex')}`;
    const { service, ...run } = runs.start({
      file,
      env: {
        ...env,
        COLLECTION: collection,
        MILVUS_ADDRESS: milvusAddress,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
      },
      service: collection,
    });
    const { code, stderr } = await run.ended;
    assert.equal(code, 0, stderr);
    const isDone = (spans: ReceivedSpan[]) => {
      const work = spans.find((span) => span.service === service && span.name === 'work');
      const dropped = spans.find(
        (span) => span.service === service && span.name.startsWith('dropCollection'),
      );
      return work !== undefined && spans.some(({ parentSpanId }) => parentSpanId === dropped?.spanId);
    };
    const spans = await receiver.waitForSpans(isDone, 15_000);
    const own = spans.filter((span) => span.service === service).sort((a, b) => a.startMs - b.startMs);
    const work = own.find(({ name }) => name === 'work');
    const seen = own
      .filter(({ parentSpanId, scope }) => parentSpanId === work?.spanId && scope === 'milvus-otel')
      .map(({ name, attributes, status, spanId, traceId }) => ({
        name: name.replace(collection, 'docs'),
        attributes: JSON.parse(JSON.stringify(attributes).replaceAll(collection, 'docs')) as Record<
          string,
          unknown
        >,
        status,
        // Whether the server has a span under this one.
        joined: spans.some(
          (span) => span.parentSpanId === spanId && span.traceId === traceId && span.service !== service,
        ),
      }));
    return {
      roots: own.filter(({ parentSpanId }) => parentSpanId === undefined).map(({ name }) => name),
      seen,
      stderr,
    };
  }

  type Seen = Awaited<ReturnType<typeof operations>>['seen'];
  /** Removes differences between the SDK's methods and the messages on the wire. */
  const comparable = (seen: Seen) =>
    seen
      .filter(({ name }) => !/^(describeCollection|getLoadState) docs$/.test(name))
      .map(({ name, attributes, ...others }) => {
        const { 'milvus.consistency_level': level, ...same } = attributes;
        // The message has a level even if the app has given none.
        const isGiven = !/^(count|hybridSearch) /.test(name);
        return JSON.parse(
          JSON.stringify({ name, attributes: isGiven ? { ...same, level } : same, ...others }).replaceAll(
            'loadCollectionAsync',
            'loadCollection',
          ),
        );
      });

  test('a bundle has the same spans as the unbundled app, each joined with the server’s', async () => {
    const file = await bundle({
      bundler: 'esbuild',
      format: 'mjs',
      minify: true,
      external: [],
      program: 'operations',
    });
    const unbundled = await operations(path.join(programs, 'operations.mjs'));
    const bundled = await operations(file);
    const traced = await operations(file, { SDK_TRACE: '1' });
    assert.deepEqual(comparable(bundled.seen), comparable(unbundled.seen));
    assert.deepEqual(comparable(traced.seen), comparable(unbundled.seen));
    // Neither connecting nor the SDK's internal calls start a trace.
    assert.deepEqual(bundled.roots, ['work']);
    assert.deepEqual(
      bundled.seen.filter(({ joined }) => !joined).map(({ name }) => name),
      ['hybridSearch docs'],
    );
    assert.ok(!JSON.stringify(bundled.seen).includes('secret'));
  });

  test('a filter is in the span of a bundle when it is enabled', async () => {
    const file = await bundle({ bundler: 'esbuild', format: 'mjs', external: [], program: 'operations' });
    const { seen } = await operations(file, { OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER: 'true' });
    const search = seen.find(({ name }) => name === 'search docs');
    assert.equal(search?.attributes['db.query.text'], 'group != "secret"');
  });
});
