import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { useStack } from '../support/stack.ts';

test("a call with a traceparent brings the server's span into the receiver, under that parent", async () => {
  const { milvusAddress, receiver } = await useStack();
  const [traceId, parentSpanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  const metadata = new grpc.Metadata();
  metadata.set('traceparent', `00-${traceId}-${parentSpanId}-01`);
  const client = new grpc.Client(milvusAddress, grpc.credentials.createInsecure());
  const asIs = (message: Buffer) => message;
  const method = '/milvus.proto.milvus.MilvusService/GetVersion';
  await new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(method, asIs, asIs, Buffer.alloc(0), metadata, (error) =>
      error ? reject(error) : resolve(),
    );
  });
  client.close();

  // (the parent, which is not sent) └─ standalone: MilvusService/GetVersion
  const spans = await receiver.waitForSpans((received) => received.length > 0, 5_000, {
    traceIds: [traceId],
  });
  assert.deepEqual(
    spans.map(({ service, name, kind, parentSpanId: parent }) => ({ service, name, kind, parent })),
    [
      {
        service: 'standalone',
        name: 'milvus.proto.milvus.MilvusService/GetVersion',
        kind: 'SERVER',
        parent: parentSpanId,
      },
    ],
  );
});

test('every call gives the same stack', async () => {
  assert.equal(await useStack(), await useStack());
});
