/**
 * Products for language models that are built on OpenTelemetry, in one process with the preload or the
 * instrumentation.
 */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { type ReceivedSpan, type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { outline, useRuns } from '../preload/runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');

/** The app has one copy of each of these. */
const SHARED = {
  '@grpc/grpc-js': '1.14.3',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  'import-in-the-middle': '3.6.0',
};
const OPENTELEMETRY_2 = {
  '@opentelemetry/api': '1.9.1',
  '@opentelemetry/core': '2.12.1',
  '@opentelemetry/exporter-trace-otlp-http': '0.220.0',
  '@opentelemetry/sdk-node': '0.220.0',
  '@opentelemetry/sdk-trace-base': '2.12.1',
};

// connect default
// ask
// └─ search quick_setup
const SPANS = ['connect default', 'ask', '  search quick_setup'];

const EARLIER =
  /^milvus-otel: Two OpenTelemetry SDKs found: the one that started first exports all spans, milvus-otel adds [^\n]*\n$/;
const DROPPED =
  /^milvus-otel: Two OpenTelemetry SDKs found: .* its LangfuseSpanProcessor drops those of Milvus\. [^\n]*\n$/;
const LATER = /^milvus-otel: Two OpenTelemetry SDKs found: milvus-otel exports all spans [^\n]*\n$/;
const REPLACED =
  /^milvus-otel: Two OpenTelemetry SDKs found: the app's SDK has replaced milvus-otel [^\n]*\n$/;

interface Product {
  packages: Record<string, string>;
  /** In test/fixtures/vendors. */
  preload: string;
  /** Variables with which the product shows the spans of Milvus. */
  env?: Record<string, string>;
  /** What it shows when the preload was loaded first, and the line. Undefined: not a way to combine them. */
  whenSecond?: { shows: string[]; collectorGets: string[]; line: RegExp };
}

const PRODUCTS: Record<string, Product> = {
  Langfuse: {
    packages: { ...OPENTELEMETRY_2, '@langfuse/otel': '5.11.1', '@langfuse/tracing': '5.11.1' },
    preload: './langfuse.mjs',
    env: { WITH_MILVUS: 'yes' },
    whenSecond: { shows: [], collectorGets: SPANS, line: LATER },
  },
  Phoenix: {
    packages: { '@opentelemetry/api': '1.10.0', '@arizeai/phoenix-otel': '2.1.0' },
    preload: './phoenix.mjs',
    whenSecond: { shows: SPANS, collectorGets: [], line: REPLACED },
  },
  OpenLIT: {
    packages: { '@opentelemetry/api': '1.10.0', openlit: '1.15.0' },
    preload: './openlit.mjs',
  },
};

let backend: Receiver;
before(async () => {
  backend = await startReceiver();
});
after(() => backend.stop());

for (const [name, { packages, preload, env, whenSecond }] of Object.entries(PRODUCTS)) {
  describe(`with ${name}`, () => {
    let app: string;
    before(async () => {
      // Inside the installation, so that all find the same packages.
      app = await mkdtemp(path.join(await installed({ ...SHARED, ...packages }), '.app-'));
      for (const part of ['dist', 'package.json'])
        await cp(path.join(root, part), path.join(app, 'node_modules/milvus-otel', part), {
          recursive: true,
        });
      await cp(path.join(root, 'test/fixtures/vendors'), app, { recursive: true });
    });
    after(() => rm(app, { recursive: true, force: true }));

    /** Runs the app, and asserts that Milvus got the context of the search, if a backend got the search. */
    async function run(preloads: string[], more: Record<string, string> = {}) {
      backend.clear();
      const { service, stdout, stderr, code } = await runs.run({
        file: path.join(app, 'ask-app.cjs'),
        cwd: app,
        preload: false,
        nodeArgs: preloads.flatMap((one) => ['--import', one]),
        env: { BACKEND: `http://127.0.0.1:${backend.httpPort}`, ...more },
      });
      assert.deepEqual({ stdout, code }, { stdout: 'found 5\n', code: 0 });
      // Both are sent before the exit.
      const shown = await arrived(backend, () => true);
      const collected = await arrived(runs.receiver, (span) => span.service === service);
      const sent = runs.milvus.calls().flatMap(({ metadata }) => metadata.traceparent ?? []);
      for (const span of [...shown, ...collected].filter((one) => one.name === 'search quick_setup'))
        assert.ok(sent.includes(`00-${span.traceId}-${span.spanId}-01`), 'Milvus has the context');
      return { stderr, shown: outline(shown), collected: outline(collected) };
    }

    test('loaded before the preload, it shows the searches, and one line reports who exports', async () => {
      const { stderr, shown, collected } = await run([preload, 'milvus-otel/register'], env);
      assert.match(stderr, EARLIER);
      assert.deepEqual({ shown, collected }, { shown: SPANS, collected: [] });
    });

    test('with the instrumentation, it shows the searches', async () => {
      const { stderr, shown } = await run([preload], { ...env, INSTRUMENTED: 'yes' });
      assert.equal(stderr, '');
      assert.deepEqual(shown, SPANS);
    });

    if (whenSecond !== undefined)
      test('loaded after the preload, one of the two exports whole traces, and one line reports which', async () => {
        const { stderr, shown, collected } = await run(['milvus-otel/register', preload], env);
        assert.match(stderr, whenSecond.line);
        assert.deepEqual(
          { shown, collected },
          { shown: whenSecond.shows, collected: whenSecond.collectorGets },
        );
      });

    if (name === 'Langfuse')
      test('with its default filter, one line reports that it drops the spans of Milvus', async () => {
        const { stderr, shown } = await run([preload, 'milvus-otel/register']);
        assert.match(stderr, DROPPED);
        assert.deepEqual(shown, ['ask']);
      });
  });
}

/**
 * Spans that have arrived when a process has sent them and exited: the receiver passes them on shortly after.
 */
async function arrived(
  receiver: Receiver,
  isMeant: (span: ReceivedSpan) => boolean,
): Promise<ReceivedSpan[]> {
  const found = () => receiver.spans().filter(isMeant);
  await receiver.waitForSpans(() => found().length >= SPANS.length, 300).catch(() => {});
  return found();
}
