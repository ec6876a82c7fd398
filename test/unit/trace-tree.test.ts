import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  countJoins,
  formatTree,
  formatTrees,
  shortName,
  traceTrees,
} from '../../tools/pictures/trace-tree.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { receivedSpan } from '../support/received-span.ts';

const search = 'milvus.proto.milvus.MilvusService/Search';

const span = (spanId: string, parentSpanId: string | undefined, given: Partial<ReceivedSpan> = {}) =>
  receivedSpan({ spanId, parentSpanId, ...given });

function joinedSearch(traceId: string): ReceivedSpan[] {
  return [
    span('task', 'server', { traceId, name: 'SearchTask', startMs: 3, durationMs: 9.5 }),
    span('server', 'client', { traceId, name: search, kind: 'SERVER', startMs: 2, durationMs: 11 }),
    span('pre', 'task', { traceId, name: 'PreExecute', startMs: 4, durationMs: 0.25 }),
    span('post', 'task', { traceId, name: 'PostExecute', startMs: 8, durationMs: 0.125 }),
    span('client', undefined, {
      traceId,
      name: 'search quick_setup',
      kind: 'CLIENT',
      service: 'app',
      startMs: 1,
      durationMs: 123.456,
    }),
  ];
}

test('spans in any order become one tree, children in the order of their start', () => {
  const [tree, ...others] = traceTrees(joinedSearch('t'));
  assert.deepEqual(others, []);
  assert.equal(tree?.span.spanId, 'client');
  const task = tree?.children[0]?.children[0];
  assert.deepEqual(
    task?.children.map((child) => child.span.spanId),
    ['pre', 'post'],
  );
});

test('of siblings with the same start, the one that ended first comes first', () => {
  const [tree] = traceTrees([
    span('root', undefined, { durationMs: 9 }),
    span('search', 'root', { durationMs: 7 }),
    span('embed', 'root', { durationMs: 0.1 }),
  ]);
  assert.deepEqual(
    tree?.children.map((child) => child.span.spanId),
    ['embed', 'search'],
  );
});

test('a span that was received twice is one node', () => {
  const spans = joinedSearch('t');
  const [tree, ...others] = traceTrees([...spans, ...spans]);
  assert.deepEqual(others, []);
  assert.equal(tree?.children.length, 1);
});

test('a span whose parent has not arrived is a separate root', () => {
  const roots = traceTrees(joinedSearch('t').filter(({ spanId }) => spanId !== 'server'));
  assert.deepEqual(
    roots.map((root) => root.span.spanId),
    ['client', 'task'],
  );
});

test('equal span ids in two traces stay apart', () => {
  const roots = traceTrees([...joinedSearch('t'), ...joinedSearch('u')]);
  assert.deepEqual(
    roots.map((root) => [root.span.traceId, root.children.length]),
    [
      ['t', 1],
      ['u', 1],
    ],
  );
});

test('a tree shows the service where it changes, short gRPC names and durations in a column', () => {
  const [tree] = traceTrees(joinedSearch('t'));
  assert.ok(tree);
  assert.equal(
    formatTree(tree, { colour: false }),
    [
      'app: search quick_setup              123.46 ms',
      '└─ standalone: MilvusService/Search   11.00 ms',
      '   └─ SearchTask                       9.50 ms',
      '      ├─ PreExecute                    0.25 ms',
      '      └─ PostExecute                   0.13 ms',
    ].join('\n'),
  );
});

test('spans below the requested depth are counted', () => {
  const [tree] = traceTrees(joinedSearch('t'));
  assert.ok(tree);
  assert.equal(
    formatTree(tree, { colour: false, depth: 2 }),
    [
      'app: search quick_setup              123.46 ms',
      '└─ standalone: MilvusService/Search   11.00 ms',
      '   └─ … 3 more',
    ].join('\n'),
  );
});

test('several trees share one column', () => {
  const lines = formatTrees(
    traceTrees([
      span('short', undefined, { service: 'app', durationMs: 1000 }),
      span('with a much longer name', undefined, { service: 'app', startMs: 1 }),
    ]),
    { colour: false },
  ).split('\n');
  assert.deepEqual(lines, [
    'app: short                    1000.00 ms',
    'app: with a much longer name     1.00 ms',
  ]);
});

test('a failed span shows its error, and colour changes no text', () => {
  const [tree] = traceTrees([
    span('boom', undefined, { status: { code: 'ERROR', message: 'no such index' } }),
  ]);
  assert.ok(tree);
  const plain = formatTree(tree, { colour: false });
  assert.equal(plain, 'standalone: boom  1.00 ms  ERROR no such index');
  const painted = formatTree(tree, { colour: true });
  assert.notEqual(painted, plain);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is removed.
  assert.equal(painted.replace(/\u001b\[\d+m/g, ''), plain);
});

test('a trace counts as joined by parent and child ids alone', () => {
  assert.deepEqual(countJoins([...joinedSearch('t'), ...joinedSearch('u')], 'app'), {
    clientTraces: 2,
    joined: 2,
    unjoined: [],
  });

  // Same trace id, but the server's span has a parent that the client never sent.
  const strayed = joinedSearch('t').map((given) =>
    given.spanId === 'server' ? { ...given, parentSpanId: 'elsewhere' } : given,
  );
  assert.deepEqual(countJoins([...strayed, ...joinedSearch('u')], 'app'), {
    clientTraces: 2,
    joined: 1,
    unjoined: ['search quick_setup (trace t)'],
  });
});

test('one unanswered client span leaves its whole trace unjoined', () => {
  const spans = joinedSearch('t').map((given) =>
    given.spanId === 'client' ? { ...given, parentSpanId: 'root' } : given,
  );
  const root = span('root', undefined, { traceId: 't', service: 'app' });
  const lost = span('lost', 'root', {
    traceId: 't',
    service: 'app',
    kind: 'CLIENT',
    name: 'insert quick_setup',
  });
  assert.equal(countJoins([root, ...spans], 'app').joined, 1);
  assert.deepEqual(countJoins([root, lost, ...spans], 'app'), {
    clientTraces: 1,
    joined: 0,
    unjoined: ['insert quick_setup (trace t)'],
  });
});

test('traces that the server starts are no client traces', () => {
  assert.deepEqual(countJoins([span('AllocTimestamp', undefined)], 'app'), {
    clientTraces: 0,
    joined: 0,
    unjoined: [],
  });
});

test('only the protobuf package is removed from a name', () => {
  assert.equal(shortName(search), 'MilvusService/Search');
  assert.equal(shortName('Proxy-Search'), 'Proxy-Search');
  assert.equal(shortName('GET /v1.Collections/x'), 'GET /v1.Collections/x');
  assert.equal(shortName('search a.B/c'), 'search a.B/c');
});
