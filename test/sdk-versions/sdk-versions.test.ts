/** Minor versions of the SDK, each installed and run on the real Milvus: all give the same traces. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { type ScriptedMilvus, startScriptedMilvus } from '../differential/scripted-milvus.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { joinedSpans, placeProgram, runApp } from '../support/traced-app.ts';

const SDK = '@zilliz/milvus2-sdk-node';

interface Line {
  /** The newest version of the line. */
  version: string;
  /** The method behind the name loadCollectionSync: 2.4.4 made it an alias. */
  load: 'loadCollection' | 'loadCollectionSync';
  /** Effect of a failed DescribeCollection on its search: it searches anyway, or throws its own error. */
  missingSearch: { rpc: string; outcome: string };
}

const described = { rpc: 'DescribeCollection' };
const lines: Line[] = [
  {
    version: '2.3.5',
    load: 'loadCollectionSync',
    missingSearch: { rpc: 'Search', outcome: 'CollectionNotExists' },
  },
  {
    version: '2.4.9',
    load: 'loadCollection',
    missingSearch: { ...described, outcome: 'threw TypeError' },
  },
  {
    version: '2.5.12',
    load: 'loadCollection',
    missingSearch: { ...described, outcome: 'threw Error' },
  },
  {
    version: '2.6.17',
    load: 'loadCollection',
    missingSearch: { ...described, outcome: 'threw TypeError' },
  },
  {
    version: '3.0.6',
    load: 'loadCollection',
    missingSearch: { ...described, outcome: 'threw TypeError' },
  },
];

/** Expectations for one span. */
interface Expected {
  operation: string;
  /** The program's collection when not given; null: none. */
  collection?: string | null;
  /** The RPCs under it. DescribeCollection may come next to them: caching differs by version. */
  rpcs: string[];
  attributes?: Record<string, unknown>;
  /** The reason is how the description ends: some versions put their own text before the server's. */
  failure?: { reason: string; errorType: string; statusCode?: string };
}

/** The program's calls in their order, as spans. */
function expectedSpans({ load, missingSearch }: Line, collection: string): Expected[] {
  const search = {
    'milvus.consistency_level': 'Strong',
    'milvus.search.nq': 1,
    'milvus.search.limit': 3,
  };
  const missing = `${collection}_missing`;
  const notFound = `collection not found[database=default][collection=${missing}]`;
  return [
    { operation: 'connect', collection: null, rpcs: ['Connect'] },
    { operation: 'hasCollection', rpcs: ['DescribeCollection'] },
    {
      operation: 'createCollection',
      rpcs: ['CreateCollection'],
      attributes: { 'milvus.consistency_level': 'Strong' },
    },
    { operation: 'createIndex', rpcs: ['CreateIndex'] },
    { operation: load, rpcs: ['GetLoadingProgress', 'LoadCollection'] },
    {
      operation: 'insert',
      rpcs: ['Insert'],
      attributes: { 'milvus.request.rows': 6, 'milvus.response.insert_count': 6 },
    },
    { operation: 'search', rpcs: ['Search'], attributes: { ...search, 'db.response.returned_rows': 3 } },
    {
      operation: 'query',
      rpcs: ['Query'],
      attributes: { 'milvus.query.limit': 10, 'db.response.returned_rows': 2 },
    },
    { operation: 'delete', rpcs: ['Delete'], attributes: { 'milvus.response.delete_count': 2 } },
    {
      operation: 'query',
      rpcs: ['Query'],
      attributes: { 'milvus.query.limit': 10 },
      failure: {
        reason: 'cannot parse expression: <filter>',
        errorType: 'Unexpected',
        statusCode: '65535',
      },
    },
    {
      operation: 'search',
      collection: missing,
      rpcs: [missingSearch.rpc],
      attributes: search,
      failure: { reason: notFound, errorType: 'CollectionNotFound', statusCode: '100' },
    },
    {
      operation: 'insert',
      collection: missing,
      rpcs: [],
      attributes: { 'milvus.request.rows': 1 },
      failure: { reason: notFound, errorType: 'CollectionNotFound', statusCode: '100' },
    },
    {
      operation: load,
      collection: missing,
      rpcs: ['LoadCollection'],
      failure: { reason: notFound, errorType: 'CollectionNotFound', statusCode: '100' },
    },
    {
      // Refused by the SDK, before anything is sent.
      operation: 'insert',
      rpcs: [],
      attributes: { 'milvus.request.rows': 1 },
      failure: {
        reason: 'Insert fail: some field does not exist for this collection in line. 0',
        errorType: 'Error',
      },
    },
    { operation: 'dropCollection', rpcs: ['DropCollection'] },
  ];
}

/** Attributes that are on every span, for the stack's Milvus. */
function commonAttributes(milvusAddress: string): Record<string, unknown> {
  const [host, port] = milvusAddress.split(':');
  return {
    'db.system.name': 'milvus',
    'db.namespace': 'default',
    'server.address': host,
    'server.port': Number(port),
  };
}

let stack: Stack;
let scripted: ScriptedMilvus;
before(async () => {
  scripted = await startScriptedMilvus();
  stack = await useStack();
});
after(() => scripted.stop());

function assertFailed({ status, name }: ReceivedSpan, failure: Expected['failure']): void {
  assert.equal(status.code, failure === undefined ? 'UNSET' : 'ERROR', `${name}: ${status.message}`);
  if (failure === undefined) assert.equal(status.message, '');
  else assert.ok(status.message.endsWith(failure.reason), `${name}: ${status.message}`);
}

describe('an app on the real Milvus', { concurrency: 2 }, () => {
  for (const line of lines) {
    const { version, missingSearch } = line;
    test(`with SDK ${version} has one span for each call, joined, failures with the server's own reason`, async () => {
      const collection = `every_line_${version.replaceAll('.', '_')}`;
      const service = `sdk-${version}`;
      const program = await placeProgram('every-line.mjs', await installed({ [SDK]: version }));
      const result = await runApp({ program, stack, service, env: { COLLECTION: collection } });
      assert.deepEqual(
        { ...result, stdout: JSON.parse(result.stdout) },
        {
          stdout: {
            has: false,
            create: 'Success',
            index: 'Success',
            load: 'Success',
            insert: '6',
            search: ['0', '1', '2'],
            query: ['1', '4'],
            delete: 'Success',
            'bad query': 'UnexpectedError',
            'missing search': missingSearch.outcome,
            'missing insert': 'threw Object',
            'missing load': 'threw Error',
            'bad insert': 'threw Error',
            drop: 'Success',
          },
          stderr: '',
          code: 0,
          signal: null,
        },
      );

      // connect default
      // └─ standalone: MilvusService/Connect
      // hasCollection every_line
      // └─ standalone: MilvusService/DescribeCollection
      // …
      // search every_line_missing, ERROR: collection not found
      // └─ standalone: MilvusService/DescribeCollection
      // …
      const expected = expectedSpans(line, collection);
      const joined = await joinedSpans(
        stack,
        service,
        expected.length,
        ({ rpcs }, at) => expected[at]?.rpcs.every((rpc) => rpcs.includes(rpc)) ?? true,
      );
      for (const [at, { operation, collection: named, rpcs, attributes, failure }] of expected.entries()) {
        const { span, rpcs: served } = joined[at] as (typeof joined)[number];
        const collectionName = named === undefined ? collection : named;
        assert.equal(span.name, `${operation} ${collectionName ?? 'default'}`);
        assert.equal(span.kind, 'CLIENT');
        assert.equal(span.scope, 'milvus-otel');
        assert.equal(span.parentSpanId, undefined);
        assertFailed(span, failure);
        assert.deepEqual(span.attributes, {
          ...commonAttributes(stack.milvusAddress),
          'db.operation.name': operation,
          ...(collectionName === null ? {} : { 'db.collection.name': collectionName }),
          ...attributes,
          ...(failure === undefined ? {} : { 'error.type': failure.errorType }),
          ...(failure?.statusCode === undefined ? {} : { 'db.response.status_code': failure.statusCode }),
        });
        assert.deepEqual(
          served.filter((rpc) => rpc !== 'DescribeCollection' || rpcs.includes(rpc)),
          rpcs,
          span.name,
        );
      }
      assert.equal(new Set(joined.map(({ span }) => span.traceId)).size, expected.length);
    });
  }

  test('with two versions of the SDK has the spans of both', async () => {
    const [newest, oldest] = ['3.0.6', '2.3.5'];
    const program = await placeProgram('two-lines.mjs', await installed({ [SDK]: newest }));
    // Any file there will do: modules are looked up from its folder.
    const other = await placeProgram('every-line.mjs', await installed({ [SDK]: oldest }));
    const service = 'sdk-two-lines';
    const result = await runApp({ program, stack, service, env: { OTHER_PROGRAM: other } });
    assert.deepEqual(result, { stdout: `${newest} and ${oldest}\n`, stderr: '', code: 0, signal: null });

    // connect default ─ hasCollection two_lines_0 ─ connect default ─ hasCollection two_lines_1: a trace each
    const joined = await joinedSpans(stack, service, 4);
    assert.deepEqual(
      joined.map(({ span, rpcs }) => [span.name, rpcs]),
      [
        ['connect default', ['Connect']],
        ['hasCollection two_lines_0', ['DescribeCollection']],
        ['connect default', ['Connect']],
        ['hasCollection two_lines_1', ['DescribeCollection']],
      ],
    );
  });
});

describe('calls that are refused by a gRPC status', { concurrency: 2 }, () => {
  for (const { version } of lines) {
    test(`with SDK ${version} are errors with that status`, async () => {
      const service = `sdk-refused-${version}`;
      const program = await placeProgram('refused.mjs', await installed({ [SDK]: version }));
      const env = { MILVUS_ADDRESS: scripted.addresses['invalid argument'] };
      const { stdout, stderr } = await runApp({ program, stack, service, env });
      assert.equal(stderr, '');
      assert.equal(JSON.parse(stdout).length, 3);

      // connect default ─ search books (ERROR) ─ query books (ERROR) ─ insert books (ERROR): a trace each
      const [connected, ...refused] = await joinedSpans(stack, service, 4, () => true);
      assert.equal(connected?.span.status.code, 'UNSET');
      assert.deepEqual(
        refused.map(({ span: { name, status, attributes } }) => [
          name,
          status,
          attributes['error.type'],
          attributes['db.response.status_code'],
        ]),
        [
          ['search books', 'DescribeCollection'],
          ['query books', 'Query'],
          ['insert books', 'DescribeCollection'],
        ].map(([name, rpc]) => [
          name,
          { code: 'ERROR', message: `${rpc} does not like it` },
          'INVALID_ARGUMENT',
          'INVALID_ARGUMENT',
        ]),
      );
    });
  }
});
