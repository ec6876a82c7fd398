import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { HttpClient, MilvusClient } from '@zilliz/milvus2-sdk-node';
import fc from 'fast-check';
import { readGrpcClient, readHttpClient } from '../../src/milvus/client-facts.ts';
import { RUNS } from '../support/arbitrary-values.ts';

const grpcClient = (address: unknown, dbname?: unknown) => ({
  config: { address },
  metadata: new Map([['dbname', dbname]]),
});

test('a gRPC client knows its server by its address and its database by its metadata', () => {
  assert.deepEqual(readGrpcClient(grpcClient('db.example:19531', 'sales')), {
    server: { address: 'db.example', port: 19531 },
    database: 'sales',
  });
});

test('an address without a port has port 443, to which gRPC connects', () => {
  for (const address of ['db.example', 'https://db.example', 'http://db.example/']) {
    assert.deepEqual(readGrpcClient(grpcClient(address)).server, { address: 'db.example', port: 443 });
  }
});

test('a missing or invalid address gives no server', () => {
  for (const address of [undefined, null, 19530, {}, [], '', ':19530', 'http://', 'host:port']) {
    assert.equal(readGrpcClient(grpcClient(address)).server, undefined, JSON.stringify(address));
    assert.equal(
      readHttpClient({ config: { endpoint: address } }).server,
      undefined,
      JSON.stringify(address),
    );
  }
});

test('a database without a name is left out', () => {
  for (const dbname of ['', undefined, null, 7, ['sales']]) {
    assert.equal(readGrpcClient(grpcClient('db.example', dbname)).database, undefined);
  }
});

test('a missing or incomplete client gives no facts', () => {
  for (const client of [undefined, null, {}, { config: undefined }, { config: {}, metadata: {} }]) {
    assert.deepEqual(readGrpcClient(client), { server: undefined, database: undefined });
    assert.equal(readHttpClient(client).server, undefined);
  }
});

test('a REST client knows its server by its endpoint, or by the base URL, which takes precedence', () => {
  const server = (config: object) => readHttpClient({ config }).server;
  assert.deepEqual(server({ endpoint: 'http://db.example:19531' }), { address: 'db.example', port: 19531 });
  assert.deepEqual(server({ endpoint: 'http://db.example:19530' }), {
    address: 'db.example',
    port: undefined,
  });
  assert.deepEqual(server({ baseURL: 'http://db.example:19531/v2', endpoint: 'http://other:1' }), {
    address: 'db.example',
    port: 19531,
  });
  assert.deepEqual(server({ baseURL: '', endpoint: 'http://db.example:8080' }), {
    address: 'db.example',
    port: 8080,
  });
});

test('a REST address without a port has the port of its scheme', () => {
  const server = (endpoint: string) => readHttpClient({ config: { endpoint } }).server;
  assert.deepEqual(server('https://db.example'), { address: 'db.example', port: 443 });
  assert.deepEqual(server('http://db.example'), { address: 'db.example', port: 80 });
  assert.deepEqual(server('https://db.example/v2/'), { address: 'db.example', port: 443 });
});

test('a REST client uses the database default until it is given one', () => {
  assert.equal(readHttpClient({ config: { endpoint: 'http://a', database: 'sales' } }).database, 'sales');
  assert.equal(readHttpClient({ config: { endpoint: 'http://a' } }).database, 'default');
});

test('an address used by clients of both kinds has the port that each of them connects to', () => {
  const grpcPort = (address: string) => readGrpcClient(grpcClient(address)).server?.port;
  const restPort = (endpoint: string) => readHttpClient({ config: { endpoint } }).server?.port;
  const [first, second] = ['http://first.example', 'http://second.example'];
  assert.deepEqual([grpcPort(first), restPort(first)], [443, 80]);
  assert.deepEqual([restPort(second), grpcPort(second)], [80, 443]);
});

test('a client whose server changes, as in a failover, is read again each time', () => {
  const client = grpcClient('first.example:19531', 'sales');
  assert.equal(readGrpcClient(client).server?.address, 'first.example');
  client.config.address = 'second.example:19531';
  client.metadata.set('dbname', 'archive');
  assert.deepEqual(readGrpcClient(client), {
    server: { address: 'second.example', port: 19531 },
    database: 'archive',
  });
});

test('more addresses than the cache holds are still read correctly', () => {
  for (let time = 0; time < 2; time++) {
    for (let host = 0; host < 1_100; host++) {
      assert.deepEqual(readGrpcClient(grpcClient(`h${host}:1`)).server, { address: `h${host}`, port: 1 });
    }
  }
});

test('no facts of a client contain the login of an address', () => {
  const word = fc.constantFrom('hunter2', 'me', ':', '@', '%40', '%2F', '.', '[', ']');
  const login = fc.array(word, { maxLength: 6 }).map((words) => words.join(''));
  fc.assert(
    fc.property(login, fc.constantFrom('', 'http://', 'https://'), (words, scheme) => {
      const address = `${scheme}${words}@db.example:19531/v2`;
      const expected = { address: 'db.example', port: 19531 };
      assert.deepEqual(readGrpcClient(grpcClient(address)).server, expected);
      assert.deepEqual(readHttpClient({ config: { endpoint: address } }).server, expected);
      assert.deepEqual(readHttpClient({ config: { baseURL: address } }).server, expected);
    }),
    RUNS,
  );
});

const client = new MilvusClient({ address: '127.0.0.1:1', database: 'sales', __SKIP_CONNECT__: true });
after(() => client.closeConnection());

test('a real client of the installed SDK has the fields that the facts are read from', () => {
  assert.deepEqual(readGrpcClient(client), { server: { address: '127.0.0.1', port: 1 }, database: 'sales' });
});

test('a real REST client of the installed SDK has the fields that the facts are read from', () => {
  const rest = new HttpClient({ endpoint: 'http://127.0.0.1:19531', database: 'sales' });
  assert.deepEqual(readHttpClient(rest), {
    server: { address: '127.0.0.1', port: 19531 },
    database: 'sales',
  });
  // The SDK itself sends this database for a client without one.
  const unnamed = new HttpClient({ endpoint: 'http://127.0.0.1:19531' });
  assert.equal(readHttpClient(unnamed).database, unnamed.database);
});
