import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorName } from '../../src/milvus/error-names.ts';

const cases: [
  why: string,
  code: string | number | undefined,
  oldCode: string | undefined,
  name: string | undefined,
][] = [
  ['a code has its name', 100, undefined, 'CollectionNotFound'],
  ['a code as text has it too', '100', undefined, 'CollectionNotFound'],
  ['a code counts more than the old one', 100, 'RateLimit', 'CollectionNotFound'],
  ['an unknown code is itself', 123_456, undefined, '123456'],
  ['an old code has the name of the code that replaced it', undefined, 'RateLimit', 'ServiceRateLimit'],
  ['an old code without a new one is itself', undefined, 'IllegalDimension', 'IllegalDimension'],
  ['an old code says more than the code of an unexpected error', 65_535, 'IndexNotExist', 'IndexNotFound'],
  ['the code of an unexpected error counts when there is no other', 65_535, undefined, 'Unexpected'],
  ['a name that an object has by itself is not looked up', undefined, 'constructor', 'constructor'],
  ['nor is a code of that name', 'toString', undefined, 'toString'],
  ['without any code there is no name', undefined, undefined, undefined],
];
for (const [why, code, oldCode, name] of cases)
  test(why, () => {
    assert.equal(errorName(code, oldCode), name);
  });
