/**
 * Spans of worker threads: the main thread has them before a worker can be terminated, and sends them as its
 * own.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/terminated-worker.mjs';
/** connect, then the searches */
const NAMES = ['connect default', ...Array(5).fill('search quick_setup')];

let elsewhere: Receiver;
before(async () => {
  elsewhere = await startReceiver();
});
after(() => elsewhere.stop());

describe('a worker that is terminated', { concurrency: 2 }, () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json']) {
    test(`loses no span that has ended, over ${protocol}`, async () => {
      const port = protocol === 'grpc' ? runs.receiver.grpcPort : runs.receiver.httpPort;
      const { service, stdout, stderr } = await runs.run({
        file,
        env: {
          OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        },
      });
      assert.deepEqual({ stdout, stderr }, { stdout: 'terminated\n', stderr: '' });
      const spans = await runs.spans(service, NAMES.length);
      assert.deepEqual(
        spans.map(({ name }) => name),
        NAMES,
      );
      assert.deepEqual([...new Set(spans.map(({ scope }) => scope))], ['milvus-otel']);
      assert.equal(typeof spans[0]?.resource['process.pid'], 'number', 'what was found out is there');
    });
  }

  test('keeps the service name that it was given as its own', async () => {
    const service = 'worker-of-its-own-name';
    await runs.run({ file, env: { WORKER_ENV: JSON.stringify({ OTEL_SERVICE_NAME: service }) } });
    const spans = await runs.spans(service, NAMES.length);
    assert.deepEqual(
      spans.map(({ name }) => name),
      NAMES,
    );
  });

  test('sends to the collector that it was given as its own, and not by the main thread', async () => {
    const own = {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${elsewhere.grpcPort}`,
      // Sent as they end: pending spans are lost with the worker, since the main thread does not send there.
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '1',
    };
    const { service } = await runs.run({ file, env: { WORKER_ENV: JSON.stringify(own) } });
    const arrived = await elsewhere.waitForSpans((spans) => spans.length > 0, 5_000);
    assert.deepEqual([...new Set(arrived.map((span) => span.service))], [service]);
    assert.deepEqual(
      runs.receiver.spans().filter((span) => span.service === service),
      [],
    );
  });
});

test('a worker that is terminated after its first turn with spans loses none', async () => {
  const { service, stdout, stderr } = await runs.run({ file: 'test/fixtures/busy-worker.mjs' });
  assert.deepEqual({ stdout, stderr }, { stdout: 'terminated\n', stderr: '' });
  assert.equal((await runs.spans(service, 3_000)).length, 3_000);
});

test('a main thread that is busy from the worker’s start on gets its spans when it is free', async () => {
  const { service, stdout } = await runs.run({ file, env: { BUSY_MS: '3000' } });
  assert.equal(stdout, 'terminated\n');
  assert.equal((await runs.spans(service, NAMES.length)).length, NAMES.length);
});
