/** The table of field numbers, compared with the protocol files of the installed SDK. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OPERATIONS } from '../../src/milvus/operations.ts';
import { ERROR_CODES, RPCS, rpcOf } from '../../src/milvus/wire/message-fields.ts';
import type { Field, MessageFields } from '../../src/milvus/wire/message-reader.ts';
import { firstName, readWireRequest } from '../../src/milvus/wire/wire-operation.ts';
import {
  type MessageType,
  messageType,
  methodTypes,
  protocol,
  rpcsOfSdk,
} from '../support/milvus-protocol.ts';

/** Names that differ from the protocol's. */
const NAMES: Record<string, string> = { columns: 'fields_data', valid: 'valid_data', rows: 'data' };
const NAMES_IN: Record<string, string> = {
  'BatchDescribeCollection request.collection_name': 'collection_names',
  'AlterCollectionSchema response.alter_status': 'status',
};

/** Fields of bytes that hold a message. */
const MESSAGES: Record<string, string> = {
  placeholder_group: 'common.PlaceholderGroup',
  schema: 'schema.CollectionSchema',
};

const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();

const SCALARS: Partial<Record<Field['as'], RegExp>> = {
  text: /^string$/,
  texts: /^string$/,
  number: /^(u?int(32|64)|bool|\w+\.)?\w+$/,
  sum: /^int64$/,
  varints: /^int(32|64)$/,
  fixed: /^(bool|float|double)$/,
};

function assertFields(fields: MessageFields, type: MessageType, where: string): void {
  for (const [number, field] of Object.entries(fields)) {
    const found = Object.entries(type.fields).find(([, { id }]) => id === Number(number));
    assert.ok(found, `${where}: no field ${number}`);
    const [name, { type: fieldType, repeated, map }] = found;
    const place = `${where}.${name}`;
    if (field.name === 'column') assert.match(name, /_data$/, place);
    else assert.equal(plain(NAMES[field.name] ?? field.name), plain(NAMES_IN[place] ?? name), place);
    const pattern = SCALARS[field.as];
    if (pattern !== undefined) assert.match(fieldType, pattern, place);
    const isSeveral = ['texts', 'sum', 'messages', 'varints', 'fixed', 'entries'].includes(field.as);
    assert.equal(isSeveral, repeated || map, place);
    if (field.fields === undefined) continue;
    // On the wire, a map is messages of key and value.
    if (map)
      assert.deepEqual(
        Object.values(field.fields).map(({ name }) => name),
        ['key', 'value'],
        place,
      );
    else assertFields(field.fields, messageType(MESSAGES[field.name] ?? fieldType), place);
  }
}

/** Fields of a request that a span records, at any depth. */
const READ = /^(db_?name|collection_?name|partition_?names?)$/i;

describe('the table of the calls of Milvus’ gRPC service', () => {
  test('has a row for each call that the SDK makes', () => {
    assert.deepEqual(
      rpcsOfSdk().filter((rpc) => !Object.hasOwn(RPCS, rpc)),
      [],
    );
  });

  for (const [rpc, { request, response }] of Object.entries(RPCS)) {
    test(`has the field numbers of ${rpc}`, () => {
      const types = methodTypes(rpc);
      assertFields(request, types.request, `${rpc} request`);
      assertFields(response, types.response, `${rpc} response`);
      const read = Object.values(request).map(({ name }) => plain(name));
      for (const name of Object.keys(types.request.fields).filter((field) => READ.test(field)))
        assert.ok(
          read.includes(plain(NAMES_IN[`${rpc} request.${name}`] ?? name)),
          `${rpc}: ${name} is not read`,
        );
    });
  }

  test('names operations as the SDK names its methods', () => {
    const SERVER_ONLY = ['hasCollection', 'hybridSearch', 'connect'];
    const names = Object.keys(RPCS).flatMap((rpc) => {
      const { operation } = rpcOf(rpc);
      if (typeof operation !== 'function') return [firstName(rpc)];
      return [{}, { type: 1, delete_keys: ['key'], role: {}, output_fields: ['count(*)'] }].map(
        (request) => readWireRequest(rpc, request).operation,
      );
    });
    assert.deepEqual(
      names.filter((name) => !Object.hasOwn(OPERATIONS, name) && !SERVER_ONLY.includes(name)),
      [],
    );
  });

  test('has the names of Milvus’ error codes', () => {
    const { values } = protocol.lookupEnum('milvus.proto.common.ErrorCode');
    assert.deepEqual(
      ERROR_CODES,
      Object.fromEntries(Object.entries(values).map(([name, code]) => [code, name])),
    );
  });
});

test('a call that is not in the table is named after the RPC', () => {
  assert.deepEqual(readWireRequest('BrandNew', {}), {
    operation: 'brandNew',
    collection: undefined,
    database: undefined,
    attributes: {},
    filters: [],
  });
});
