/** Values of the app's data in a request show in no description, however the server quotes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { withoutHidden } from '../../src/milvus/hidden-text.ts';
import { hiddenValuesOf, namesIn, secretsOf } from '../../src/milvus/hidden-values.ts';
import { anyData, RUNS } from '../support/arbitrary-values.ts';

/** The description that an operation makes of a reason, its request and the messages of its RPCs. */
function described(reason: string, ...sent: unknown[]): string {
  const hidden = sent.map((request) => hiddenValuesOf(request)).filter((found) => found !== undefined);
  return withoutHidden(reason, hidden, namesIn(sent[0]));
}

const BOOKS = { collection_name: 'books', output_fields: ['title'] };

// Request, message of its RPC, reason → description. The reasons are those of Milvus 2.3.5, 2.5 and the C++
// core.
const CASES: [what: string, sent: unknown[], reason: string, description: string][] = [
  [
    'keys that the SDK has put into an expression',
    [{ ...BOOKS, ids: ['alice4711@x.org'] }, { expr: 'id in [alice4711@x.org]' }],
    "cannot parse expression: id in [alice4711@x.org], error: line 1:17 mismatched input 'x' expecting {',', ']'}",
    'cannot parse expression: <filter>',
  ],
  [
    'a part of a key',
    [{ ...BOOKS, ids: ['alice4711@x.org'] }, { expr: 'id in [alice4711@x.org]' }],
    "unknown field 'alice4711' at column 6",
    "unknown field '<filter>' at column 6",
  ],
  [
    'a key that the SDK has not sent yet',
    [{ ...BOOKS, ids: ['alice4711@x.org'] }],
    'no such key: alice4711@x.org',
    'no such key: <filter>',
  ],
  [
    'a number in a list',
    [{ ...BOOKS, ids: [47114712.5] }],
    "value '47114712.5' in list cannot be casted to Int64",
    "value '<filter>' in list cannot be casted to Int64",
  ],
  [
    'a pattern',
    [{ ...BOOKS, filter: "tags like '%alice4711'" }],
    'unsupported pattern: %alice4711, only prefix pattern match',
    'unsupported pattern: <filter>, only prefix pattern match',
  ],
  [
    'a text of many short words',
    [{ ...BOOKS, filter: 'code == "1-2-3-4 a b"' }],
    'comparisons between Int64 and 1-2-3-4 a b are not supported',
    'comparisons between Int64 and <filter> are not supported',
  ],
  [
    'a text with escapes, which are undone',
    [{ ...BOOKS, filter: 'a == "al\\"ice\\\\47\\u00e9"' }],
    'bad value al"ice\\47é, bad value al\\"ice\\\\47é',
    'bad value <filter>, bad value <filter>',
  ],
  [
    'letters that are written in ASCII',
    [{ ...BOOKS, filter: 'a == "日本語の本"' }],
    'field \\u65e5\\u672c\\u8a9e\\u306e\\u672c not exist, string_val: "\\346\\227\\245\\346\\234\\254\\350\\252\\236\\343\\201\\256\\346\\234\\254"',
    'field <filter> not exist, string_val: "<filter>"',
  ],
  [
    'a number that is written with an exponent',
    [{ ...BOOKS, filter: 'price == 1234567890123.750' }],
    'got 1.23456789012375e+12',
    'got <filter>',
  ],
  [
    'a value of a template',
    [
      { ...BOOKS, filter: 'name in {names}', exprValues: { names: ['alice4711', 'bobby'] } },
      { expr: 'name in {names}', expr_template_values: { names: { array_val: { data: ['alice4711'] } } } },
    ],
    'template value [alice4711 bobby] cannot be casted',
    'template value [<filter> <filter>] cannot be casted',
  ],
  [
    'the expressions of a hybrid search',
    [
      { ...BOOKS, data: [{ anns_field: 'v', data: [1], expr: 'a == alice4711' }, { anns_field: 'w' }] },
      { requests: [{ dsl: 'a == alice4711' }, { dsl: '' }] },
    ],
    'field alice4711 not exist',
    'field <filter> not exist',
  ],
  [
    'keys and parameters of the REST client',
    [{ collectionName: 'books', id: ['alice4711'], exprParams: { x: 'bobby' } }],
    'wrong id alice4711 or bobby',
    'wrong id <filter> or <filter>',
  ],
  [
    'a filter that gRPC makes a text of',
    [{ ...BOOKS, filter: ['alice4711 =='] }],
    'failed to create expr plan, expr = alice4711 ==',
    'failed to create expr plan, expr = <filter>',
  ],
  [
    'the filter of a reranker',
    [{ ...BOOKS, data: [1], rerank: { type: 4, params: { reranker: 'boost', filter: 'code == "1-2 al"' } } }],
    'cannot parse expression: code == "1-2 al", value 1-2 al',
    'cannot parse expression: <filter>',
  ],
  [
    'the questions of a reranker and of a highlighter, and the text that is searched for',
    [
      {
        ...BOOKS,
        data: ['who is alice4711'],
        rerank: { functions: [{ params: { queries: ['where is bobby'] } }] },
        highlighter: { type: 1, queries: ['what is carol'] },
      },
    ],
    'queries: [where is bobby], [what is carol], input: who is alice4711',
    'queries: [<filter>], [<filter>], input: <filter>',
  ],
  [
    'the same of the message of an RPC',
    [
      {
        function_score: { functions: [{ params: [{ key: 'queries', value: '["where is bobby"]' }] }] },
        highlighter: { params: [{ key: 'queries', value: '["what is carol"]' }] },
      },
    ],
    'queries: [bobby], [carol]',
    'queries: [<filter>], [<filter>]',
  ],
  [
    'texts and numbers of rows',
    [{ ...BOOKS, data: [{ title: 'a b', at: 'al "ice"', n: [47114712], meta: { m: 'bobby4711' } }] }],
    'got invalid timestamptz string \'al "ice"\', value 47114712 out of range, row: 0, data: bobby4711',
    "got invalid timestamptz string '<filter>', value <filter> out of range, row: 0, data: <filter>",
  ],
  [
    'a part of a long text of a row',
    [{ ...BOOKS, data: [{ text: 'Call me Ishmael. Some years ago, never mind how long' }] }],
    "invalid token near 'me Ishmael. Some year', row: 0",
    "invalid token near '<filter>', row: 0",
  ],
  [
    'a filter that is a number',
    [{ ...BOOKS, filter: 47114712 }],
    'predicate is not a boolean expression: 47114712, data type: Int64',
    'predicate is not a boolean expression: <filter>',
  ],
  [
    'an expression as short as a letter',
    [{ ...BOOKS, filter: 'a' }],
    'cannot parse expression: a, error: line 1:1',
    'cannot parse expression: <filter>',
  ],
];

for (const [what, sent, reason, description] of CASES) {
  test(`${what}: hidden`, () => assert.equal(described(reason, ...sent), description));
}

test('names stay, and so does text unrelated to the request', () => {
  const request = { ...BOOKS, filter: 'title == "books about whales"', ids: [1] };
  const reason = 'collection not found[database=default][collection=books], field title';
  assert.equal(described(reason, request), reason);
  assert.equal(hiddenValuesOf(BOOKS), undefined);
  assert.equal(hiddenValuesOf(undefined), undefined);
  assert.equal(hiddenValuesOf({ ...BOOKS, data: [[0.1, 0.2]] }), undefined);
  const length = 'the length (180) of 0th string exceeds max length (64)';
  const rows = [{ text: 'the length of a string', filter: 'exceeds', n: 0.5 }];
  assert.equal(
    described(length.replace('exceeds', 'is above'), { ...BOOKS, data: rows }),
    length.replace('exceeds', 'is above'),
  );
});

test('a filter with its own toString() cannot be read, and toString() does not run', () => {
  let runs = 0;
  const filter = { toString: () => `${runs++}` };
  for (const request of [{ filter }, { expr: [filter] }, { data: [{ anns_field: 'v', filter }] }])
    assert.throws(() => hiddenValuesOf({ ...BOOKS, ...request }), TypeError);
  assert.equal(runs, 0);
});

test('secrets are hidden at any depth, other fields stay', () => {
  const request = {
    clusters: [{ cluster_id: 'one', connection_param: { uri: 'db.example', token: 'root:hunter22' } }],
    force: 'always',
  };
  const hidden = secretsOf(request, ['clusters', 'password']);
  assert.ok(hidden !== undefined);
  assert.equal(
    withoutHidden('bad token root:hunter22, force always', [hidden], []),
    'bad token <filter>, force always',
  );
  assert.equal(secretsOf(request, ['password']), undefined);
});

test('a part of a text in many long rows is found fast enough for a call', () => {
  const text = 'It was the best of times, it was the worst of times. '.repeat(2_000);
  const data = Array.from({ length: 100 }, (_, id) => ({ id, text: `${text}${id} alice4711 was here` }));
  const started = performance.now();
  assert.equal(described("near '99 alice4711 was here'", { ...BOOKS, data }), "near '<filter>'");
  const repeated = [{ text: 'a'.repeat(1_000_000) }];
  assert.equal(described(`near '${'a'.repeat(100_000)}b'`, { ...BOOKS, data: repeated }), "near '<filter>b'");
  const took = performance.now() - started;
  assert.ok(took < 5_000, `${took} ms`);
});

const SENTENCES: ((expression: string, part: string) => string)[] = [
  (expression) => `cannot parse expression: ${expression}, error: line 1:7`,
  (expression) => `failed to create expr plan, expr = ${expression}`,
  (_, part) => `unknown field '${part}' at column 6`,
  (_, part) => `field ${part} not exist`,
  (_, part) => `value '${JSON.stringify(part)}' in list cannot be casted to Int64`,
  (_, part) => `term_expr:<values:<string_val:"${part.replace(/[\\"]/g, '\\$&')}"> >`,
  (_, part) => `${part}${part} twice, and a half: ${part.slice(0, Math.ceil(part.length / 2))}`,
];

const literal = fc.oneof(
  fc.string({ minLength: 4, maxLength: 30 }),
  fc.string({ minLength: 4, maxLength: 30, unit: 'grapheme' }),
  fc.stringMatching(/^[a-z]{3,8}[0-9]{1,5}(@[a-z]{2,6}\.org)?$/),
  fc.integer({ min: 1_000 }).map(String),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .map(String)
    .filter(({ length }) => length >= 4),
  fc.constantFrom('parse', 'books', 'field', 'expression', 'a b c d', '"""""', '\\\\\\\\', '....', '%%%%'),
);

const quoted = (text: string) => `"${text.replace(/[\\"]/g, '\\$&')}"`;

const FORMS: ((literals: string[]) => unknown[])[] = [
  (ids) => [{ ...BOOKS, ids }, { expr: `id in [${ids.join(',')}]` }],
  (ids) => [{ ...BOOKS, ids }, { expr: `id in ["${ids.join('","')}"]` }],
  (literals) => [{ ...BOOKS, filter: `name in [${literals.map(quoted).join(', ')}]` }],
  (literals) => [{ ...BOOKS, expr: literals.map((text) => `a == ${quoted(text)}`).join(' && ') }],
  (names) => [{ ...BOOKS, filter: 'name in {names}', exprValues: { names } }],
  (literals) => [
    {
      ...BOOKS,
      data: literals.map((text) => ({ anns_field: 'v', data: [1], filter: `a == ${quoted(text)}` })),
    },
  ],
];

test('no literal of four characters or more is in a description, however it was sent and is quoted', () => {
  fc.assert(
    fc.property(
      fc.array(literal, { minLength: 1, maxLength: 4 }),
      fc.constantFrom(...FORMS),
      fc.constantFrom(...SENTENCES),
      fc.nat(),
      (literals, form, sentence, which) => {
        const sent = form(literals);
        const [request, message] = sent as { filter?: string; expr?: string }[];
        const expression = message?.expr ?? request?.filter ?? request?.expr ?? 'a == b';
        const chosen = literals[which % literals.length] as string;
        const description = described(sentence(expression, chosen), ...sent);
        for (const text of literals) {
          // A name of the request may show; the mark replaces the others.
          if (['books', 'title'].includes(text)) continue;
          for (const piece of description.split('<filter>')) assert.ok(!piece.includes(text), description);
        }
      },
    ),
    { ...RUNS, numRuns: 5_000 },
  );
});

test('data of any kind can be hidden, or is reported as unreadable', () => {
  let hidden = 0;
  fc.assert(
    fc.property(anyData, fc.string(), (request, reason) => {
      try {
        assert.equal(typeof described(reason, request), 'string');
        hidden++;
      } catch (error) {
        assert.equal((error as Error).message, 'The filter is not a text');
      }
    }),
    RUNS,
  );
  assert.ok(hidden > RUNS.numRuns / 2, `${hidden} of ${RUNS.numRuns}`);
});

test('rows that contain themselves, and many rows, are searched once', () => {
  const row: Record<string, unknown> = { text: 'alice4711' };
  for (let key = 0; key < 20; key++) row[`key${key}`] = [row, row];
  const vector = Array.from({ length: 768 }, (_, index) => index / 768);
  const data = [row, ...Array.from({ length: 1_000 }, (_, id) => ({ id, vector, text: `text ${id}` }))];
  const started = performance.now();
  assert.equal(described('bad alice4711 in 47114711', { ...BOOKS, data }), 'bad <filter> in 47114711');
  const took = performance.now() - started;
  assert.ok(took < 5_000, `${took} ms`);
});

test('ten thousand keys are hidden fast enough for a call', () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => `key-${index * 7_919}`);
  const started = performance.now();
  assert.equal(
    described(`no ${ids[9_999]}`, { ...BOOKS, ids }, { expr: `id in ["${ids.join('","')}"]` }),
    'no <filter>',
  );
  const took = performance.now() - started;
  assert.ok(took < 5_000, `${took} ms`);
});
