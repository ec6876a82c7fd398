import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeHeaders, decodePairs } from '../../src/config/key-value-pairs.ts';

test('pairs are trimmed and percent-decoded, and a value may hold = and ;', () => {
  assert.deepEqual(decodePairs(' team = search%20team , f=a=b;c,,e= '), {
    values: { team: 'search team', f: 'a=b;c', e: '' },
    unusable: [],
  });
});

test('the last value of a repeated key is used', () => {
  assert.deepEqual(decodePairs('a=1,b=2,a=3').values, { a: '3', b: '2' });
});

test('names of inherited properties are valid keys', () => {
  const { values } = decodePairs('__proto__=1,constructor=2');
  assert.deepEqual(Object.entries(values), [
    ['__proto__', '1'],
    ['constructor', '2'],
  ]);
});

test('an unusable pair is reported by its key or its position, never by its value', () => {
  assert.deepEqual(decodePairs('ok=1,hunter2,=hunter2,a=%,hunter2=,my key=%'), {
    values: { ok: '1', hunter2: '' },
    unusable: [
      'pair 2 (no =)',
      'pair 3 (no key)',
      'a=*** (bad percent-encoding)',
      'pair 6 (bad percent-encoding)',
    ],
  });
  // A value that was written without its key may look like a key with an empty value.
  assert.deepEqual(decodeHeaders('hunter2%20=').unusable, ['pair 1 (not the name of a header)']);
});

test('header names become lower case, and pairs that are invalid in a header are unusable', () => {
  assert.deepEqual(decodeHeaders('Api-Key=k,sp ace=1,city=K%C3%B6ln,ok=%09~'), {
    values: { 'api-key': 'k', ok: '\t~' },
    unusable: ['pair 2 (not the name of a header)', 'city=*** (characters that no header has)'],
  });
});
