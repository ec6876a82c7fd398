/**
 * An app may replace clocks, timers, promises and random numbers, and watch who calls them: the preload does
 * not.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { useRuns } from './runs.ts';

const runs = useRuns();
const dist = path.join(import.meta.dirname, '../../dist');

test('clocks, timers, promises and random numbers that an app replaces are not called by the preload', async () => {
  const startedMs = Date.now();
  const { service, stdout, stderr, code } = await runs.run({
    file: 'test/fixtures/replaced-globals.mjs',
    args: [dist],
    env: { OTEL_METRICS_EXPORTER: 'otlp', OTEL_METRIC_EXPORT_INTERVAL: '1000' },
  });
  assert.deepEqual({ stdout, stderr, code }, { stdout: 'none\n', stderr: '', code: 0 });
  // The app's Date.now gives 0, spans have real time.
  const spans = await runs.spans(service, 6);
  assert.deepEqual(
    spans.filter(({ startMs }) => startMs < startedMs - 1_000).map(({ name }) => name),
    [],
  );
});
