import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpanKind, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { attributeBytes, attributeTime, type CallFrame, differences } from '../../bench/cpu-profile.ts';
import { type Growth, pooled, rowsOf, type Series } from '../../bench/growth.ts';
import { dominatorTree, summarize } from '../../bench/heap-snapshot.ts';
import { selfCosts, spoilt } from '../../bench/instructions.ts';
import { type Row, stretchesOf } from '../../bench/measures.ts';
import { type Results, writtenInto } from '../../bench/results.ts';
import { sideBySide } from '../../bench/side-by-side.ts';
import { startSideProcess } from '../../bench/side-process.ts';
import { added, ratios, spread } from '../../bench/statistics.ts';
import {
  growthTable,
  instructionsTable,
  isFlat,
  isMet,
  mainTable,
  markdown,
  peerTable,
  replacePart,
  terminalText,
} from '../../bench/table.ts';
import { drawCostPerCall, drawStartUp } from '../../tools/pictures/bench-plot.ts';

const one = (value: number) => ({ median: value, min: value, max: value, count: 1 });

test('the median of an even number of rounds lies between the two in the middle', () => {
  assert.deepEqual(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4, count: 4 });
  assert.equal(spread([]), undefined);
});

test('a ratio is taken per round, and a round dominated by noise has none', () => {
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

const startUpRow: Row = {
  measure: 'startup',
  what: 'start-up added, wall',
  unit: 'ms',
  none: one(300),
  ours: { median: 51.23, min: 40, max: 60, count: 15 },
  stock: one(500),
  ratio: one(0.1),
  target: 0.2,
};
const growthRow = (size: number, oursToSmaller: number | undefined): Growth => ({
  by: 'clients',
  operation: 'search',
  size,
  isSmallest: size === 1,
  untraced: one(300),
  ours: one(40),
  oursToSmaller,
});
const results: Results = {
  rows: [startUpRow, { ...startUpRow, measure: 'cpu', what: 'CPU added per search', unit: 'µs' }],
  growth: [growthRow(1, undefined), growthRow(10, 1.2), growthRow(100, 1.6)],
  floors: [
    { to: 'start-up, wall', what: 'an empty preload', unit: 'ms', added: one(2) },
    { to: 'a search, CPU', what: 'an empty span', unit: 'µs', added: one(20) },
  ],
  conditions: ['Machine: two cores & a <half>'],
  peers: {
    conditions: ['Rounds: 3'],
    rows: [
      { name: 'milvus-otel', package: 'milvus-otel', version: '1.0.0' },
      { name: 'stock', package: '@opentelemetry/auto-instrumentations-node', version: '0.82.0' },
      { name: 'Elastic', package: '@elastic/opentelemetry-node', version: '1.18.0', startUpWallMs: one(700) },
      { name: 'Splunk', package: '@splunk/otel', problem: 'No matching version | found' },
    ],
  },
};

test('a table has a line for each row, in Markdown and for a terminal', () => {
  assert.match(
    markdown(mainTable([startUpRow])),
    /^\| start-up added, wall \| 300 ms \| 51\.2 \(40–60\) ms \| 500 ms \| 0\.10 \| <= 0\.2 \| met \|$/m,
  );
  assert.equal(terminalText(mainTable([startUpRow]), false).includes('\x1b'), false);
  const [, , coloured] = terminalText(mainTable([startUpRow]), true).split('\n');
  assert.ok(coloured?.startsWith('\x1b[32mstart-up added, wall') && coloured.endsWith('met\x1b[0m'));
});

test('a cost more than 1.5 times that of a smaller size is not flat', () => {
  assert.deepEqual(results.growth.map(isFlat), [undefined, true, false]);
  for (const drowned of [-0.5, undefined]) {
    const unknown = growthRow(10, drowned);
    assert.equal(isFlat(unknown), false, 'noise that is larger than the cost shows nothing');
    assert.match(markdown(growthTable([unknown])), /\| noise \|.*\| not met \|/);
    assert.match(markdown(growthTable([growthRow(1, undefined)])), /\| {2}\| {2}\| {2}\|$/m);
  }
});

test('a stretch of searches ends where the next begins, and the last at the exit', () => {
  const at = (cpuMs: number, peakMiB: number) => ({ cpuMs, peakMiB });
  const slicesBegan = [at(100, 50), at(110, 51), at(125, 52), at(130, 53)];
  assert.deepEqual(stretchesOf({ wallMs: 1000, ...at(150, 60), slicesBegan }, 2), [at(25, 52), at(25, 60)]);
  assert.deepEqual(stretchesOf({ wallMs: 1000, ...at(150, 60), slicesBegan }, 1), [at(50, 60)]);
});

test('the cost of a span as the work grows is computed from the pairs of each process', () => {
  const series: Series = {
    what: 'clients',
    points: [1, 10, 100].map((clients) => ({ operation: 'search', clients, collections: 1, inFlight: 8 })),
    size: ({ clients }) => clients,
  };
  /** A slice is 16 calls. */
  const slice = (untracedUs: number, addedUs: number) => ({
    untraced: (untracedUs * 16) / 1000,
    traced: ((untracedUs + addedUs) * 16) / 1000,
  });
  // By round, point and pair. The second pair is slow, the second process faster than the first.
  const rows = rowsOf(series, [
    [
      [slice(300, 50), slice(600, 51), slice(310, 49)],
      [slice(320, 30), slice(640, 31), slice(330, 29)],
      [slice(340, 55), slice(680, 56), slice(350, 54)],
    ],
    [
      [slice(250, 70), slice(400, 69), slice(260, 71)],
      [slice(270, 50), slice(440, 51), slice(280, 49)],
      [slice(290, 65), slice(480, 66), slice(300, 64)],
    ],
  ]);
  const rounded = rows.map(({ untraced, ours, oursToSmaller = 0, isSmallest, size }) =>
    [untraced.median, ours.median, ours.min, ours.max, oursToSmaller * 100]
      .map(Math.round)
      .concat(Number(isSmallest), size),
  );
  assert.deepEqual(rounded, [
    [285, 60, 50, 70, 0, 1, 1],
    [305, 40, 30, 50, 67, 0, 10],
    // Compared with ten clients, which cost less than one.
    [325, 60, 55, 65, 150, 0, 100],
  ]);
  const drowned = rowsOf(series, [[[slice(300, -1)], [slice(300, 5)], [slice(300, 5)]]]);
  assert.deepEqual(
    drowned.map(({ oursToSmaller }) => oursToSmaller),
    [undefined, undefined, undefined],
  );
});

test('a point in two series gets the pairs of both', () => {
  const point = { operation: 'search', clients: 1, collections: 1, inFlight: 8 } as const;
  const slice = (traced: number) => ({ traced, untraced: 0 });
  const both = [
    { points: [{ ...point, inFlight: 1 }, point] },
    { points: [point, { ...point, clients: 10 }] },
  ];
  assert.deepEqual(
    pooled(both, [
      [[slice(1)], [slice(2), slice(3)]],
      [[slice(4)], [slice(5)]],
    ]),
    [
      [[slice(1)], [slice(2), slice(3), slice(4)]],
      [[slice(2), slice(3), slice(4)], [slice(5)]],
    ],
  );
});

test('parts run in parallel up to a limit, and give their results in order', async () => {
  let running = 0;
  let most = 0;
  const part = (result: number, ms: number) => async () => {
    running += 1;
    most = Math.max(most, running);
    await sleep(ms);
    running -= 1;
    return result;
  };
  assert.deepEqual(
    await sideBySide([part(1, 30), part(2, 1), part(3, 1), part(4, 1)], { atOnce: 2 }),
    [1, 2, 3, 4],
  );
  assert.equal(most, 2);
  assert.deepEqual(await sideBySide([]), []);
});

test('when a part fails, the others are aborted, none starts, and the failure is thrown when all have ended', async () => {
  const ends: string[] = [];
  const stopped = (theSignal: AbortSignal) =>
    sleep(60_000, undefined, { signal: theSignal }).finally(() => ends.push('stopped'));
  const failed = async () => {
    ends.push('failed');
    throw new Error('the first failure');
  };
  const never = async () => ends.push('began');
  await assert.rejects(sideBySide<unknown>([stopped, failed, never], { atOnce: 2 }), /the first failure/);
  assert.deepEqual(ends, ['failed', 'stopped']);

  const outer = new AbortController();
  setTimeout(() => outer.abort(new Error('Ctrl-C')), 10);
  await assert.rejects(sideBySide([stopped], { signal: outer.signal }), /abort/i);
});

test('a peer that cannot be measured is a line with the reason', () => {
  const lines = markdown(peerTable(results.peers?.rows ?? [])).split('\n');
  assert.equal(lines.at(-1), '| @splunk/otel |  |  |  |  |  | not measured: No matching version \\| found |');
});

test('the tables go between their markers, also when written again', () => {
  const part = (name: string) => `<!-- bench:${name}:begin -->\nold\n<!-- bench:${name}:end -->\n`;
  const page = `before\n${part('table')}${part('growth')}${part('floor')}${part('peers')}after\n`;
  const written = writtenInto(page, results);
  assert.ok(written.startsWith('before\n') && written.endsWith('\nafter\n') && !written.includes('old'));
  assert.equal(writtenInto(written, results), written);
  const { peers: _, ...withoutPeers } = results;
  assert.equal(writtenInto(written, withoutPeers), written, 'a run without peers keeps the last ones');
  assert.throws(() => replacePart('no markers', 'table', ''), /lacks its markers/);
});

test('docs/benchmarks.md shows the kept results, and is no longer than 1,500 words', async () => {
  const page = await readFile(new URL('../../docs/benchmarks.md', import.meta.url), 'utf8');
  const kept = JSON.parse(await readFile(new URL('../../bench/results.json', import.meta.url), 'utf8'));
  assert.equal(writtenInto(page, kept), page, 'the tables are written by `npm run bench -- --write` only');
  assert.ok(page.split(/\s+/).filter((word) => /\w/.test(word)).length <= 1_500);
});

test('docs/benchmarks.md has a place for everything that is written into it', async () => {
  const page = await readFile(new URL('../../docs/benchmarks.md', import.meta.url), 'utf8');
  assert.match(writtenInto(page, results), /@elastic\/opentelemetry-node 1\.18\.0/);
});

test('the pictures have a text description and a bar for each measurement', () => {
  const startUp = drawStartUp(results) as string;
  assert.match(
    startUp,
    /<desc id="description">An app .*: an empty preload 2\.0 ms, milvus-otel 51 ms, stock auto-[^,]* 500 ms\.<\/desc>/,
  );
  assert.match(startUp, /Machine: two cores &#38; a &#60;half&#62;/);
  assert.equal(startUp.match(/<rect class="(ours|stock|floor)"/g)?.length, 3);
  const perCall = drawCostPerCall(results) as string;
  assert.equal(perCall.match(/<circle class="ours"/g)?.length, 3);
  for (const picture of [startUp, perCall]) assert.doesNotMatch(picture, /NaN|undefined|Infinity/);
  assert.equal(drawStartUp({ ...results, rows: [], floors: [], peers: undefined }), undefined);
});

const frame = (functionName: string, url = ''): CallFrame => ({
  functionName,
  url,
  lineNumber: 0,
  columnNumber: 0,
});
const originOf = ({ functionName, url }: CallFrame) => ({
  group:
    url === '' ? (functionName.startsWith('(') ? functionName : 'native') : (url.split('/')[0] as string),
  file: url.split('/').slice(1).join('/'),
  functionName,
});

test('time in Node and V8 counts for the calling file; idle time and the profiler count for none', () => {
  // (root) ├─ (idle)
  //        ├─ start, profile.mjs
  //        └─ search, app ├─ span, ours ─ write, node ─ writev
  //                       └─ require, ours ─ load, node's loader ─ read
  const nodes = [
    { id: 1, callFrame: frame('(root)'), children: [2, 3, 4] },
    { id: 2, callFrame: frame('(idle)') },
    { id: 3, callFrame: frame('start', 'app/profile.mjs') },
    { id: 4, callFrame: frame('search', 'app/searches.mjs'), children: [5, 8] },
    { id: 5, callFrame: frame('span', 'ours/span.ts'), children: [6] },
    { id: 6, callFrame: frame('write', 'node/net'), children: [7] },
    { id: 7, callFrame: frame('writev') },
    { id: 8, callFrame: frame('require', 'ours/hook.ts'), children: [9] },
    { id: 9, callFrame: frame('load', 'node/internal/modules/cjs/loader'), children: [10] },
    { id: 10, callFrame: frame('read') },
  ];
  const samples = [2, 3, 4, 5, 5, 6, 7, 8, 9, 10];
  // The second in `search` is another process: no sample takes that long.
  const timeDeltas = [9000, 100, 90_000, 100, 100, 100, 100, 100, 100, 100];
  const found = attributeTime({ nodes, samples, timeDeltas }, originOf);
  const inTenths = (amounts: Map<string, number>) =>
    Object.fromEntries([...amounts].map(([name, ms]) => [name, Math.round(ms * 10)]));
  assert.deepEqual(inTenths(found.groups), { app: 5, ours: 3, node: 2, native: 2 });
  assert.deepEqual(inTenths(found.onBehalfOf), {
    'app searches.mjs': 5,
    'ours span.ts': 4,
    'ours hook.ts': 1,
    'node, loading of modules': 2,
  });
  assert.equal(Math.round(found.total * 10), 12);
});

test('bytes are attributed as time is, and the largest difference comes first', () => {
  const head = {
    callFrame: frame('(root)'),
    selfSize: 0,
    children: [
      { callFrame: frame('span', 'ours/span.ts'), selfSize: 30, children: [] },
      { callFrame: frame('search', 'app/searches.mjs'), selfSize: 50, children: [] },
    ],
  };
  const { groups } = attributeBytes({ head }, originOf);
  assert.deepEqual(differences(groups, new Map([['app', 45]]), 9), [
    { name: 'ours', ours: 30, none: 0 },
    { name: 'app', ours: 50, none: 45 },
  ]);
});

test('a heap snapshot is summed up by name, and by the memory that an object retains', () => {
  // root ─ roots ├─ map ─ buffer      buffer and list share text, so it is freed with neither.
  //              └─ list              buffer ─ text, list ─ text
  const edges: Record<number, number[]> = { 0: [1], 1: [2, 3], 2: [4], 3: [5], 4: [5], 5: [] };
  const { order, dominators } = dominatorTree(6, (node) => edges[node] as number[]);
  assert.equal(order.length, 6);
  assert.deepEqual([...dominators], [0, 0, 1, 1, 2, 1]);

  const strings = ['', 'roots', '/app/node_modules/map/index.js', 'List', 'Buffer', 'text'];
  const types = ['synthetic', 'object', 'string'];
  const kinds = [0, 0, 1, 1, 1, 2];
  const sizes = [0, 0, 10_000, 40_000, 50_000, 7];
  const summary = summarize({
    snapshot: {
      meta: {
        node_fields: ['type', 'name', 'id', 'self_size', 'edge_count'],
        node_types: [types],
        edge_fields: ['type', 'name_or_index', 'to_node'],
        edge_types: [['property', 'weak', 'shortcut']],
      },
    },
    nodes: sizes.flatMap((size, node) => [
      kinds[node] as number,
      node,
      node,
      size,
      (edges[node] as number[]).length,
    ]),
    edges: Object.values(edges)
      .flat()
      .flatMap((to) => [0, 0, to * 5]),
    strings,
  });
  assert.equal(summary.totalBytes, 100_007);
  assert.deepEqual(summary.retained, [
    { name: 'object map/index.js', bytes: 60_000 },
    { name: 'object List', bytes: 40_000 },
  ]);
  assert.equal(summary.byName.get('string'), 7);
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
  assert.deepEqual(await collector.ask('what came?'), {}, 'a question resets the count');
});

test('instructions count for the function itself, not for its callers', () => {
  const profile = [
    'events: Ir',
    'ob=(1) /usr/bin/node',
    'fl=(1) a.cc',
    'fn=(1) outer',
    '10 5',
    '+2 3',
    'cfn=(2) inner',
    'calls=4 20',
    '12 4000',
    '* 2',
    '',
    'fn=(2)',
    '20 1000',
    '-1 7',
    'fn=(1)',
    '30 1',
    'totals: 1018',
  ].join('\n');
  assert.deepEqual(Object.fromEntries(selfCosts(profile)), { outer: 11, inner: 1007 });
});

test('the instructions that a preload adds are next to its ratio to stock', () => {
  const of = (running: number, compiling: number, collecting: number) => ({
    running,
    compiling,
    collecting,
    marking: 0,
  });
  const table = instructionsTable(
    new Map([
      ['none', of(700_000, 200_000, 50_000)],
      ['ours', of(750_000, 200_000, 49_000)],
      ['stock', of(900_000, 210_000, 40_000)],
    ]),
  );
  assert.deepEqual(
    table.lines.map(({ cells }) => cells),
    [
      ['running', '700.0', '50.0', '200.0', '0.25'],
      ['compiling', '200.0', '0.0', '10.0', '0.00'],
      ['collecting garbage', '50.0', '-1.0', '-10.0', ''],
      ['all', '950.0', '49.0', '200.0', '0.24'],
    ],
  );
});

test('a full garbage collection during a count is reported', () => {
  const of = (marking: number) => ({ running: 700_000, compiling: 0, collecting: 500_000, marking });
  assert.deepEqual(spoilt(new Map([['none', of(0)]])), []);
  assert.match(
    spoilt(
      new Map([
        ['none', of(6_000)],
        ['ours', of(400_000)],
        ['stock', of(300_000)],
      ]),
    )[0] ?? '',
    /count of ours and stock:/,
  );
});
