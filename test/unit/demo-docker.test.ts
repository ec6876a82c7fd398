import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spansFromJaeger } from '../../tools/demo/demo-docker.ts';
import { countJoins } from '../../tools/pictures/trace-tree.ts';

// One trace of Jaeger's query API, shortened: search quick_setup └─ standalone: MilvusService/Search
const answer = {
  data: [
    {
      spans: [
        {
          traceID: '0af7651916cd43dd8448eb211c80319c',
          spanID: 'b7ad6b7169203331',
          operationName: 'search quick_setup',
          references: [],
          startTime: 1_700_000_000_123_456,
          duration: 2_500,
          tags: [
            { key: 'span.kind', value: 'client' },
            { key: 'db.operation.name', value: 'search' },
            { key: 'otel.status_code', value: 'ERROR' },
            { key: 'otel.status_description', value: 'collection not found' },
          ],
          processID: 'p1',
        },
        {
          traceID: '0af7651916cd43dd8448eb211c80319c',
          spanID: '00f067aa0ba902b7',
          operationName: 'milvus.proto.milvus.MilvusService/Search',
          references: [{ refType: 'CHILD_OF', spanID: 'b7ad6b7169203331' }],
          startTime: 1_700_000_000_124_000,
          duration: 900,
          tags: [{ key: 'span.kind', value: 'server' }],
          processID: 'p2',
        },
      ],
      processes: {
        p1: { serviceName: 'milvus-client', tags: [{ key: 'application', value: 'milvus-otel-demo' }] },
        p2: { serviceName: 'standalone' },
      },
    },
  ],
};

test("Jaeger's spans become the same spans that a receiver gives", () => {
  const [client, server] = spansFromJaeger(answer);
  assert.deepEqual(client, {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    parentSpanId: undefined,
    name: 'search quick_setup',
    kind: 'CLIENT',
    service: 'milvus-client',
    scope: '',
    scopeVersion: '',
    startMs: 1_700_000_000_123.456,
    durationMs: 2.5,
    attributes: {
      'span.kind': 'client',
      'db.operation.name': 'search',
      'otel.status_code': 'ERROR',
      'otel.status_description': 'collection not found',
    },
    status: { code: 'ERROR', message: 'collection not found' },
    resource: { application: 'milvus-otel-demo' },
    events: [],
  });
  assert.equal(server?.parentSpanId, client?.spanId);
  assert.equal(server?.kind, 'SERVER');
});

test('a join is found in the spans of Jaeger', () => {
  assert.deepEqual(countJoins(spansFromJaeger(answer), 'milvus-client'), {
    clientTraces: 1,
    joined: 1,
    unjoined: [],
  });
});
