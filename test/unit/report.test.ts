import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { checkReportFile, reportLines } from '../../tools/demo/demo-report.ts';
import { reportTemplate } from '../../tools/report/report.ts';
import { type ReportRow, reportData } from '../../tools/report/report-data.ts';
import { serveReport } from '../../tools/report/report-server.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { receivedSpan } from '../support/received-span.ts';

const app = 'milvus-client';
const call = (given: Partial<ReceivedSpan> = {}) =>
  receivedSpan({
    spanId: 'call',
    name: 'search docs',
    kind: 'CLIENT',
    service: app,
    startMs: 100,
    durationMs: 10,
    ...given,
  });
const served = (startMs: number, durationMs: number, given: Partial<ReceivedSpan> = {}) =>
  receivedSpan({
    spanId: `s${startMs}`,
    parentSpanId: 'call',
    kind: 'SERVER',
    startMs,
    durationMs,
    ...given,
  });
const dataOf = (...spans: ReceivedSpan[]) => reportData(spans, { command: 'npm run demo', service: app });

function firstRow(...spans: ReceivedSpan[]): ReportRow {
  const row = dataOf(...spans).traces[0]?.rows[0];
  assert.ok(row);
  return row;
}

test('the network gap is the time that the server does not cover, before and after it', () => {
  const { gapMs, gaps } = firstRow(call(), served(102, 5));
  assert.equal(gapMs, 5);
  assert.deepEqual(gaps, [
    [0, 2],
    [7, 10],
  ]);
});

test('between two calls of one operation there is a gap too, and calls at the same time count once', () => {
  const { gapMs, gaps, serverCalls } = firstRow(call(), served(101, 2), served(102, 2), served(106, 3));
  assert.equal(gapMs, 4);
  assert.equal(serverCalls, 3);
  assert.deepEqual(gaps, [
    [0, 1],
    [4, 6],
    [9, 10],
  ]);
});

test('when the clocks of two machines differ, the gap has a length but no position', () => {
  for (const startMs of [97, 107]) {
    const row = dataOf(call(), served(startMs, 6)).traces[0]?.rows.find(({ id }) => id === 'call');
    assert.equal(row?.gapMs, 4);
    assert.deepEqual(row?.gaps, []);
    assert.equal(row?.outsideMs, 3);
  }
});

test('a span without a span of the server under it has no gap', () => {
  const row = firstRow(call());
  assert.equal(row.gapMs, undefined);
  assert.equal(row.gaps, undefined);
});

test('a trace is joined, not joined, of the server alone, or without a call', () => {
  const other = { traceId: 'b'.repeat(32) };
  const traces = (...spans: ReceivedSpan[]) => dataOf(...spans).traces.map(({ join }) => join);
  assert.deepEqual(traces(call(), served(102, 5)), ['joined']);
  assert.deepEqual(traces(call()), ['not joined']);
  assert.deepEqual(traces(call(), served(102, 5, other)), ['not joined', 'server only']);
  assert.deepEqual(traces(call({ kind: 'INTERNAL', name: 'embed' })), ['no call']);
});

test('a trace has the name of its root, the time of all its spans, and its errors counted', () => {
  const late = served(104, 9, { status: { code: 'ERROR', message: 'no' } });
  const [trace] = dataOf(late, call()).traces;
  assert.equal(trace?.name, 'search docs');
  assert.equal(trace?.startMs, 100);
  assert.equal(trace?.durationMs, 13);
  assert.equal(trace?.errorCount, 1);
});

test('a span whose parent has not arrived is in the report, with the id of the parent', () => {
  const [trace] = dataOf(call(), served(102, 5, { parentSpanId: 'gone' })).traces;
  assert.equal(trace?.name, 'search docs');
  assert.deepEqual(
    trace?.rows.map(({ missingParent }) => missingParent),
    [undefined, 'gone'],
  );
});

test('the report without spans is small, loads nothing, and escapes markup in spans', async () => {
  const render = await reportTemplate();
  const empty = render(dataOf());
  assert.ok(Buffer.byteLength(empty) < 60_000, `${Buffer.byteLength(empty)} bytes`);
  assert.doesNotMatch(empty, /(?:src|href)="?https?:|@import|url\(["']?http/);
  const html = render(dataOf(call({ name: '</script><script>alert(1)</script><!--' })));
  assert.equal(html.match(/<script/g)?.length, empty.match(/<script/g)?.length);
  assert.equal(html.match(/<!--/g), null);
});

const report = {
  url: 'file:///tmp/report.html',
  traces: dataOf(call({ name: 'search\u001b[31m docs' })).traces,
};
const id = 'a'.repeat(32);
const file = path.join(import.meta.dirname, 'my report.html');

test('the terminal gets one link for each trace: as text, or as OSC 8', () => {
  const options = { isServed: false, isLink: false };
  const [line, , last] = reportLines(report, file, {}, options);
  assert.equal(line, `search [31m docs  10.00 ms  file:///tmp/report.html#${id}`);
  assert.ok(last?.endsWith(`  ${pathToFileURL(file).href}`), last);
  const [link] = reportLines(report, file, {}, { ...options, isLink: true });
  assert.equal(
    link,
    `\u001b]8;;file:///tmp/report.html#${id}\u001b\\search [31m docs\u001b]8;;\u001b\\  10.00 ms`,
  );
});

test('links lead to Jaeger while it runs, else to the report', () => {
  const traceUrl = (traceId: string) => `http://localhost:16686/trace/${traceId}`;
  const target = (stack: { staysUp: boolean }, isServed: boolean) =>
    reportLines(report, file, { traceUrl, ...stack }, { isServed, isLink: false })[0]
      ?.split('  ')
      .at(-1);
  assert.equal(target({ staysUp: true }, false), traceUrl(id));
  assert.equal(target({ staysUp: false }, true), traceUrl(id));
  assert.equal(target({ staysUp: false }, false), `file:///tmp/report.html#${id}`);
});

test('a file that cannot be written is named, with the option', async () => {
  for (const [name, code] of [
    [import.meta.dirname, 'EISDIR'],
    ['/dev/null/folder/report.html', 'ENOTDIR'],
  ] as const) {
    await assert.rejects(checkReportFile(name), (error: Error) => {
      assert.ok(error.message.includes(`${name} (${code})`), error.message);
      assert.ok(error.message.endsWith('Name another file: --report FILE'), error.message);
      return true;
    });
  }
});

test('the server builds the report for each request, and listens on this machine only', async (t) => {
  let count = 0;
  const server = await serveReport(async () => `<p>${++count}`);
  t.after(() => server.stop());
  assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
  const get = async (init?: RequestInit, url = server.url) => {
    const response = await fetch(url, init);
    return `${response.status} ${await response.text()}`;
  };
  assert.equal(await get(), '200 <p>1');
  assert.equal(await get(), '200 <p>2');
  assert.match(await get({}, `${server.url}favicon.ico`), /^404 /);
  assert.match(await get({ method: 'POST' }), /^405 /);
});

test('a request for another host name is refused, and a failed report is answered with the reason', async (t) => {
  const server = await serveReport(async () => {
    throw new Error('Jaeger does not answer');
  });
  t.after(() => server.stop());
  assert.equal(await (await fetch(server.url)).text(), 'Jaeger does not answer\n');
  const { port } = new URL(server.url);
  const { request } = await import('node:http');
  const status = await new Promise((resolve, reject) =>
    request({ host: '127.0.0.1', port, headers: { host: 'example.com' } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end(),
  );
  assert.equal(status, 403);
});
