import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { checkJoin } from '../../src/doctor/join.ts';

test('a trace store that answers in the last second is asked', async (t) => {
  let requests = 0;
  const store = createServer((_request, response) => {
    requests++;
    response.end('{"data":[]}');
  });
  store.listen(0, '127.0.0.1');
  t.after(() => store.close());
  await once(store, 'listening');
  const queryUrl = `http://127.0.0.1:${(store.address() as AddressInfo).port}`;
  const [query, client] = await checkJoin({
    traceId: '0123456789abcdef0123456789abcdef',
    serviceName: 'probe',
    queryUrl,
    guessed: false,
    collector: 'localhost:4317',
    milvusAddress: 'localhost:19530',
    // A fraction of a millisecond is left, as nearly always.
    deadlineMs: performance.now() + 1_000.5,
  });
  assert.deepEqual(query, { id: 'join.query', status: 'ok', found: `${queryUrl} answers` });
  assert.match(client?.found ?? '', /^no span of trace/);
  assert.ok(requests > 1, `${requests} requests`);
});
