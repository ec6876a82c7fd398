/** `npm run demo` as users run it: a child process, with a real Milvus, installed on the first run. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { freePort } from '../../tools/processes/free-ports.ts';
import { startMilvus } from '../../tools/servers/milvus.ts';
import { startReceiver } from '../../tools/servers/receiver.ts';
import { oneAtATime } from '../support/one-at-a-time.ts';
import { lastLine, runDemo } from '../support/run-demo.ts';

oneAtATime('demo-ports');

/** The first run may have Milvus to download. */
const timeout = 300_000;

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'demo-report-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Addresses of the traces that the demo has printed, one a line, by the name of the trace. */
function traceLinks(stdout: string): Map<string, URL> {
  const lines = [...stdout.matchAll(/^(\S.*?) +\d+\.\d\d m?s {2}((?:file|http):\S+#[0-9a-f]{32})$/gm)];
  return new Map(lines.map(([, name = '', url = '']) => [name, new URL(url)]));
}

/** Ids of the traces in a report. */
function reportedTraces(html: string): string[] {
  const [, json = ''] = /<script type="application\/json" id="data">(.*?)<\/script>/.exec(html) ?? [];
  return (JSON.parse(json) as { traces: { id: string }[] }).traces.map(({ id }) => id);
}

test('the demo prints every trace of the sample, joined by the server, and leaves nothing running', {
  timeout,
}, async (t) => {
  const report = path.join(await temporaryFolder(t), 'of traces', 'report.html');
  const demo = runDemo(t, 'demo', ['--report', report], {
    // The user's settings for other apps do not reach the sample.
    OTEL_SERVICE_NAME: 'somebody-else',
    OTEL_TRACES_EXPORTER: 'none',
  });
  const code = await demo.ended;
  const { stdout, stderr } = demo.output;
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  assert.match(lastLine(stdout) ?? '', /^(\d+) of \1 client traces joined by standalone$/);

  // milvus-client: <operation> └─ standalone: <RPC>, each with its duration
  const duration = String.raw` +\d+\.\d\d ms`;
  for (const [operation, rpc] of [
    ['hasCollection', 'DescribeCollection'],
    ['dropCollection', 'DropCollection'],
    ['createCollection', 'DescribeCollection'],
    ['getLoadState', 'GetLoadState'],
    ['insert', '(?:DescribeCollection|Insert)'],
    ['search', 'Search'],
    ['query', 'Query'],
  ]) {
    const tree = `^milvus-client: ${operation} quick_setup${duration}\n[├└]─ standalone: MilvusService/${rpc}${duration}$`;
    assert.match(stdout, new RegExp(tree, 'm'));
  }
  assert.match(stdout, /^ {3}└─ Proxy-Search/m);
  assert.match(stdout, /… \d+ more$/m);
  assert.match(stdout, /insert count 10$/m);
  assert.doesNotMatch(stdout, /Heartbeat|generic-pool|tcp\.connect/);
  assert.ok(!stdout.includes('\u001b'), 'no colours into a pipe');

  const links = traceLinks(stdout);
  for (const operation of [
    'connect default',
    'insert quick_setup',
    'search quick_setup',
    'query quick_setup',
  ])
    assert.ok(links.has(operation), operation);
  const reported = reportedTraces(await readFile(report, 'utf8'));
  for (const [name, url] of links) {
    assert.equal(fileURLToPath(url), report);
    assert.ok(reported.includes(url.hash.slice(1)), name);
  }
  assert.deepEqual(await demo.leftovers(), []);
});

test('with --keep it leaves the viewer running and serves the report until Ctrl-C', {
  timeout,
}, async (t) => {
  const demo = runDemo(t, 'demo', ['--keep', '--report', path.join(await temporaryFolder(t), 'report.html')]);
  await demo.waitForLine('Ctrl-C ends it all.');
  const { stdout } = demo.output;
  assert.match(stdout, /^(\d+) of \1 client traces joined by standalone$/m);

  const viewer = /^Left running\. The traces are at (\S+), the report is at /m.exec(stdout)?.[1];
  assert.ok(viewer, stdout);
  const files = (await (await fetch(new URL('/api/traces', viewer))).json()) as string[];
  assert.ok(files.length > 0, 'the viewer lists traces');
  const search = traceLinks(stdout).get('search quick_setup');
  assert.equal(search?.hostname, '127.0.0.1');
  const served = reportedTraces(await (await fetch(search)).text());
  assert.ok(served.includes(search.hash.slice(1)), 'the report has the trace');

  demo.pressCtrlC();
  assert.equal(await demo.ended, 0);
  assert.deepEqual(await demo.leftovers(), []);
  await assert.rejects(fetch(viewer), 'the viewer has ended too');
  await assert.rejects(fetch(search), 'so has the report');
});

test('Ctrl-C while Milvus starts leaves no process behind', { timeout }, async (t) => {
  const demo = runDemo(t, 'demo');
  await demo.waitForLine('Starting Milvus');
  // Into the middle of the start: the server's process is there, its ports may not be.
  await sleep(1_000);
  demo.pressCtrlC();
  assert.equal(await demo.ended, 130, demo.output.stderr);
  assert.deepEqual(await demo.leftovers(), []);
});

test('ports that are taken are worked around, and it says so', { timeout }, async (t) => {
  const squatter = net.createServer();
  // Taken by somebody else is as good.
  await new Promise<void>((resolve) =>
    squatter.once('error', () => resolve()).listen(4317, '127.0.0.1', resolve),
  );
  t.after(() => squatter.close());
  const demo = runDemo(t, 'demo');
  await demo.waitForLine('Starting Milvus');
  demo.pressCtrlC();
  await demo.ended;
  assert.match(demo.output.stdout, /port 4317 is taken, OTLP over gRPC gets (port \d+|any free one) instead/);
  assert.match(demo.output.stdout, /takes OTLP on localhost:(?!4317)\d+ \(gRPC\)/);
});

test('an unreachable MILVUS_ADDRESS is named with the fix', { timeout }, async (t) => {
  const port = await freePort();
  const demo = runDemo(t, 'demo', [], { MILVUS_ADDRESS: `127.0.0.1:${port}` });
  assert.equal(await demo.ended, 1);
  assert.equal(
    demo.output.stderr.trimEnd(),
    `demo: MILVUS_ADDRESS "127.0.0.1:${port}": no Milvus is reachable there (ECONNREFUSED). ` +
      'Start it, set MILVUS_ADDRESS to where one is, or unset MILVUS_ADDRESS to let the demo start one.',
  );
});

test("a collection quick_setup in the user's Milvus is left alone", { timeout }, async (t) => {
  const receiver = await startReceiver();
  t.after(() => receiver.stop());
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${receiver.grpcPort}` });
  t.after(() => milvus.stop());
  const client = new MilvusClient({ address: milvus.address });
  t.after(() => client.closeConnection());
  await client.createCollection({ collection_name: 'quick_setup', dimension: 4 });

  const demo = runDemo(t, 'demo', [], { MILVUS_ADDRESS: milvus.address });
  assert.equal(await demo.ended, 1);
  assert.match(demo.output.stderr, /it has a collection quick_setup, which the sample would drop\./);
  assert.equal((await client.hasCollection({ collection_name: 'quick_setup' })).value, true);
});

test('an option that it does not know is an error with the usage', { timeout }, async (t) => {
  const demo = runDemo(t, 'demo', ['--kepp']);
  assert.equal(await demo.ended, 2);
  assert.match(demo.output.stderr, /^demo: Unknown option '--kepp'\n\nnpm run demo \[-- options\]/);
  assert.equal(demo.output.stdout, '');
});

test('a report that cannot be written is an error before anything starts', { timeout }, async (t) => {
  const folder = await temporaryFolder(t);
  const demo = runDemo(t, 'demo', ['--report', folder]);
  assert.equal(await demo.ended, 1);
  assert.equal(
    demo.output.stderr.trimEnd(),
    `demo: --report: the report cannot be written to ${folder} (EISDIR). Name another file: --report FILE`,
  );
  assert.doesNotMatch(demo.output.stdout, /Starting Milvus/);
});

test('--report without a file is an error with the usage', { timeout }, async (t) => {
  const demo = runDemo(t, 'demo', ['--report']);
  assert.equal(await demo.ended, 2);
  assert.match(demo.output.stderr, /^demo: Option '--report <value>' argument missing\n\nnpm run demo/);
});

test('--help tells the options and starts nothing', { timeout }, async (t) => {
  const demo = runDemo(t, 'demo', ['--help']);
  assert.equal(await demo.ended, 0);
  for (const option of ['--keep', '--docker', '--report FILE', '--help', 'MILVUS_ADDRESS']) {
    assert.ok(demo.output.stdout.includes(option), option);
  }
  assert.doesNotMatch(demo.output.stdout, /Starting Milvus/);
});

test('--docker without docker says what to install', { timeout }, async (t) => {
  const demo = runDemo(t, 'demo', ['--docker'], { PATH: '/nonexistent' });
  assert.equal(await demo.ended, 1);
  assert.match(
    demo.output.stderr,
    /^demo: --docker: docker is not installed\. Install it .+, or run `npm run demo` without/,
  );
});
