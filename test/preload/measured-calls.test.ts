/** The metrics of a real program, as Prometheus reads them: the numbers match its calls. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort } from '../../tools/processes/free-ports.ts';
import { type ScriptedMilvus, startScriptedMilvus } from '../differential/scripted-milvus.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
let milvus: ScriptedMilvus;
before(async () => {
  milvus = await startScriptedMilvus();
});
after(() => milvus.stop());

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Samples of Prometheus' text format. */
function samplesOf(page: string): Sample[] {
  return [...page.matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels: Object.fromEntries(
      [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text]) => [key, text]),
    ),
    value: Number(value),
  }));
}

test('queries, failures, retries, calls in flight and connections match the program', async () => {
  const { addresses } = milvus;
  const { stdout, stderr, code, service } = await runs.run({
    file: 'test/fixtures/measured-calls.mjs',
    env: {
      SUCCESS: addresses.success,
      BAD_STATUS: addresses['bad status'],
      INTERNAL: addresses.internal,
      SILENT: addresses.silent,
      OTEL_METRICS_EXPORTER: 'prometheus',
      // The program's own request for the page.
      OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'http,undici',
      OTEL_EXPORTER_PROMETHEUS_PORT: String(await freePort()),
      OTEL_EXPORTER_PROMETHEUS_HOST: '127.0.0.1',
    },
  });
  assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
  const samples = samplesOf(stdout);
  /** Sum over the series of one server, or of all. */
  const sum = (metric: string, address = '', labels: Record<string, string> = {}) => {
    const port = address.split(':')[1] ?? '';
    const isOf = (sample: Sample) =>
      sample.labels.server_port === port || sample.labels.db_client_connection_pool_name === address;
    const found = samples.filter(
      (sample) =>
        sample.name === metric &&
        (address === '' || isOf(sample)) &&
        Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
    assert.ok(found.length > 0, `${metric} ${JSON.stringify(labels)}`);
    return found.reduce((total, { value }) => total + value, 0);
  };

  const query = { db_operation_name: 'query' };
  const durations = 'db_client_operation_duration_count';
  assert.equal(sum(durations, addresses.success, query), 20);
  assert.equal(sum(durations, addresses.success, { ...query, db_collection_name: 'books_1' }), 10);
  assert.equal(sum(durations, addresses['bad status'], { ...query, error_type: 'CollectionNotFound' }), 7);
  assert.equal(sum(durations, addresses.internal, query), 4);
  assert.equal(sum('db_client_response_returned_rows_count', addresses.success, query), 20);
  assert.equal(sum('db_client_response_returned_rows_sum', addresses.success, query), 40);

  const retries = 'milvus_client_operation_retries_total';
  const received = milvus.calls().filter(({ behaviour, rpc }) => behaviour === 'internal' && rpc === 'Query');
  assert.ok(received.length > 4);
  assert.equal(sum(retries, addresses.internal, query), received.length - 4);
  assert.equal(sum(retries), received.length - 4);

  const active = 'milvus_client_active_operations';
  assert.equal(sum(active, addresses.silent, query), 5);
  assert.equal(sum(active), 5);

  const connections = 'db_client_connection_count';
  assert.equal(sum(connections, addresses.silent, { db_client_connection_state: 'used' }), 3);
  assert.equal(sum(connections, addresses.silent, { db_client_connection_state: 'idle' }), 0);
  assert.equal(sum('db_client_connection_limit', addresses.silent), 3);
  assert.equal(sum('db_client_connection_pending_requests', addresses.silent), 2);
  assert.equal(sum('db_client_connection_limit', addresses.success), 10);
  assert.equal(sum(connections, addresses.success, { db_client_connection_state: 'used' }), 0);

  // Four clients connect; each query that has ended has a span.
  const spans = 4 + 20 + 7 + 4;
  const kept = [
    'otel_sdk_processor_span_queue_size',
    'otel_sdk_exporter_span_inflight',
    'otel_sdk_exporter_span_exported_total',
  ].map((name) => sum(name));
  assert.equal(
    kept.reduce((total, value) => total + value, 0),
    spans,
  );
  assert.equal(sum('otel_sdk_processor_span_processed_total', '', { error_type: 'queue_full' }), 0);
  await runs.spans(service, spans, { mayRepeat: true });
});
