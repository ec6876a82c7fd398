/** Clients of a Global cluster, which find their servers over HTTP. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { outline, useRuns } from './runs.ts';

const runs = useRuns();

// connect default (the first request for the topology is part of it)
// search quick_setup
test('topology requests make no spans, and operations are joined to the server that the topology names', async (t) => {
  const traceparents: unknown[] = [];
  const server = createServer((request, response) => {
    traceparents.push(request.headers.traceparent);
    const clusters = [{ clusterId: 'one', endpoint: runs.milvus.address, capability: 3 }];
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ code: 0, data: { version: '1', clusters } }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;

  const before = runs.milvus.calls().length;
  const { service, stdout, stderr } = await runs.run({
    file: 'test/fixtures/global-cluster.mjs',
    env: { TOPOLOGY: `http://127.0.0.1:${port}` },
  });
  assert.deepEqual({ stdout, stderr }, { stdout: '5\n', stderr: '' });
  const spans = await runs.spans(service, 2);
  assert.deepEqual(outline(spans), ['connect default', 'search quick_setup']);

  assert.ok(traceparents.length >= 3, `${traceparents.length} requests for the topology`);
  assert.deepEqual(new Set(traceparents), new Set([undefined]));
  const calls = runs.milvus.calls().slice(before);
  const search = calls.find(({ method }) => method === 'Search');
  const { traceId, spanId, attributes } = spans[1] ?? {};
  assert.deepEqual(search?.metadata.traceparent, [`00-${traceId}-${spanId}-01`]);
  assert.equal(`${attributes?.['server.address']}:${attributes?.['server.port']}`, runs.milvus.address);
});
