/** Sentry's SDK in one process with the preload or the instrumentation. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'rolldown';
import { installed } from '../../tools/processes/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { type SentryServer, startSentryServer } from '../support/sentry-server.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');

/** The app has one copy of each of these. */
const SHARED = {
  '@grpc/grpc-js': '1.14.3',
  '@opentelemetry/api': '1.9.1',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  'import-in-the-middle': '3.6.0',
};

// What Sentry shows: each error with the tag, the breadcrumb and the URL of its own request.
const ERRORS = [
  { error: 'failed for ann', tags: { who: 'ann' }, breadcrumbs: ['asked by ann'], path: '/ann' },
  { error: 'failed for bob', tags: { who: 'bob' }, breadcrumbs: ['asked by bob'], path: '/bob' },
];
// connect default
// GET
// └─ search quick_setup
// GET
// └─ search quick_setup
const SPANS = ['connect default', 'GET', '  search quick_setup', 'GET', '  search quick_setup'];

const PRELOAD = 'milvus-otel/register';
const SENTRY = './sentry.mjs';
const BOTH =
  /^milvus-otel: Two OpenTelemetry SDKs found: (milvus-otel|the one that started first) exports[^\n]*\n$/;

let sentry: SentryServer;
before(async () => {
  sentry = await startSentryServer();
});
after(() => sentry.stop());

interface RunOptions {
  /** Modules that are loaded by --import, in this order. */
  preloads: string[];
  options?: object;
  isInstrumented?: boolean;
  /** The program, sentry-app.mjs by default. */
  file?: string;
  areMixed?: boolean;
}

for (const version of ['9.47.1', '10.78.0', '11.12.0']) {
  describe(`with @sentry/node ${version}`, () => {
    let app: string;
    before(async () => {
      // Inside the installation, so that all find the same packages.
      app = await mkdtemp(path.join(await installed({ ...SHARED, '@sentry/node': version }), '.app-'));
      for (const part of ['dist', 'package.json'])
        await cp(path.join(root, part), path.join(app, 'node_modules/milvus-otel', part), {
          recursive: true,
        });
      await cp(path.join(root, 'test/fixtures/vendors'), app, { recursive: true });
    });
    after(() => rm(app, { recursive: true, force: true }));

    /** Gives the preload a separate copy of the API, of another version. The returned function removes it. */
    async function withOwnApi(): Promise<() => Promise<void>> {
      const own = path.join(app, 'node_modules/milvus-otel/node_modules');
      await cp(path.join(root, 'node_modules/@opentelemetry/api'), path.join(own, '@opentelemetry/api'), {
        recursive: true,
      });
      return () => rm(own, { recursive: true });
    }

    /** Path of a bundle with the app, Sentry and the API. */
    async function bundled(): Promise<string> {
      const file = path.join(app, 'bundle.mjs');
      const entry = path.join(app, 'entry.mjs');
      await writeFile(entry, "import './sentry.mjs';\nimport './sentry-app.mjs';\n");
      await build({
        input: entry,
        platform: 'node',
        external: ['@zilliz/milvus2-sdk-node', 'import-in-the-middle', 'milvus-otel/instrumentation'],
        output: { file, format: 'esm', codeSplitting: false },
        logLevel: 'silent',
      });
      return file;
    }

    /** Runs the app with two concurrent requests, and asserts which errors Sentry gets. */
    async function run({ preloads, options, isInstrumented, file, areMixed = false }: RunOptions) {
      sentry.clear();
      const fixture = runs.start({
        file: file ?? path.join(app, 'sentry-app.mjs'),
        cwd: app,
        preload: false,
        nodeArgs: preloads.flatMap((preload) => ['--import', preload]),
        env: {
          SENTRY: JSON.stringify({ dsn: sentry.dsn, ...options }),
          ...(isInstrumented ? { INSTRUMENTED: 'yes' } : {}),
        },
      });
      const [, port] = await fixture.waitForStdout(/port (\d+)\n/);
      await Promise.all(['ann', 'bob'].map((who) => fetch(`http://127.0.0.1:${port}/${who}`)));
      const { stdout, stderr, code } = await fixture.ended;
      assert.deepEqual({ stdout, code }, { stdout: `port ${port}\nclosed\n`, code: 0 });
      const received = sentry
        .items()
        .filter(({ type }) => type === 'event')
        .map(({ payload }) => ({
          error: payload.exception.values[0].value,
          tags: payload.tags,
          breadcrumbs: payload.breadcrumbs.flatMap(({ message = '' }) =>
            message.startsWith('asked') ? [message] : [],
          ),
          path: payload.request && new URL(payload.request.url).pathname,
        }))
        .sort((a, b) => a.error.localeCompare(b.error));
      if (areMixed) assert.notDeepEqual(received, ERRORS);
      else assert.deepEqual(received, ERRORS);
      const own = runs.receiver.spans().filter(({ service }) => service === fixture.service);
      return { service: fixture.service, stderr, own };
    }

    /** Trace contexts that Milvus got with the searches of the last run. */
    const sentContexts = () =>
      runs.milvus
        .calls()
        .slice(-20)
        .flatMap(({ metadata }) => metadata.traceparent ?? []);

    /**
     * Asserts that Sentry got a trace of each request with its search, and Milvus the context of each search.
     */
    function assertSentryHasSearches(): void {
      const spans = sentry.items().flatMap(({ type, payload }) =>
        type === 'transaction'
          ? [payload.contexts.trace, ...payload.spans].map((span) => ({
              ...span,
              name: span === payload.contexts.trace ? payload.transaction : span.description,
            }))
          : type === 'span'
            ? payload.items
            : [],
      );
      const searches = spans.filter(({ name }) => name === 'search quick_setup');
      assert.equal(searches.length, 2);
      for (const { trace_id, span_id, parent_span_id } of searches) {
        assert.match(spans.find((span) => span.span_id === parent_span_id)?.name, /^GET/);
        const context = `00-${trace_id}-${span_id}-01`;
        assert.ok(sentContexts().includes(context), `${context} in ${sentContexts().join(' ')}`);
      }
    }

    async function assertCollectorHasSearches(service: string): Promise<void> {
      const spans = (
        await runs.receiver.waitForSpans(
          (all) => all.filter((span) => span.service === service && / /.test(span.name)).length >= 3,
          5_000,
        )
      )
        // Sentry 11 sends its errors by HTTP, and does not keep that out of OpenTelemetry's traces.
        .filter((span) => span.service === service && span.name !== 'POST');
      assert.deepEqual(outline(spans), SPANS);
      for (const { traceId, spanId } of spans.filter(({ name }) => name === 'search quick_setup'))
        assert.ok(sentContexts().includes(`00-${traceId}-${spanId}-01`));
    }

    if (version.startsWith('11')) {
      for (const preloads of [
        [PRELOAD, SENTRY],
        [SENTRY, PRELOAD],
      ])
        test(`loaded as ${preloads.join(', ')}, each exports whole traces of its own`, async () => {
          const { service, stderr } = await run({ preloads, options: { tracesSampleRate: 1 } });
          assert.equal(stderr, '');
          await assertCollectorHasSearches(service);
          const names = sentry
            .items()
            .flatMap(({ type, payload }) => (type === 'span' ? payload.items : []))
            .map(({ name }) => name);
          assert.deepEqual(
            names.filter((name) => name === 'GET'),
            ['GET', 'GET'],
          );
        });

      test('with its setup of OpenTelemetry after the preload, errors are whole and a line reports gaps in traces', async () => {
        const { stderr } = await run({
          preloads: [PRELOAD, SENTRY],
          options: { tracesSampleRate: 1, enableOpenTelemetrySetup: true },
        });
        assert.match(stderr, /^milvus-otel: Sentry and milvus-otel share each trace: [^\n]*\n$/);
      });

      test('with its setup of OpenTelemetry before the preload, it shows the searches', async () => {
        const { stderr, own } = await run({
          preloads: [SENTRY, PRELOAD],
          options: { tracesSampleRate: 1, enableOpenTelemetrySetup: true },
        });
        assert.match(stderr, BOTH);
        assertSentryHasSearches();
        assert.deepEqual(own, []);
      });
      return;
    }

    for (const options of [{}, { tracesSampleRate: 1 }])
      test(`after the preload, with ${JSON.stringify(options)}, it reports errors and the preload traces`, async () => {
        const { service, stderr } = await run({ preloads: [PRELOAD, SENTRY], options });
        assert.match(stderr, BOTH);
        assert.match(stderr, /milvus-otel exports all spans .* Sentry still gets errors/);
        // With its tracing on, Sentry's instrumentation creates further spans, which the preload exports.
        if (options.tracesSampleRate === undefined) await assertCollectorHasSearches(service);
      });

    test('after a preload with another version of OpenTelemetry’s API, it reports errors and the preload traces', async () => {
      const undo = await withOwnApi();
      try {
        const { service, stderr } = await run({ preloads: [PRELOAD, SENTRY] });
        assert.match(stderr, BOTH);
        await assertCollectorHasSearches(service);
      } finally {
        await undo();
      }
    });

    // Sentry 9 mixes the data of requests in a bundle, also without the preload.
    if (version.startsWith('10')) {
      test('in the bundle of the app, it reports errors and the preload traces', async () => {
        const { service, stderr } = await run({ preloads: [PRELOAD], file: await bundled() });
        assert.match(stderr, BOTH);
        await assertCollectorHasSearches(service);
      });

      test('in a bundle with another version of OpenTelemetry’s API, a second line reports mixed errors', async () => {
        const undo = await withOwnApi();
        try {
          const { stderr } = await run({ preloads: [PRELOAD], file: await bundled(), areMixed: true });
          assert.match(
            stderr,
            /^milvus-otel: Two [^\n]*\nmilvus-otel: Sentry's errors mix the data [^\n]*\n$/,
          );
        } finally {
          await undo();
        }
      });
    }

    test('before the preload, with its tracing on, it shows the searches', async () => {
      const { stderr, own } = await run({ preloads: [SENTRY, PRELOAD], options: { tracesSampleRate: 1 } });
      assert.match(stderr, BOTH);
      assertSentryHasSearches();
      assert.deepEqual(own, []);
    });

    test('before the preload, with its tracing off, one line reports that no spans are exported', async () => {
      const { stderr, own } = await run({ preloads: [SENTRY, PRELOAD] });
      assert.match(stderr, /^milvus-otel: Sentry started first with its tracing off: no spans [^\n]*\n$/);
      assert.deepEqual(own, []);
    });

    test('with the instrumentation among its own, it shows the searches', async () => {
      const { stderr } = await run({
        preloads: [SENTRY],
        options: { tracesSampleRate: 1 },
        isInstrumented: true,
      });
      assert.equal(stderr, '');
      assertSentryHasSearches();
    });
  });
}
