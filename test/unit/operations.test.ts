import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { HttpBaseClient, HttpClient, MilvusClient } from '@zilliz/milvus2-sdk-node';
import { HTTP_OPERATIONS, OPERATIONS } from '../../src/milvus/operations.ts';

const { version } = createRequire(import.meta.url)('@zilliz/milvus2-sdk-node/package.json');

/** Why a method of the SDK is no operation. */
const NOT_AN_OPERATION: Record<string, string> = {
  constructor: 'starts connecting; _getServerInfo is the operation',
  connect: 'returns before its RPC ends; _getServerInfo is the operation',
  closeConnection: 'makes no RPC',
  session: 'makes no RPC; the operations of a session are those of its client',
  use: 'makes no RPC',
  getTelemetry: 'makes no RPC',
  metadataListener: 'runs for each RPC; the trace context is written in it',
  checkCompatibility: 'makes no RPC',
  normalizeFieldOps: 'makes no RPC',
  getCollectionInfoCacheKey: 'makes no RPC',
  invalidateCollectionInfo: 'makes no RPC',
  applyServerInfo: 'makes no RPC',
  isLifecycleCurrent: 'makes no RPC',
  createChannelPool: 'makes no RPC',
  disposeChannelPool: 'makes no RPC',
  createTelemetryClient: 'makes no RPC',
  replaceTelemetryClient: 'makes no RPC',
  sendTelemetryHeartbeat: 'belongs to no request of the app',
  reconnectToPrimary: 'belongs to no request of the app',
  _attachFailoverHandler: 'makes no RPC',
  callAlterCollectionSchema: 'called inside alterCollectionSchema and others',
  _createCollection: 'called inside createCollection',
  _createIndex: 'called inside createIndex',
  _insert: 'called inside insert and upsert',
  _delete: 'called inside delete',
  _deleteEntities: 'called inside deleteEntities',
  _search: 'called inside search',
  _query: 'called inside query',
};

/** Rows that are only aliases in the installed SDK: the versions in which they are separate methods. */
const METHODS_OF_OLDER_SDKS: Record<string, string> = {
  alterCollection: '2.3.5 to 2.4.9',
  alterIndex: '2.4.9',
  loadCollectionSync: '2.2.24 to 2.3.5',
  showPartitions: '2.2.24 to 2.3.5',
  selectRole: '2.2.24 to 2.3.5',
  selectUser: '2.2.24 to 2.3.5',
  grantRolePrivilege: '2.2.24 to 2.3.5',
  revokeRolePrivilege: '2.2.24 to 2.3.5',
};

const client = new MilvusClient({ address: '127.0.0.1:1', __SKIP_CONNECT__: true });
after(() => client.closeConnection());

/** Names of the methods on the class chain up to `end`, exclusive. */
function methodsOf(prototype: object, end: object = Object.prototype): Set<string> {
  const names = new Set<string>();
  for (let at = prototype; at !== end; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (typeof value === 'function') names.add(name);
    }
  }
  return names;
}

const methods = methodsOf(MilvusClient.prototype);
const httpMethods = methodsOf(HttpClient.prototype, HttpBaseClient.prototype);

/** Methods of a client that its constructor copied from others: alias → the method's own name. */
const aliases = Object.entries(client)
  .filter(([name, value]) => typeof value === 'function' && !name.startsWith('_'))
  .map(([name, value]) => [name, value.name as string] as const);

for (const method of methods) {
  const reason = NOT_AN_OPERATION[method];
  if (reason === undefined) {
    test(`${method} is an operation`, () => {
      assert.ok(
        Object.hasOwn(OPERATIONS, method),
        `SDK ${version} has ${method}: it needs a row, or a reason here why it has none`,
      );
    });
  } else {
    test(`${method} is no operation: ${reason}`, () => assert.ok(!Object.hasOwn(OPERATIONS, method)));
  }
}

test('every method that is no operation is in the installed SDK', () => {
  for (const name of Object.keys(NOT_AN_OPERATION)) assert.ok(methods.has(name), name);
});

test('every row is a method of the installed SDK, or of an older version', () => {
  for (const name of Object.keys(OPERATIONS)) {
    assert.notEqual(methods.has(name), Object.hasOwn(METHODS_OF_OLDER_SDKS, name), name);
  }
});

test('separate methods of older versions are aliases in the installed SDK', () => {
  const names = aliases.map(([alias]) => alias);
  for (const name of Object.keys(METHODS_OF_OLDER_SDKS)) {
    assert.ok(names.includes(name), name);
    assert.ok(Object.hasOwn(OPERATIONS, name), name);
  }
});

test('every alias is a copy of an operation, useDatabase apart, which makes no RPC', () => {
  assert.ok(aliases.length > 20, `${aliases.length} aliases`);
  for (const [alias, method] of aliases) {
    const copied = (client as unknown as Record<string, unknown>)[method];
    assert.equal((client as unknown as Record<string, unknown>)[alias], copied, alias);
    if (alias === 'useDatabase') assert.ok(Object.hasOwn(NOT_AN_OPERATION, method));
    else assert.ok(Object.hasOwn(OPERATIONS, method), `${alias} is ${method}`);
  }
});

test('only connecting has another name than its method', () => {
  const renamed = Object.entries(OPERATIONS).filter(([, { name }]) => name !== undefined);
  assert.deepEqual(
    renamed.map(([method, { name }]) => [method, name]),
    [
      ['_getServerInfo', 'connect'],
      ['_initGlobalConnection', 'connect'],
    ],
  );
});

test('inherited methods of objects are no operations', () => {
  for (const name of ['toString', 'hasOwnProperty', '__proto__']) assert.ok(!Object.hasOwn(OPERATIONS, name));
});

test('every row for the REST client is a method of it in the installed SDK', () => {
  for (const name of Object.keys(HTTP_OPERATIONS)) assert.ok(httpMethods.has(name), name);
  assert.ok(httpMethods.size > 40, `${httpMethods.size} methods`);
});

test('a method that both clients have is read the same way, as far as their requests are alike', () => {
  for (const [name, { name: renamed, reads }] of Object.entries(HTTP_OPERATIONS)) {
    assert.equal(renamed, undefined, name);
    // hybridSearch is an alias of search in MilvusClient.
    const counterpart = OPERATIONS[name === 'hybridSearch' ? 'search' : name];
    assert.equal(reads, counterpart?.reads, name);
  }
});
