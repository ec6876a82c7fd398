import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attributes } from '@opentelemetry/api';
import fc from 'fast-check';
import {
  ATTR,
  type AttributeSink,
  clientRequestId,
  collectionName,
  databaseName,
  filterTexts,
  isHybridSearch,
  parseServerAddress,
  queryRows,
  queryVectors,
  readCost,
  readDeleteResponse,
  readHttpCounts,
  readInsertResponse,
  readQueryRequest,
  readRequest,
  readRowsRequest,
  readSearchRequest,
  readUpsertResponse,
  searchRows,
} from '../../src/milvus/attributes.ts';
import { anyData, observed, RUNS } from '../support/arbitrary-values.ts';

type Reader = (source: unknown, sink: AttributeSink) => void;

function read(reader: Reader, source: unknown): Attributes {
  const attributes: Attributes = {};
  reader(source, { setAttribute: (key, value) => Object.assign(attributes, { [key]: value }) });
  return attributes;
}

const REQUEST_READERS: Reader[] = [readRequest, readSearchRequest, readQueryRequest, readRowsRequest];
const RESPONSE_READERS: Reader[] = [
  readCost,
  readInsertResponse,
  readUpsertResponse,
  readDeleteResponse,
  readHttpCounts,
];
const ROW_READERS: Reader[] = [searchRows, queryRows].map((rows) => (source, sink) => {
  const count = rows(source);
  if (count !== undefined) sink.setAttribute(ATTR.returnedRows, count);
});
const READERS = [...REQUEST_READERS, ...RESPONSE_READERS, ...ROW_READERS];

test('the collection is read from each field name that requests use for it', () => {
  assert.equal(collectionName({ collection_name: 'docs' }), 'docs');
  assert.equal(collectionName({ collectionName: 'docs' }), 'docs');
  assert.equal(collectionName({ collection_names: ['docs'] }), 'docs');
  assert.equal(collectionName({ collection_name: 'docs', collection_names: ['others'] }), 'docs');
});

test('several collections, none, or a value that is not a name give no collection', () => {
  for (const request of [
    { collection_names: ['a', 'b'] },
    { collection_names: [] },
    { collection_names: [1] },
    { collection_names: 'docs' },
    { collection_name: '' },
    { collection_name: 7 },
    {},
    undefined,
    null,
    'docs',
    7,
  ]) {
    assert.equal(collectionName(request), undefined, JSON.stringify(request));
  }
});

test('the database is the one that the request names', () => {
  assert.equal(databaseName({ db_name: 'sales' }), 'sales');
  for (const request of [{ db_name: '' }, { db_name: 1 }, {}, undefined]) {
    assert.equal(databaseName(request), undefined);
  }
});

const VECTOR_SHAPES: [shape: string, data: unknown, count: number | undefined][] = [
  ['number[]', [0.1, 0.2, 0.3], 1],
  ['number[][]', [[0.1], [0.2], [0.3]], 3],
  ['number[][] with one', [[0.1, 0.2]], 1],
  ['a binary vector as numbers', [255, 0, 1], 1],
  ['booleans', [true, false], 1],
  ['Uint8Array, float16 or bfloat16 as bytes', new Uint8Array([1, 2]), 1],
  ['Uint8Array[]', [new Uint8Array([1]), new Uint8Array([2])], 2],
  ['Buffer', Buffer.from([1, 2]), 1],
  ['Int8Array', new Int8Array([1, -2]), 1],
  ['Int8Array[]', [new Int8Array([1]), new Int8Array([2])], 2],
  ['sparse, an array with holes at the start', [undefined, undefined, 0.5], 1],
  ['sparse, an array with holes', Object.assign([], { 3: 0.5 }), 1],
  ['sparse, a dictionary', { 3: 0.5, 9: 0.25 }, 1],
  ['sparse, dictionaries', [{ 3: 0.5 }, { 9: 0.25 }], 2],
  ['sparse, rows compressed', { indices: [3, 9], values: [0.5, 0.25] }, 1],
  [
    'sparse, rows compressed, several',
    [
      { indices: [3], values: [0.5] },
      { indices: [9], values: [1] },
    ],
    2,
  ],
  ['sparse, coordinates', [{ index: 3, value: 0.5 }], 1],
  [
    'sparse, coordinates, several',
    [
      [
        { index: 3, value: 0.5 },
        { index: 9, value: 1 },
      ],
      [{ index: 9, value: 0.25 }],
    ],
    2,
  ],
  ['a text, which the server embeds', 'red shoes', 1],
  ['texts', ['red shoes', 'blue shoes'], 2],
  [
    'embedding lists',
    [
      [
        [0.1, 0.2],
        [0.3, 0.4],
      ],
      [[0.5, 0.6]],
    ],
    2,
  ],
  ['an empty array', [], undefined],
  ['null', null, undefined],
  ['a number', 5, undefined],
  ['a function', () => [], undefined],
];

for (const [shape, data, count] of VECTOR_SHAPES) {
  test(`query vectors given as ${shape} are ${count ?? 'not counted'}`, () => {
    for (const field of ['data', 'vector', 'vectors']) {
      assert.equal(queryVectors({ collection_name: 'docs', [field]: data }), count, field);
    }
    if (data !== undefined && count !== undefined) {
      const hybrid = {
        data: [
          { anns_field: 'a', data },
          { anns_field: 'b', data: [[1], [2], [3], [4]] },
        ],
      };
      assert.equal(queryVectors(hybrid), count, 'in the first sub-search of a hybrid search');
    }
  });
}

test('a search by ids has one query vector per id', () => {
  assert.equal(queryVectors({ ids: [1, 2, 3] }), 3);
  assert.equal(queryVectors({ ids: ['a'], data: [[1], [2]] }), 1);
  assert.equal(queryVectors({ ids: [], data: [[1], [2]] }), 2);
});

test('only the vector field that the SDK sends is counted', () => {
  assert.equal(queryVectors({ vectors: [[1], [2]], vector: [1], data: [1] }), 2);
  assert.equal(queryVectors({ vector: [[1], [2], [3]], data: [1] }), 3);
});

test('a request without vectors, or no request, has no vector count', () => {
  for (const request of [{}, undefined, null, 'x', 3, []]) assert.equal(queryVectors(request), undefined);
});

test('a search is hybrid when its first sub-search names a field', () => {
  assert.ok(isHybridSearch({ data: [{ anns_field: 'a', data: [1] }] }));
  for (const request of [
    { data: [1, 2] },
    { data: [[1, 2]] },
    { data: [{ 3: 0.5 }] },
    { data: [{ anns_field: '', data: [1] }] },
    { data: [] },
    { data: { anns_field: 'a' } },
    { anns_field: 'a', data: [1] },
    {},
    undefined,
  ]) {
    assert.ok(!isHybridSearch(request), JSON.stringify(request));
  }
});

test('a search has field, number of vectors and limit', () => {
  assert.deepEqual(read(readSearchRequest, { anns_field: 'embedding', data: [[1], [2]], limit: 10 }), {
    [ATTR.annsField]: 'embedding',
    [ATTR.searchNq]: 2,
    [ATTR.searchLimit]: 10,
  });
  assert.deepEqual(read(readSearchRequest, { vector: [1, 2], topk: '5' }), {
    [ATTR.searchNq]: 1,
    [ATTR.searchLimit]: 5,
  });
});

test('a hybrid search has the fields of all its sub-searches', () => {
  const data = [
    { anns_field: 'dense', data: [1, 2] },
    { anns_field: 'sparse', data: { 3: 1 } },
    { data: [1] },
  ];
  assert.deepEqual(read(readSearchRequest, { data, limit: 3 }), {
    [ATTR.annsField]: 'dense,sparse,?',
    [ATTR.searchNq]: 1,
    [ATTR.searchLimit]: 3,
  });
});

test('partitions are recorded as a list, one or several', () => {
  assert.deepEqual(read(readRequest, { partition_names: ['p1', 'p2'] }), { [ATTR.partitions]: ['p1', 'p2'] });
  assert.deepEqual(read(readRequest, { partition_name: 'p1' }), { [ATTR.partitions]: ['p1'] });
  assert.deepEqual(read(readRequest, { partition_names: [], partition_name: 'p1' }), {
    [ATTR.partitions]: ['p1'],
  });
  for (const request of [{ partition_names: ['p', 1] }, { partition_names: [] }, { partition_name: '' }]) {
    assert.deepEqual(read(readRequest, request), {});
  }
});

test('requests of the REST client are read by their names in camel case', () => {
  const request = {
    dbName: 'sales',
    collectionName: 'docs',
    partitionNames: ['p1', 'p2'],
    annsField: 'embedding',
    data: [[1], [2]],
    filter: 'a > 1',
    limit: 3,
  };
  assert.equal(databaseName(request), 'sales');
  assert.equal(collectionName(request), 'docs');
  assert.deepEqual(read(readRequest, request), { [ATTR.partitions]: ['p1', 'p2'] });
  assert.deepEqual(read(readSearchRequest, request), {
    [ATTR.annsField]: 'embedding',
    [ATTR.searchNq]: 2,
    [ATTR.searchLimit]: 3,
  });
  assert.deepEqual(filterTexts(request), ['a > 1']);
  assert.deepEqual(read(readRequest, { partitionName: 'p1' }), { [ATTR.partitions]: ['p1'] });
});

test('the consistency level of a REST request is read by its name in camel case', () => {
  assert.deepEqual(read(readRequest, { consistencyLevel: 'Strong' }), { [ATTR.consistency]: 'Strong' });
});

test('a hybrid search of the REST client has its sub-searches in a list named search', () => {
  const request = {
    collectionName: 'docs',
    search: [
      { annsField: 'dense', data: [[1], [2]], limit: 20, filter: 'b > 2' },
      { annsField: 'sparse', data: [{ 3: 1 }], limit: 20 },
      { data: [[1]], filter: 'c > 3' },
    ],
    rerank: { strategy: 'rrf' },
    limit: 3,
  };
  assert.deepEqual(read(readSearchRequest, request), {
    [ATTR.annsField]: 'dense,sparse,?',
    [ATTR.searchNq]: 2,
    [ATTR.searchLimit]: 3,
  });
  assert.deepEqual(filterTexts(request), ['b > 2', 'c > 3']);
});

test('the list of partitions on the span is a copy: later changes by the app do not show', () => {
  const names = ['p1'];
  const attributes = read(readRequest, { partition_names: names });
  names.push('p2');
  assert.deepEqual(attributes[ATTR.partitions], ['p1']);
});

test('a consistency level is recorded by name, given as number or name', () => {
  for (const [given, said] of [
    [0, 'Strong'],
    [1, 'Session'],
    [2, 'Bounded'],
    [3, 'Eventually'],
    [4, 'Customized'],
    ['Strong', 'Strong'],
  ] as const) {
    assert.deepEqual(read(readRequest, { consistency_level: given }), { [ATTR.consistency]: said });
  }
  for (const given of [5, -1, 0.5, Number.NaN, '', null, {}]) {
    assert.deepEqual(read(readRequest, { consistency_level: given }), {});
  }
});

test('limits are whole numbers or their text; anything else is left out', () => {
  assert.deepEqual(read(readQueryRequest, { limit: 100 }), { [ATTR.queryLimit]: 100 });
  assert.deepEqual(read(readQueryRequest, { limit: '100' }), { [ATTR.queryLimit]: 100 });
  for (const limit of ['many', '', Number.NaN, Number.POSITIVE_INFINITY, null, {}, [], 1n, undefined]) {
    assert.deepEqual(read(readQueryRequest, { limit }), {});
  }
});

test('rows of an insert are counted under both names, and no row is looked at', () => {
  assert.deepEqual(read(readRowsRequest, { data: [{}, {}] }), { [ATTR.requestRows]: 2 });
  assert.deepEqual(read(readRowsRequest, { fields_data: [{}], data: [{}, {}] }), { [ATTR.requestRows]: 1 });
  assert.deepEqual(read(readRowsRequest, { data: 'rows' }), {});
});

test('the filters of a request are its filter or expression, and those of its sub-searches', () => {
  assert.deepEqual(filterTexts({ filter: 'a > 1' }), ['a > 1']);
  assert.deepEqual(filterTexts({ expr: 'a > 1' }), ['a > 1']);
  assert.deepEqual(filterTexts({ filter: 'a > 1', expr: 'b > 1' }), ['a > 1']);
  assert.deepEqual(filterTexts({ filter: '' }), []);
  assert.deepEqual(filterTexts(undefined), []);
  const data = [
    { anns_field: 'a', expr: 'b > 2' },
    { anns_field: 'b' },
    { anns_field: 'c', filter: 'c > 3' },
  ];
  assert.deepEqual(filterTexts({ filter: 'a > 1', data }), ['a > 1', 'b > 2', 'c > 3']);
});

test('the request id is read under both names, as the SDK reads it', () => {
  assert.equal(clientRequestId({ client_request_id: 'a', 'client-request-id': 'b' }), 'a');
  assert.equal(clientRequestId({ 'client-request-id': 'b' }), 'b');
  for (const given of [undefined, {}, { client_request_id: '' }, { client_request_id: 7 }])
    assert.equal(clientRequestId(given), undefined);
});

test('hits are counted for one query vector and for several', () => {
  assert.equal(searchRows({ results: [{}, {}, {}] }), 3);
  assert.equal(searchRows({ results: [[{}, {}], [], [{}]] }), 3);
  assert.equal(searchRows({ results: [[], [{}]] }), 1);
  assert.equal(searchRows({ results: [] }), 0);
  assert.equal(searchRows({ results: 'none' }), undefined);
});

test('counts in responses, which the server sends as text, are read as numbers', () => {
  assert.deepEqual(read(readInsertResponse, { insert_cnt: '10' }), { [ATTR.insertCount]: 10 });
  assert.deepEqual(read(readUpsertResponse, { upsert_cnt: '3' }), { [ATTR.upsertCount]: 3 });
  assert.deepEqual(read(readDeleteResponse, { delete_cnt: '0' }), { [ATTR.deleteCount]: 0 });
  assert.equal(queryRows({ data: [{}, {}] }), 2);
  for (const reader of [...RESPONSE_READERS, ...ROW_READERS])
    assert.deepEqual(read(reader, { status: { code: 0 } }), {});
});

test('answers of the REST client have their counts in data', () => {
  assert.deepEqual(read(readHttpCounts, { code: 0, data: { insertCount: 2, insertIds: ['1', '2'] } }), {
    [ATTR.insertCount]: 2,
  });
  assert.deepEqual(read(readHttpCounts, { code: 0, data: { upsertCount: '3', upsertIds: [] } }), {
    [ATTR.upsertCount]: 3,
  });
  assert.deepEqual(read(readHttpCounts, { code: 0, data: { deleteCount: 0 } }), { [ATTR.deleteCount]: 0 });
  for (const answer of [{ code: 0, data: {} }, { code: 0, data: [] }, { code: 0 }, { insertCount: 2 }]) {
    assert.deepEqual(read(readHttpCounts, answer), {});
  }
});

test('the cost of a REST answer is next to its data', () => {
  assert.deepEqual(read(readCost, { code: 0, cost: 6, data: [] }), { [ATTR.cost]: 6 });
  assert.deepEqual(read(readCost, { code: 0, cost: 'much', data: [] }), {});
});

test('the cost is found in the status of an answer and in an answer that is a status', () => {
  const extra_info = { report_value: '42' };
  assert.deepEqual(read(readCost, { status: { extra_info } }), { [ATTR.cost]: 42 });
  assert.deepEqual(read(readCost, { error_code: 'Success', extra_info }), { [ATTR.cost]: 42 });
  assert.deepEqual(read(readCost, { status: { extra_info: {} } }), {});
});

const ADDRESSES: [given: string, address?: string, port?: number][] = [
  ['localhost:19530', 'localhost', undefined],
  ['127.0.0.1:19531', '127.0.0.1', 19531],
  ['http://localhost:19530', 'localhost', undefined],
  ['https://db.example:443', 'db.example', 443],
  ['https://db.example', 'db.example', 443],
  ['db.example', 'db.example', 443],
  ['HTTP://db.example:8080/path', 'db.example', 8080],
  ['https://me:hunter2@db.example:19531', 'db.example', 19531],
  ['https://me:hunter2@hunter2@db.example:19531', 'db.example', 19531],
  ['me:hunter2@db.example:19530', 'db.example', undefined],
  ['[::1]:19530', '::1', undefined],
  ['http://[fe80::1]:19531', 'fe80::1', 19531],
  ['[::1]', '::1', 443],
  [''],
  [':19530'],
  ['http://'],
  ['host:port'],
];

for (const [given, address, port] of ADDRESSES) {
  test(`the address ${JSON.stringify(given)} is ${address === undefined ? 'left out' : `${address}, port ${port ?? 'unknown'}`}`, () => {
    assert.deepEqual(parseServerAddress(given, 443), address === undefined ? undefined : { address, port });
  });
}

test('an address without a port has the port that the client connects to', () => {
  assert.deepEqual(parseServerAddress('db.example', 80), { address: 'db.example', port: 80 });
  assert.deepEqual(parseServerAddress('db.example:8080', 80), { address: 'db.example', port: 8080 });
  assert.deepEqual(parseServerAddress('db.example', 19530), { address: 'db.example', port: undefined });
});

test('the host and port read from an address never contain its login', () => {
  const word = fc.constantFrom('hunter2', 'me', ':', '@', '%40', '.');
  const login = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(''));
  fc.assert(
    fc.property(login, fc.constantFrom('', 'http://', 'https://'), (words, scheme) => {
      const said = parseServerAddress(`${scheme}${words}@db.example:19531`, 443);
      assert.doesNotMatch(JSON.stringify(said ?? null), /hunter2/);
    }),
    RUNS,
  );
});

const isAttributeValue = (value: unknown): boolean =>
  typeof value === 'string' ||
  (typeof value === 'number' && Number.isFinite(value)) ||
  (Array.isArray(value) && value.every((item) => typeof item === 'string'));

test('any data can be read: no reader throws, and all attributes are in the table', () => {
  const known = new Set<string>(Object.values(ATTR));
  fc.assert(
    fc.property(anyData, (source) => {
      for (const reader of READERS) {
        for (const [key, value] of Object.entries(read(reader, source))) {
          assert.ok(known.has(key), key);
          assert.ok(isAttributeValue(value), key);
        }
      }
      for (const value of [collectionName(source), databaseName(source)]) {
        assert.ok(value === undefined || (typeof value === 'string' && value !== ''));
      }
      const vectors = queryVectors(source);
      assert.ok(vectors === undefined || (Number.isInteger(vectors) && vectors > 0));
      for (const filter of filterTexts(source)) assert.equal(typeof filter, 'string');
      if (typeof source === 'string') parseServerAddress(source, 443);
    }),
    RUNS,
  );
});

test('a sub-search that contains itself is read once', () => {
  const search: Record<string, unknown> = { anns_field: 'v' };
  search.data = [search];
  assert.equal(queryVectors(search), 1);
});

test('no reader changes the data that it reads', () => {
  const request = observed({
    collection_name: 'docs',
    db_name: 'sales',
    partition_names: ['p'],
    consistency_level: 0,
    anns_field: 'v',
    data: [[1, 2, 3]],
    limit: 5,
    filter: 'a > 1',
  });
  const response = observed({
    status: { code: 0, extra_info: { report_value: '1' } },
    results: [[{ id: '1' }]],
    data: [{ id: '1' }],
    insert_cnt: '1',
    upsert_cnt: '1',
    delete_cnt: '1',
  });
  for (const reader of READERS) {
    read(reader, request.value);
    read(reader, response.value);
  }
  filterTexts(request.value);
  assert.ok(request.reads > 0 && response.reads > 0);
  assert.deepEqual([request.writes, response.writes], [[], []]);
});

const ROWS = 100_000;
/** Property reads that one reader may need for its fields and their types. */
const FEW_READS = 40;

for (const [what, source] of [
  ['rows of an insert', { data: new Array(ROWS).fill({ id: 1, v: [1, 2, 3] }) }],
  ['rows in fields_data', { fields_data: new Array(ROWS).fill({ id: 1 }) }],
  ['dimensions of a vector', { data: new Array(ROWS).fill(0.5), limit: 1 }],
  ['query vectors', { data: new Array(ROWS).fill([0.5, 0.5]), limit: 1 }],
  ['hits of one query vector', { results: new Array(ROWS).fill({ id: '1', score: 1 }) }],
  ['hits of each of two query vectors', { results: new Array(2).fill(new Array(ROWS).fill({ id: '1' })) }],
  ['rows of a query', { data: new Array(ROWS).fill({ id: '1' }) }],
  ['keys', { ids: new Array(ROWS).fill('1') }],
] as const) {
  test(`${ROWS} ${what} cost only a few reads`, () => {
    for (const reader of READERS) {
      const observation = observed(source);
      read(reader, observation.value);
      assert.ok(observation.reads <= FEW_READS, `${reader.name}: ${observation.reads} reads`);
    }
    const observation = observed(source);
    filterTexts(observation.value);
    collectionName(observation.value);
    assert.ok(observation.reads <= FEW_READS, `names and filters: ${observation.reads} reads`);
  });
}
