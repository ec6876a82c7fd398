/** stdout is the app's. Lines go to stderr, as many as OTEL_LOG_LEVEL allows. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import manifest from '../../package.json' with { type: 'json' };
import { useRuns } from './runs.ts';

const { version } = manifest;

const runs = useRuns();
const file = 'test/fixtures/searches.mjs';
const printed = 'has true, inserted 1, found 5, queried 5\n';

/** Every line has our prefix; none continues another. */
function assertOwnLines(stderr: string): void {
  for (const line of stderr.split('\n').slice(0, -1)) assert.match(line, /^milvus-otel: /);
}

describe('the output', { concurrency: 2 }, () => {
  test('of an app is the same with and without the preload at the default level', async () => {
    const traced = await runs.run({ file });
    const untraced = await runs.run({ file, preload: false });
    assert.deepEqual({ ...traced, service: '' }, { ...untraced, service: '' });
  });

  test('has two lines on stderr at info: the facts at the start, and that the collector accepted the first spans', async () => {
    const { service, stdout, stderr } = await runs.run({ file, env: { OTEL_LOG_LEVEL: 'info' } });
    assert.equal(stdout, printed);
    const ours = stderr.split('\n').filter((line) => !line.startsWith('milvus-otel: ['));
    const where = `http://127.0.0.1:${runs.receiver.grpcPort}`;
    assert.deepEqual(ours, [
      `milvus-otel: Started ${version}: service ${service}, spans to ${where} (grpc), sampler parentbased_always_on, instrumentations all but dns, fs, generic-pool, host-metrics, net.`,
      `milvus-otel: Collector accepted the first spans (${where}).`,
      '',
    ]);
  });

  for (const level of ['debug', 'verbose', 'all']) {
    test(`has OpenTelemetry's own messages on stderr alone at ${level}, and no secrets`, async () => {
      const { service, stdout, stderr } = await runs.run({
        file,
        env: {
          OTEL_LOG_LEVEL: level,
          OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20of-a-token',
        },
      });
      assert.equal(stdout, printed);
      assert.match(stderr, /^milvus-otel: \[debug\] /m);
      assertOwnLines(stderr);
      assert.ok(!stderr.includes('of-a-token'), stderr);
      await runs.spans(service, 5);
    });
  }

  test('has no line at none, whatever fails', async () => {
    const { stdout, stderr, code } = await runs.run({
      file,
      env: {
        OTEL_LOG_LEVEL: 'none',
        OTEL_TRACES_SAMPLER: 'nonsense',
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
      },
    });
    assert.deepEqual({ stdout, stderr, code }, { stdout: printed, stderr: '', code: 0 });
  });

  test('has one line for a value of several lines, without control characters', async () => {
    const { stdout, stderr } = await runs.run({
      file,
      env: { OTEL_TRACES_SAMPLER: 'always\nreally\u001b[2J' },
    });
    assert.equal(stdout, printed);
    assert.match(stderr, /^milvus-otel: OTEL_TRACES_SAMPLER.*\n$/);
    assert.ok(!stderr.includes('\u001b'), JSON.stringify(stderr));
  });
});
