import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpanKind, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { NodeSDK } from '@opentelemetry/sdk-node';
import type { Row } from '../../bench/measures.ts';
import { startSideProcess } from '../../bench/side-process.ts';
import { added, ratios, spread } from '../../bench/statistics.ts';
import { isMet, markdownTable, replaceTable, terminalTable } from '../../bench/table.ts';

const one = (value: number) => ({ median: value, min: value, max: value, count: 1 });

test('the median of an even number of rounds lies between the two in the middle', () => {
  assert.deepEqual(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4, count: 4 });
  assert.equal(spread([]), undefined);
});

test('a ratio is taken round by round, and a round drowned in noise has none', () => {
  const none = [100, 100, 100];
  const ours = added([110, 120, 130], none);
  const stock = added([200, 99, 160], none);
  assert.deepEqual(ratios(ours, stock), [0.1, 0.5]);
});

test('a ratio is judged by its median, lost spans by the worst burst', () => {
  const row: Row = { measure: 'cpu', what: 'CPU', unit: 'µs', ours: one(1), stock: one(4), target: 0.4 };
  assert.equal(isMet({ ...row, ratio: { median: 0.3, min: 0.1, max: 0.9, count: 3 } }), true);
  assert.equal(isMet({ ...row, ratio: one(0.41) }), false);
  assert.equal(isMet({ ...row, ratio: undefined }), false, 'a ratio that could not be measured is not met');
  assert.equal(isMet({ ...row, target: undefined }), undefined);
  const lost = { median: 0, min: 0, max: 3, count: 3 };
  assert.equal(isMet({ ...row, unit: 'spans', ours: lost, target: 0 }), false);
});

test('the table goes between its markers, as often as one likes', () => {
  const row: Row = {
    measure: 'startup',
    what: 'start-up added, wall',
    unit: 'ms',
    none: one(300),
    ours: { median: 51.23, min: 40, max: 60, count: 15 },
    stock: one(500),
    ratio: one(0.1),
    target: 0.2,
  };
  const table = markdownTable([row], ['Machine: two cores']);
  assert.match(
    table,
    /^\| start-up added, wall \| 300 ms \| 51\.2 \(40–60\) ms \| 500 ms \| 0\.10 \| <= 0\.2 \| met \|$/m,
  );
  assert.equal(terminalTable([row], false).includes('\x1b'), false);
  const page = 'before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n';
  const written = replaceTable(page, table);
  assert.ok(written.startsWith('before\n') && written.endsWith('\nafter\n') && !written.includes('old'));
  assert.equal(replaceTable(written, table), written);
  assert.throws(() => replaceTable('no markers', table), /lacks its markers/);
});

test("the bench's collector counts the client spans of a real exporter by service and name", async (t) => {
  const collector = await startSideProcess(new URL('../../bench/collector.ts', import.meta.url));
  t.after(() => collector.stop());
  const sdk = new NodeSDK({
    traceExporter: new OTLPTraceExporter({ url: `http://${collector.address}` }),
    serviceName: 'app',
    instrumentations: [],
    autoDetectResources: false,
  });
  sdk.start();
  const tracer = trace.getTracer('bench test');
  for (let call = 0; call < 700; call += 1)
    tracer
      .startSpan('search docs', {
        kind: SpanKind.CLIENT,
        attributes: { 'milvus.search.limit': 5, ratio: 0.5 },
      })
      .addEvent('sent')
      .end();
  tracer.startSpan('search in the app').end();
  tracer.startSpan('insert docs', { kind: SpanKind.CLIENT }).end();
  await sdk.shutdown();

  assert.deepEqual(await collector.ask('what came?'), { app: { 'search docs': 700, 'insert docs': 1 } });
  assert.deepEqual(await collector.ask('what came?'), {}, 'a question starts the count anew');
});
