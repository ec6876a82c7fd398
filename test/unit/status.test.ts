import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpcStatus, Metadata, type ServiceError } from '@grpc/grpc-js';
import { HttpError } from '@zilliz/milvus2-sdk-node';
import fc from 'fast-check';
import {
  type Failure,
  failureOfGrpc,
  failureOfResponse,
  failureOfThrown,
  UNIMPLEMENTED,
} from '../../src/milvus/status.ts';
import { anyData, observed, RUNS } from '../support/arbitrary-values.ts';

const failure = (statusCode: string | undefined, errorType: string, reason: string): Failure => ({
  statusCode,
  errorType,
  reason,
});

function serviceError(code: number, details: string): ServiceError {
  return Object.assign(new Error(`${code} ${details}`), { code, details, metadata: new Metadata() });
}

const SUCCESSES: [what: string, status: Record<string, unknown>][] = [
  ['code 0 and error_code Success', { error_code: 'Success', code: 0, reason: '' }],
  ['code 0 as text', { error_code: 'Success', code: '0' }],
  ['code 0 and error_code 0', { error_code: 0, code: 0 }],
  ['code 0 alone', { code: 0 }],
  ['error_code Success alone, as servers of 2.2 send it', { error_code: 'Success', reason: '' }],
  ['error_code 0 alone', { error_code: 0 }],
  ['error_code empty, as the SDK fills it in', { error_code: '', reason: '' }],
  ['error_code SUCCESS', { error_code: 'SUCCESS' }],
  ['null in both', { error_code: null, code: null }],
  ['neither', { reason: 'of no matter' }],
  ['code 200 alone, as version 1 of the REST API reports success', { code: 200 }],
];

for (const [what, status] of SUCCESSES) {
  test(`a status with ${what} is a success, alone or inside an answer`, () => {
    assert.equal(failureOfResponse(status), undefined);
    assert.equal(failureOfResponse({ status }), undefined);
    assert.equal(failureOfResponse({ status, data: [] }), undefined);
    assert.equal(failureOfResponse({ alter_status: status }), undefined);
  });
}

const FAILURES: [what: string, status: Record<string, unknown>, expected: Failure][] = [
  [
    'a code and an error_code by name',
    { error_code: 'CollectionNotExists', code: 100, reason: 'collection not found' },
    failure('100', 'CollectionNotFound', 'collection not found'),
  ],
  [
    'no code, as servers of 2.2 send it',
    { error_code: 'UnexpectedError', reason: 'no such collection' },
    failure('UnexpectedError', 'Unexpected', 'no such collection'),
  ],
  [
    'a code next to error_code Success',
    { error_code: 'Success', code: 65_535, reason: 'r' },
    failure('65535', 'Unexpected', 'r'),
  ],
  ['error_code by number', { error_code: 4, reason: 'r' }, failure('4', '4', 'r')],
  ['a code as text', { error_code: '', code: '1100', reason: 'r' }, failure('1100', 'ParameterInvalid', 'r')],
  [
    'code 0 next to a bad error_code',
    { error_code: 'RateLimit', code: 0 },
    failure('RateLimit', 'ServiceRateLimit', ''),
  ],
  ['no reason', { error_code: 'UnexpectedError', code: 1 }, failure('1', 'ServiceNotReady', '')],
  [
    'a reason that is not text',
    { error_code: 'UnexpectedError', code: 1, reason: { a: 1 } },
    failure('1', 'ServiceNotReady', ''),
  ],
  [
    'code and message, as the REST API sends it',
    { code: 1800, message: 'user not authenticated' },
    failure('1800', 'NeedAuthenticate', 'user not authenticated'),
  ],
  [
    'code 200 and a message, which is a partition that was not found',
    { code: 200, message: 'partition not found[partition=p]' },
    failure('200', 'PartitionNotFound', 'partition not found[partition=p]'),
  ],
  [
    'code 200 next to an error_code',
    { error_code: 'UnexpectedError', code: 200, reason: 'partition not found' },
    failure('200', 'PartitionNotFound', 'partition not found'),
  ],
  [
    'a code that no table has',
    { error_code: 'UnexpectedError', code: 4321, reason: 'r' },
    failure('4321', '4321', 'r'),
  ],
  [
    'the code of an unexpected error and an error_code that says more',
    { error_code: 'IllegalArgument', code: 65_535, reason: 'r' },
    failure('65535', 'ParameterInvalid', 'r'),
  ],
  [
    'an error_code of 2.2 that has no successor',
    { error_code: 'DeleteRoleFailure', reason: 'r' },
    failure('DeleteRoleFailure', 'DeleteRoleFailure', 'r'),
  ],
  [
    'a code of the C++ core',
    { error_code: 'UnexpectedError', code: 2031, reason: 'r' },
    failure('2031', 'SegcoreMetricTypeNotMatch', 'r'),
  ],
  ['a code below 0', { code: -1, reason: 'r' }, failure('-1', '-1', 'r')],
];

for (const [what, status, expected] of FAILURES) {
  test(`a status with ${what} is a failure, alone, inside an answer, and when thrown`, () => {
    assert.deepEqual(failureOfResponse(status), expected);
    assert.deepEqual(failureOfResponse({ status }), expected);
    assert.deepEqual(failureOfResponse({ alter_status: status }), expected);
    assert.deepEqual(failureOfThrown(status, undefined), expected);
    assert.deepEqual(failureOfThrown({ status }, undefined), expected);
  });
}

test('the alter_status of an answer counts when its status is a success', () => {
  const alter_status = { error_code: 'UnexpectedError', code: 1, reason: 'no' };
  const answer = { status: { error_code: 'Success', code: 0 }, alter_status };
  assert.deepEqual(failureOfResponse(answer), failure('1', 'ServiceNotReady', 'no'));
});

test('an answer of the REST API is classified by its code, whatever its data', () => {
  assert.equal(failureOfResponse({ code: 0, cost: 6, data: [{ id: 1 }] }), undefined);
  assert.equal(failureOfResponse({ code: 200, data: [{ id: 1 }] }), undefined);
  const found = { code: 100, message: 'collection not found[collection=docs]', data: {} };
  assert.deepEqual(
    failureOfResponse(found),
    failure('100', 'CollectionNotFound', 'collection not found[collection=docs]'),
  );
});

test('an answer without a status, or no answer, is no failure', () => {
  for (const answer of [{}, [], undefined, null, '', 'text', 0, 5, true, { status: 'ok' }, { data: [] }]) {
    assert.equal(failureOfResponse(answer), undefined, JSON.stringify(answer));
  }
});

test('each gRPC failure has the name of its code and its details', () => {
  for (const [name, code] of Object.entries(grpcStatus)) {
    if (typeof code !== 'number' || code === 0) continue;
    assert.deepEqual(failureOfThrown(serviceError(code, 'why'), undefined), failure(name, name, 'why'));
    assert.deepEqual(failureOfGrpc(code, 'why'), failure(name, name, 'why'));
  }
  assert.equal(UNIMPLEMENTED, grpcStatus.UNIMPLEMENTED);
  assert.deepEqual(failureOfGrpc(99, ''), failure('99', '99', ''));
});

test('a gRPC failure without details is described by its message', () => {
  const error = serviceError(grpcStatus.UNAVAILABLE, '');
  error.message = '14 UNAVAILABLE: No connection';
  assert.equal(failureOfThrown(error, undefined).reason, '14 UNAVAILABLE: No connection');
});

test('an HttpError is reported by its status, never by its message, which quotes the URL and the answer', () => {
  const url = 'http://me:hunter2@db.example:19530/v2/vectordb/entities/query';
  const error = new HttpError(
    `HTTP 503 Service Unavailable: ${url} - {"a":1}`,
    503,
    'Service Unavailable',
    url,
  );
  assert.deepEqual(failureOfThrown(error, undefined), failure('503', '503', 'HTTP 503 Service Unavailable'));
  // HTTP/2 has no reason phrase.
  assert.deepEqual(
    failureOfThrown(new HttpError('m', 502, '', url), undefined),
    failure('502', '502', 'HTTP 502'),
  );
});

test('a reason phrase of HTTP that is not text is left out', () => {
  for (const statusText of [undefined, null, {}, Object.create(null), Symbol('s'), 7]) {
    const error = { name: 'HttpError', status: 503, statusText };
    assert.deepEqual(failureOfThrown(error, undefined), failure('503', '503', 'HTTP 503'));
  }
});

test('an error of the REST client without an answer is reported by its class', () => {
  assert.deepEqual(
    failureOfThrown(new TypeError('fetch failed'), undefined),
    failure(undefined, 'TypeError', 'fetch failed'),
  );
});

test('an error is reported by its class and message', () => {
  class DimensionError extends Error {}
  assert.deepEqual(
    failureOfThrown(new DimensionError('768, not 5'), undefined),
    failure(undefined, 'DimensionError', '768, not 5'),
  );
  assert.deepEqual(failureOfThrown(new Error('no'), undefined), failure(undefined, 'Error', 'no'));
});

test('an error of the system is no gRPC failure, whatever its code', () => {
  const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  assert.deepEqual(failureOfThrown(error, undefined), failure(undefined, 'Error', 'connect ECONNREFUSED'));
  const numeric = Object.assign(new Error('own'), { code: 5 });
  assert.deepEqual(failureOfThrown(numeric, undefined), failure(undefined, 'Error', 'own'));
});

const rpcFailure = failure('100', 'CollectionNotFound', 'collection not found[collection=docs]');

test('a TypeError on an empty answer is replaced with the reason that the server sent', () => {
  const thrown = new TypeError("Cannot read properties of undefined (reading 'fields')");
  assert.deepEqual(failureOfThrown(thrown, rpcFailure), rpcFailure);
  assert.deepEqual(
    failureOfThrown(thrown, undefined),
    failure(undefined, 'TypeError', "Cannot read properties of undefined (reading 'fields')"),
  );
});

test("an Error made of the server's reason is replaced with the server's status", () => {
  const thrown = new Error(`CollectionNotExists: ${rpcFailure.reason}`);
  assert.deepEqual(failureOfThrown(thrown, rpcFailure), rpcFailure);
});

test('an Error of another cause is reported unchanged, whatever the last RPC answered', () => {
  const other = failure(undefined, 'Error', 'checked before the call');
  assert.deepEqual(failureOfThrown(new Error('checked before the call'), rpcFailure), other);
  assert.deepEqual(
    failureOfThrown(new Error('checked before the call'), { ...rpcFailure, reason: '' }),
    other,
  );
});

test('a thrown value that is not an error is a failure too', () => {
  for (const thrown of ['text', 7, null, undefined, true, Symbol('s'), {}, []]) {
    assert.deepEqual(failureOfThrown(thrown, undefined), failure(undefined, '_OTHER', ''));
  }
  const own = failureOfThrown({ message: 'a plain object' }, undefined);
  assert.deepEqual(own, failure(undefined, '_OTHER', 'a plain object'));
  assert.equal(failureOfThrown({ status: { code: 0 }, message: 'm' }, undefined).errorType, '_OTHER');
});

test('any data can be classified: nothing throws, and a failure has only text', () => {
  const check = (found: Failure) => {
    assert.ok(typeof found.errorType === 'string' && found.errorType !== '');
    assert.equal(typeof found.reason, 'string');
    assert.ok(found.statusCode === undefined || typeof found.statusCode === 'string');
    assert.ok(!/undefined|null|\[object/.test(found.statusCode ?? ''), found.statusCode);
  };
  // Arbitrary reasons and codes may contain these words themselves.
  const plain = anyData.filter((value) => !/undefined|null|\[object/.test(textIn(value)));
  fc.assert(
    fc.property(plain, plain, (value, before) => {
      const found = failureOfResponse(value);
      if (found !== undefined) check(found);
      check(failureOfThrown(value, undefined));
      check(failureOfThrown(value, failureOfResponse(before)));
    }),
    RUNS,
  );
});

function textIn(value: unknown): string {
  const { error_code, code } = (value ?? {}) as Record<string, unknown>;
  return [error_code, code].filter((part) => typeof part === 'string').join(' ');
}

test('classifying an answer reads only its status and changes nothing', () => {
  const answer = observed({
    status: { error_code: 'UnexpectedError', code: 1, reason: 'r' },
    results: new Array(100_000).fill({ id: '1' }),
  });
  failureOfResponse(answer.value);
  failureOfThrown(answer.value, undefined);
  assert.deepEqual(answer.writes, []);
  assert.ok(answer.reads <= 20, `${answer.reads} reads`);
});
