/** The app under the doctor: its output and signals, the calls seen, and reasons for others. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { build } from 'rolldown';
import { runFixture, startFixture } from '../../tools/processes/run-fixture.ts';
import { findingOf, runDoctor, useSurroundings } from './runs.ts';

const root = join(import.meta.dirname, '../..');
const fixture = (name: string) => join(root, 'test/doctor/fixtures', name);
const searches = join(root, 'test/fixtures/searches.mjs');
const printed = 'has true, inserted 1, found 5, queried 5\n';

const around = useSurroundings();

const environment = (): Record<string, string> => ({
  MILVUS_ADDRESS: around.milvus.address,
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}`,
});

/** With time for a busy machine: these apps exit by themselves. */
const watch = (command: string[], env: Record<string, string> = {}, args = ['--for', '60']) =>
  runDoctor({ command, args, env: { ...environment(), ...env } });

const node = process.execPath;

describe('an app under the doctor', { concurrency: 2 }, () => {
  // connect, hasCollection, insert, search, query: a trace each
  test('has its calls named, and its spans stay here', async () => {
    const service = 'watched';
    const run = await watch([node, searches], { OTEL_SERVICE_NAME: service });
    const shown = JSON.stringify(run.report, null, 1);
    // With --json, stdout has only the report.
    assert.equal(run.stderr, printed);
    assert.equal(findingOf(run.report, 'app.preload')?.status, 'ok', shown);
    const traced = findingOf(run.report, 'app.traced');
    assert.equal(traced?.status, 'ok', shown);
    assert.match(
      traced.found,
      /^6 of 6 Milvus calls have a span: Connect, DescribeCollection ×2, Insert, Search, Query;/,
    );
    assert.match(
      traced.found,
      /5 spans would have gone to http:\/\/127\.0\.0\.1:\d+ \(grpc\), of these 5 of Milvus: connect default, hasCollection quick_setup, insert quick_setup, search quick_setup, query quick_setup$/,
    );
    assert.equal(findingOf(run.report, 'app.untraced'), undefined);
    assert.match(findingOf(run.report, 'app.end')?.found ?? '', /with code 0/);
    assert.deepEqual(
      around.receiver.spans().filter((span) => span.service === service && span.name.startsWith('search')),
      [],
    );
  });

  test('that loads the preload correctly itself is run unchanged', async () => {
    const { report } = await watch([node, '--import', 'milvus-otel/register', searches]);
    assert.equal(findingOf(report, 'runtime.preload')?.status, 'ok');
    assert.match(findingOf(report, 'app.traced')?.found ?? '', /^6 of 6 /);
  });

  test('gets the variables before its command, and a wrong NODE_OPTIONS there is reported', async () => {
    const right = await watch(['env', 'NODE_OPTIONS=--import milvus-otel/register', node, searches]);
    assert.match(findingOf(right.report, 'runtime.preload')?.found ?? '', /^NODE_OPTIONS loads it/);
    assert.match(findingOf(right.report, 'app.traced')?.found ?? '', /^6 of 6 /);

    const wrong = await watch([`NODE_OPTIONS=--import 'milvus-otel/register'`, node, searches]);
    assert.equal(wrong.report.verdict.id, 'runtime.preload', JSON.stringify(wrong.report, null, 1));
    assert.match(wrong.report.verdict.text, /single quotes are part of the value/);
    // Node fails.
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.stderr, /Cannot find package ''milvus-otel'/);
  });

  test('has stdout to itself; the readable report is on stderr', async () => {
    const { stdout, stderr, code } = await runFixture({
      file: 'bin/milvus-otel.cjs',
      args: ['doctor', '--for', '60', '--', node, searches],
      env: environment(),
    });
    assert.equal(stdout, printed);
    assert.match(stderr, /^1 Runtime\n[\s\S]*\n6 App\n[\s\S]*\nmilvus-otel doctor: not proven: [^\n]*\n$/);
    assert.equal(code, 3);
  });

  test('keeps its exit code', async () => {
    const { code, report } = await watch([node, '-e', 'process.exitCode = 42']);
    assert.equal(code, 42);
    assert.equal(report.exitCode, 42);
    assert.equal(findingOf(report, 'app.traced')?.status, 'warning');
    assert.match(findingOf(report, 'app.traced')?.found ?? '', /made no Milvus call/);
  });

  test('gets the signals of the doctor, and chooses its exit', async () => {
    const running = startFixture({
      file: 'bin/milvus-otel.cjs',
      args: ['doctor', '--for', '60', '--', node, fixture('serves.mjs')],
      env: environment(),
    });
    await running.waitForStdout(/ready/);
    running.kill('SIGINT');
    const { stdout, stderr, code } = await running.ended;
    assert.equal(stdout, 'ready\ngot SIGINT\n');
    assert.equal(code, 7);
    assert.match(stderr, /Milvus calls have a span: Connect, DescribeCollection;/);
  });

  test('that dies by a signal ends the doctor by the same signal', async () => {
    const { signal, code, stderr } = await runFixture({
      file: 'bin/milvus-otel.cjs',
      args: ['doctor', '--for', '60', '--', node, fixture('sudden.mjs')],
      env: environment(),
    });
    assert.deepEqual([signal, code], ['SIGKILL', null]);
    assert.match(stderr, /app\.lost: the spans of \d of \d Milvus calls were not exported/);
  });

  for (const how of ['goes', 'stays']) {
    test(`that never exits, and ${how} at SIGTERM, is stopped after its time limit`, async () => {
      const run = await watch([node, fixture('serves.mjs'), how], {}, ['--for', '4']);
      assert.match(findingOf(run.report, 'app.end')?.found ?? '', /the doctor stopped the command after 4 s/);
      // Not the app's code, since the doctor stopped it.
      assert.equal(run.code, run.report.exitCode);
      assert.notEqual(run.code, 143);
      assert.ok(run.tookMs < 15_000, `took ${run.tookMs} ms`);
    });
  }

  test('that loads the SDK in another preload first: the report names it', async () => {
    const run = await watch([
      node,
      '--import',
      fixture('sdk-first.mjs'),
      '--import',
      'milvus-otel/register',
      searches,
    ]);
    assert.equal(findingOf(run.report, 'runtime.preload')?.status, 'warning');
    assert.match(
      findingOf(run.report, 'runtime.preload')?.found ?? '',
      /but after --import .*sdk-first\.mjs/,
    );
    assert.equal(run.report.verdict.id, 'app.preload', JSON.stringify(run.report, null, 1));
    assert.match(run.report.verdict.text, /the SDK was loaded before the preload/);
    assert.match(
      findingOf(run.report, 'app.untraced')?.found ?? '',
      /^6 of 6 Milvus calls have no span .*: the SDK was loaded before the preload$/,
    );
    assert.equal(run.code, 1);
  });

  test('that imports the preload itself, after the SDK: the report names it', async () => {
    const run = await watch([node, fixture('late-register.mjs')]);
    assert.equal(run.report.verdict.id, 'runtime.preload', JSON.stringify(run.report, null, 1));
    assert.match(run.report.verdict.text, /the app's own source loads milvus-otel\/register/);
    assert.match(findingOf(run.report, 'app.preload')?.found ?? '', /the SDK was loaded before the preload/);
    assert.match(findingOf(run.report, 'app.untraced')?.found ?? '', /^2 of 2 /);
  });

  test('with the SDK inside a bundle: the report names it', async () => {
    const bundle = join(around.folder, 'bundle.cjs');
    await build({
      input: fixture('bundled.mjs'),
      platform: 'node',
      output: { file: bundle, format: 'cjs', codeSplitting: false },
      logLevel: 'silent',
    });
    const run = await watch([node, '--import', 'milvus-otel/register', bundle]);
    const found = findingOf(run.report, 'runtime.bundle');
    assert.equal(found?.status, 'warning', JSON.stringify(run.report, null, 1));
    assert.match(found.found, /bundle\.cjs is a bundle with the SDK inside/);
    assert.match(
      findingOf(run.report, 'app.bundle')?.fix ?? '',
      /^keep .* external \(esbuild --external:NAME/,
    );
    // Its calls still have spans.
    assert.match(
      findingOf(run.report, 'app.traced')?.found ?? '',
      /^1 of 1 Milvus calls have a span: ShowCollections/,
    );
    assert.equal(findingOf(run.report, 'app.untraced'), undefined);
  });

  test('whose sampler drops everything: its calls are reported as not sampled', async () => {
    const { report } = await watch([node, searches], { OTEL_TRACES_SAMPLER: 'always_off' });
    assert.equal(report.verdict.id, 'settings.sampler');
    assert.match(findingOf(report, 'app.untraced')?.found ?? '', /^6 of 6 Milvus calls were not sampled/);
  });

  test('without the Milvus instrumentation: its calls are reported with the list that excludes it', async () => {
    const { report } = await watch([node, searches], { OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'express' });
    assert.equal(report.verdict.id, 'settings.instrumentations');
    assert.match(
      findingOf(report, 'app.untraced')?.found ?? '',
      /have no span .*OTEL_NODE_ENABLED_INSTRUMENTATIONS leaves milvus out/,
    );
  });

  test('that is not Node: the report names it', async () => {
    const { report } = await watch(['/bin/sh', '-c', 'exit 0']);
    assert.match(findingOf(report, 'app.preload')?.found ?? '', /the command is not Node/);
  });

  test('that cannot be run: the report names the reason', async () => {
    const { report, code } = await watch(['no-such-program']);
    assert.match(findingOf(report, 'app.end')?.found ?? '', /the command cannot be run/);
    assert.equal(code, 127);
  });

  test('leaves nothing behind in the temporary folder', async () => {
    await watch([node, '-e', '0'], { TMPDIR: around.folder });
    assert.deepEqual(
      (await readdir(around.folder)).filter((name) => name.startsWith('milvus-otel-doctor-')),
      [],
    );
  });
});
