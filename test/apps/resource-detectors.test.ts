/** OTEL_NODE_RESOURCE_DETECTORS means what it means upstream: the same attributes, by name and by value. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();

/** Different in each process, or by how it was started. */
const OWN = ['process.pid', 'process.command_args', 'service.instance.id'];

async function resource(
  preload: boolean,
  service: string,
  env: Record<string, string>,
): Promise<Record<string, unknown>> {
  const { stdout } = await runs.run({
    file: 'test/fixtures/apps/one-span.mjs',
    service,
    preload,
    env: {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      ...env,
      ...(preload
        ? {}
        : {
            NODE_OPTIONS: '--import=@opentelemetry/auto-instrumentations-node/register',
            OTEL_METRICS_EXPORTER: 'none',
            OTEL_LOGS_EXPORTER: 'none',
          }),
    },
  });
  // Not by the service's name: without env, upstream does not know it.
  const isIt = ({ traceId }: ReceivedSpan) => traceId === stdout.trim();
  const spans = await runs.receiver.waitForSpans((received) => received.some(isIt), 5_000);
  const attributes = { ...spans.find(isIt)?.resource };
  delete attributes['service.name'];
  for (const name of OWN) if (name in attributes) attributes[name] = 'its own';
  return attributes;
}

describe('detectors of resources', { concurrency: 2 }, () => {
  for (const [detectors, has] of [
    ['env', 'team'],
    ['host,os', 'os.type'],
    ['process', 'process.command_args'],
    ['env,serviceinstance', 'service.instance.id'],
    ['container,env', 'team'],
    ['none', 'telemetry.sdk.name'],
  ] as const) {
    test(`${detectors} find what they find upstream`, async () => {
      const env = { OTEL_NODE_RESOURCE_DETECTORS: detectors, OTEL_RESOURCE_ATTRIBUTES: 'team=search' };
      const name = `detectors-${detectors.replace(',', '-')}`;
      const [theirs, ours] = await Promise.all([
        resource(false, `${name}-upstream`, env),
        resource(true, `${name}-ours`, env),
      ]);
      assert.deepEqual(ours, theirs);
      assert.ok(has in ours, JSON.stringify(ours));
    });
  }
});
