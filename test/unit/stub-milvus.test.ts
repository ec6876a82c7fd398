import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { STUB_COLLECTION, startStubMilvus } from '../../bench/stub-milvus.ts';

test('the SDK connects to the stub, searches, queries and inserts', async (t) => {
  const stub = await startStubMilvus({ record: true });
  t.after(() => stub.stop());
  const client = new MilvusClient({ address: stub.address });
  t.after(() => client.closeConnection());

  const found = await client.search({
    collection_name: STUB_COLLECTION,
    data: [0.1, 0.2, 0.3, 0.4, 0.5],
    limit: 5,
  });
  assert.equal(found.status.error_code, 'Success');
  assert.deepEqual(
    found.results.map((hit) => hit.id),
    ['1', '2', '3', '4', '5'],
  );

  const rows = await client.query({ collection_name: STUB_COLLECTION, filter: 'id > 0' });
  assert.deepEqual(rows.data[0], { id: '1' });

  const inserted = await client.insert({
    collection_name: STUB_COLLECTION,
    data: [1, 2, 3].map((id) => ({ id, vector: [0.1, 0.2, 0.3, 0.4, 0.5] })),
  });
  assert.equal(inserted.insert_cnt, '3');
  assert.equal((await client.checkHealth()).isHealthy, true);
  assert.equal((await client.getVersion()).version, 'v2.5.11');

  const methods = stub.calls().map((call) => call.method);
  for (const method of ['Connect', 'DescribeCollection', 'Search', 'Query', 'Insert', 'CheckHealth'])
    assert.ok(methods.includes(method), `${method} among ${methods.join(', ')}`);
});

test('the stub records every traceparent that a call carries', async (t) => {
  const stub = await startStubMilvus({ record: true });
  t.after(() => stub.stop());
  const client = new Client(stub.address, credentials.createInsecure());
  t.after(() => client.close());
  const parents = [
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01',
  ];
  const metadata = new Metadata();
  for (const parent of parents) metadata.add('traceparent', parent);
  metadata.add('dbname', 'default');

  await new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(
      '/milvus.proto.milvus.MilvusService/Search',
      (message: Buffer) => message,
      (message: Buffer) => message,
      Buffer.alloc(0),
      metadata,
      (error) => (error ? reject(error) : resolve()),
    );
  });

  const call = stub.calls().find(({ method }) => method === 'Search');
  assert.deepEqual(call?.metadata.traceparent, parents);
  assert.deepEqual(call?.metadata.dbname, ['default']);
});

test('the stub answers a method that it does not know with UNIMPLEMENTED, and records it', async (t) => {
  const stub = await startStubMilvus({ record: true });
  t.after(() => stub.stop());
  const client = new Client(stub.address, credentials.createInsecure());
  t.after(() => client.close());

  const error = await new Promise<{ code?: number } | null>((resolve) => {
    client.makeUnaryRequest(
      '/milvus.proto.milvus.MilvusService/ListDatabases',
      (message: Buffer) => message,
      (message: Buffer) => message,
      Buffer.alloc(0),
      (failure) => resolve(failure),
    );
  });

  assert.equal(error?.code, 12);
  assert.deepEqual(
    stub.calls().map((call) => call.method),
    ['ListDatabases'],
  );
});

test('a port in use is named', async (t) => {
  const stub = await startStubMilvus();
  t.after(() => stub.stop());
  const port = Number(stub.address.split(':')[1]);
  await assert.rejects(startStubMilvus({ port }), new RegExp(`cannot listen on 127.0.0.1:${port}`));
});
