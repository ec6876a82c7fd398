/** Messages of Milvus, encoded by protobufjs from the SDK's protocol files, read in pieces. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FirstMessage } from '../../src/milvus/wire/grpc-frame.ts';
import { statusOfClosedStream, statusOfHttp, timeoutMs } from '../../src/milvus/wire/grpc-status.ts';
import { rpcOf } from '../../src/milvus/wire/message-fields.ts';
import { type MessageFields, MessageReader, type Values } from '../../src/milvus/wire/message-reader.ts';
import { readWireRequest, readWireResponse, shownReason } from '../../src/milvus/wire/wire-operation.ts';
import { encoded, messageType, methodTypes } from '../support/milvus-protocol.ts';

/** The same bytes in pieces of these lengths, repeated. */
function* pieces(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const length = lengths[n % lengths.length] ?? bytes.length;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}

function read(fields: MessageFields, bytes: Uint8Array, lengths: readonly number[] = []): Values {
  const reader = new MessageReader(fields, bytes.length);
  for (const piece of pieces(bytes, lengths)) reader.read(piece);
  return reader.values;
}

const sentRequest = (rpc: string, request: object, lengths?: readonly number[]) =>
  readWireRequest(rpc, read(rpcOf(rpc).request, encoded(methodTypes(rpc).request, request), lengths));

const sentResponse = (
  rpc: string,
  response: object,
  lengths?: readonly number[],
  operation = rpc.toLowerCase(),
) =>
  readWireResponse(
    rpc,
    operation,
    read(rpcOf(rpc).response, encoded(methodTypes(rpc).response, response), lengths),
  );

/** common.proto, PlaceholderGroup: what a search looks for. */
const placeholders = (type: 'FloatVector' | 'VarChar', ...values: Uint8Array[]): Uint8Array =>
  encoded(messageType('PlaceholderGroup'), { placeholders: [{ tag: '$0', type, values }] });

const pieceLengths = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });
const names = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' });
const levels = ['Strong', 'Session', 'Bounded', 'Eventually', 'Customized'] as const;

describe('a request, in pieces of any size', () => {
  test('of a search gives the attributes of its span', () => {
    const search = fc.record({
      collection: names,
      database: fc.option(names, { nil: undefined }),
      partitions: fc.array(names, { maxLength: 3 }),
      vectors: fc.uint8Array({ maxLength: 300 }),
      nq: fc.integer({ min: 1, max: 5_000 }),
      limit: fc.integer({ min: 1, max: 16_384 }),
      field: names,
      level: fc.nat(4),
      filter: fc.string({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(search, pieceLengths, (given, lengths) => {
        const request = {
          base: { msg_type: 'Search', msgID: '1' },
          db_name: given.database,
          collection_name: given.collection,
          partition_names: given.partitions,
          dsl: given.filter,
          dsl_type: 1,
          placeholder_group: placeholders('FloatVector', given.vectors),
          output_fields: ['anns_field', 'topk'],
          search_params: [
            { key: 'anns_field', value: given.field },
            { key: 'topk', value: String(given.limit) },
            { key: 'params', value: '{"nprobe":8}' },
          ],
          nq: given.nq,
          consistency_level: given.level,
        };
        const { operation, collection, database, attributes, filters } = sentRequest(
          'Search',
          request,
          lengths,
        );
        assert.deepEqual([operation, collection, database], ['search', given.collection, given.database]);
        assert.deepEqual(attributes, {
          ...(given.partitions.length > 0 ? { 'milvus.partition.names': given.partitions } : {}),
          'milvus.consistency_level': levels[given.level],
          'milvus.anns_field': given.field,
          'milvus.search.nq': given.nq,
          'milvus.search.limit': given.limit,
        });
        assert.deepEqual(filters, given.filter === '' ? [] : [given.filter]);
      }),
    );
  });

  test('of a hybrid search gives its fields, the vectors of the first search and the limit of the ranker', () => {
    const search = (field: string, nq: number, dsl: string) => ({
      collection_name: 'docs',
      nq,
      dsl,
      placeholder_group: placeholders('FloatVector', new Uint8Array(100)),
      search_params: [
        { key: 'anns_field', value: field },
        { key: 'topk', value: '99' },
      ],
    });
    const request = {
      collection_name: 'docs',
      requests: [search('title', 2, 'year > 1'), search('text', 3, '')],
      rank_params: [
        { key: 'strategy', value: 'rrf' },
        { key: 'limit', value: '7' },
      ],
      consistency_level: 1,
    };
    assert.deepEqual(sentRequest('HybridSearch', request, [3]), {
      operation: 'hybridSearch',
      collection: 'docs',
      database: undefined,
      attributes: {
        'milvus.consistency_level': 'Session',
        'milvus.anns_field': 'title,text',
        'milvus.search.nq': 2,
        'milvus.search.limit': 7,
      },
      filters: ['year > 1'],
    });
  });

  test('of rows gives their number, of a count its name, of the default level none', () => {
    const rows = { collection_name: 'docs', partition_name: 'p', num_rows: 3, hash_keys: [1, 2, 3] };
    const fields_data = [{ field_name: 'v', vectors: { dim: 4, float_vector: { data: [1, 2, 3, 4] } } }];
    assert.deepEqual(sentRequest('Insert', { ...rows, fields_data }, [7]).attributes, {
      'milvus.partition.names': ['p'],
      'milvus.request.rows': 3,
    });
    const count = { collection_name: 'docs', output_fields: ['count(*)'], use_default_consistency: true };
    assert.deepEqual(sentRequest('Query', count, [1]), {
      operation: 'count',
      collection: 'docs',
      database: undefined,
      attributes: {},
      filters: [],
    });
  });
});

describe('an answer, in pieces of any size', () => {
  const status = { error_code: 'Success', code: 0, extra_info: { report_value: '21' } };

  test('of a search gives its hits, whatever columns and keys come with them', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 20 }), pieceLengths, (topks, lengths) => {
        const hits = topks.reduce((sum, hits) => sum + hits, 0);
        const results = {
          num_queries: topks.length,
          top_k: 300,
          fields_data: [{ scalars: { string_data: { data: ['a', 'b'] } } }],
          scores: Array.from({ length: hits }, () => 0.5),
          ids: { int_id: { data: Array.from({ length: hits }, (_, id) => id * 1e9) } },
          topks,
        };
        assert.deepEqual(sentResponse('Search', { status, results }, lengths, 'search'), {
          failure: undefined,
          attributes: { 'db.response.returned_rows': hits, 'milvus.response.cost': 21 },
          rows: hits,
        });
      }),
    );
  });

  test('of a query gives its number of rows, from any column that has it', () => {
    const columns = fc.oneof(
      fc
        .array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
        .map((data) => ({ long_data: data.map(String) })),
      fc.array(fc.integer()).map((data) => ({ int_data: data })),
      fc.array(fc.boolean()).map((data) => ({ bool_data: data })),
      fc.array(fc.float({ noNaN: true })).map((data) => ({ float_data: data })),
      fc.array(fc.double({ noNaN: true })).map((data) => ({ double_data: data })),
      fc.array(fc.string()).map((data) => ({ string_data: data })),
      fc.array(fc.uint8Array()).map((data) => ({ json_data: data })),
    );
    fc.assert(
      fc.property(columns, fc.boolean(), pieceLengths, (column, isAfterVectors, lengths) => {
        const [[name, data] = ['', []]] = Object.entries(column) as [string, unknown[]][];
        const vectors = { vectors: { dim: 2, float_vector: { data: [1, 2, 3, 4] } } };
        const fields_data = [
          ...(isAfterVectors ? [vectors] : []),
          { field_name: 'f', scalars: { [name]: { data } } },
        ];
        assert.deepEqual(sentResponse('Query', { status: {}, fields_data }, lengths).attributes, {
          'db.response.returned_rows': data.length,
        });
      }),
    );
    const nullable = { scalars: { long_data: { data: ['1'] } }, valid_data: [true, false, false] };
    assert.deepEqual(sentResponse('Query', { fields_data: [nullable] }).attributes, {
      'db.response.returned_rows': 3,
    });
    assert.deepEqual(sentResponse('Query', {}).attributes, { 'db.response.returned_rows': 0 });
  });

  test('of a mutation gives its count, also 0, and no keys', () => {
    const ids = { int_id: { data: Array.from({ length: 500 }, (_, id) => id * 1e9) } };
    const succ_index = ids.int_id.data.map((_, row) => row);
    const counts = { status: {}, IDs: ids, succ_index, insert_cnt: 500, delete_cnt: 2, upsert_cnt: 3 };
    assert.deepEqual(sentResponse('Insert', counts, [16]).attributes, {
      'milvus.response.insert_count': 500,
    });
    assert.deepEqual(sentResponse('Delete', counts, [16]).attributes, { 'milvus.response.delete_count': 2 });
    assert.deepEqual(sentResponse('Upsert', counts, [16]).attributes, { 'milvus.response.upsert_count': 3 });
    assert.deepEqual(sentResponse('Delete', { status: {} }).attributes, {
      'milvus.response.delete_count': 0,
    });
  });

  test('that refuses gives Milvus’ code and reason, inside a status or as one', () => {
    const refused = { error_code: 'CollectionNotExists', code: 100, reason: 'collection not found' };
    const failure = { statusCode: '100', errorType: 'CollectionNotFound', reason: 'collection not found' };
    assert.deepEqual(sentResponse('Search', { status: refused }, [5]), {
      failure,
      attributes: {},
      rows: undefined,
    });
    assert.deepEqual(sentResponse('DropCollection', refused, [5]), {
      failure,
      attributes: {},
      rows: undefined,
    });
    assert.deepEqual(sentResponse('CreateCollection', {}), {
      failure: undefined,
      attributes: {},
      rows: undefined,
    });
    assert.deepEqual(sentResponse('Search', { status: { code: 2200, reason: 'no' } }).failure, {
      statusCode: '2200',
      errorType: 'InconsistentRequery',
      reason: 'no',
    });
  });
});

test('a reason hides the request’s filters, and is left out when these are not known', () => {
  const shown = (request: Values | undefined, isWhole = true) =>
    shownReason('Search', 'cannot parse: name == "alice" and', request, isWhole, false);
  assert.equal(shown({ collection_name: 'docs' }), 'cannot parse: name == "alice" and');
  assert.equal(shown({ expr: 'name == "alice" and' }), 'cannot parse: <filter>');
  assert.equal(shown({ requests: [{ dsl: 'name == "alice" and' }] }), 'cannot parse: <filter>');
  const unknown: [Values | undefined, boolean?][] = [
    [undefined],
    [{}, false],
    [{ expr: 'name == {n}', expr_template_values: 1 }],
    [{ requests: [{ ids: {} }] }],
    [{ num_rows: 1 }],
    [{ function_score: {} }],
    [{ requests: [{ highlighter: {} }] }],
  ];
  for (const [request, isWhole] of unknown) assert.equal(shown(request, isWhole), '');
});

test('a reason of a search by text is left out, that of a search by vectors stays', () => {
  const type = methodTypes('HybridSearch').request;
  const reason = (group: Uint8Array, captureFilter = false) => {
    const sent = encoded(type, { collection_name: 'docs', requests: [{ placeholder_group: group }] });
    const request = read(rpcOf('HybridSearch').request, sent);
    return shownReason('HybridSearch', 'bad input: who is alice', request, true, captureFilter);
  };
  const text = placeholders('VarChar', Buffer.from('who is alice'));
  assert.equal(reason(text), '');
  assert.equal(reason(text, true), 'bad input: who is alice');
  assert.equal(reason(placeholders('FloatVector', new Uint8Array(16))), 'bad input: who is alice');
});

test('a reason of a call with secrets is left out, even if filters may be shown', () => {
  const schema = encoded(messageType('CollectionSchema'), {
    name: 'docs',
    external_spec: '{"key":"hunter22"}',
  });
  const requests: [rpc: string, request: object][] = [
    ['CreateCredential', { username: 'alice', password: 'aHVudGVyMjI=' }],
    ['UpdateCredential', { username: 'alice', newPassword: 'aHVudGVyMjI=' }],
    ['RefreshExternalCollection', { collection_name: 'docs', external_spec: '{"key":"hunter22"}' }],
    ['UpdateReplicateConfiguration', {}],
    ['CreateCollection', { collection_name: 'docs', schema }],
  ];
  for (const [rpc, request] of requests) {
    const values = read(rpcOf(rpc).request, encoded(methodTypes(rpc).request, request));
    assert.equal(shownReason(rpc, 'invalid hunter22', values, true, true), '', rpc);
  }
  const plain = encoded(methodTypes('CreateCollection').request, { collection_name: 'docs' });
  const values = read(rpcOf('CreateCollection').request, plain);
  assert.equal(shownReason('CreateCollection', 'no vector field', values, true, false), 'no vector field');
});

describe('the reader', () => {
  const fields: MessageFields = { 1: { name: 'text', as: 'text' }, 2: { name: 'texts', as: 'texts' } };

  test('keeps a bounded part of a message, and skips the rest by length', () => {
    const type = methodTypes('Query').request;
    const expr = 'x'.repeat(200_000);
    const bytes = encoded(type, { expr, collection_name: 'docs', partition_names: ['p'] });
    const reader = new MessageReader(rpcOf('Query').request, bytes.length);
    for (const piece of pieces(bytes, [16_384])) reader.read(piece);
    assert.deepEqual(reader.values, { collection_name: 'docs', partition_names: ['p'] });
    assert.ok(reader.truncated);
  });

  test('terminates on any bytes, at worst with an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), pieceLengths, (bytes, lengths) => {
        for (const rpc of ['Search', 'Query', 'HybridSearch', 'Insert'] as const) {
          for (const side of ['request', 'response'] as const) {
            try {
              readWireRequest(rpc, read(rpcOf(rpc)[side], bytes, lengths));
            } catch (error) {
              assert.ok(error instanceof Error);
            }
          }
        }
      }),
    );
  });

  test('throws on a field that is longer than its message', () => {
    assert.throws(() => read(fields, Uint8Array.of(0x0a, 5, 65)), RangeError);
  });
});

describe('a gRPC frame', () => {
  const message = encoded(methodTypes('GetLoadState').request, { collection_name: 'docs' });
  const frame = (bytes: Uint8Array, compressed = 0) =>
    Buffer.concat([Uint8Array.of(compressed, 0, 0, 0, bytes.length), bytes]);

  test('is read up to its end, in pieces of any size', () => {
    fc.assert(
      fc.property(pieceLengths, (lengths) => {
        const first = new FirstMessage(rpcOf('GetLoadState').request);
        for (const piece of pieces(Buffer.concat([frame(message), frame(message)]), lengths))
          first.read(piece);
        assert.deepEqual([first.values, first.done], [{ collection_name: 'docs' }, true]);
      }),
    );
  });

  test('of an empty message is complete', () => {
    const first = new FirstMessage({});
    first.read(frame(new Uint8Array()));
    assert.deepEqual([first.values, first.done], [{}, true]);
  });

  test('that is compressed is left alone', () => {
    const first = new FirstMessage(rpcOf('GetLoadState').request);
    first.read(frame(message, 1));
    assert.deepEqual([first.values, first.done], [undefined, true]);
  });
});

test('a stream that closes without a status has the one that gRPC gives it', () => {
  const closed = { rstCode: 8, isConnectionLost: false, isTimedOut: false };
  assert.equal(statusOfClosedStream(closed), 1);
  assert.equal(statusOfClosedStream({ ...closed, isTimedOut: true }), 4);
  assert.equal(statusOfClosedStream({ ...closed, isConnectionLost: true }), 14);
  assert.equal(statusOfClosedStream({ ...closed, rstCode: 0 }), 13);
  assert.deepEqual([statusOfHttp(503), statusOfHttp(401), statusOfHttp(418)], [14, 16, 2]);
  assert.deepEqual(['14S', '250m', '1H', '', undefined, '1'].map(timeoutMs), [
    14_000,
    250,
    3_600_000,
    undefined,
    undefined,
    undefined,
  ]);
});
