/**
 * OTEL_NODE_RESOURCE_DETECTORS gives the same attributes and values as upstream, except for the arguments of
 * the process, which only processargs adds.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();

/** Different in each process, or depending on its start. */
const OWN = ['process.pid', 'process.command_args', 'service.instance.id'];

async function resource(
  preload: boolean,
  service: string,
  env: Record<string, string>,
  args: string[] = [],
  nodeArgs: string[] = [],
): Promise<Record<string, unknown>> {
  const { stdout } = await runs.run({
    file: 'test/fixtures/apps/one-span.mjs',
    args,
    nodeArgs,
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
  // Not by service name: without env, upstream does not know it.
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
    ['process,processargs', 'process.command_args'],
    ['env,serviceinstance', 'service.instance.id'],
    ['container,env', 'team'],
    ['none', 'telemetry.sdk.name'],
  ] as const) {
    test(`${detectors} find the same as upstream`, async () => {
      const env = { OTEL_NODE_RESOURCE_DETECTORS: detectors, OTEL_RESOURCE_ATTRIBUTES: 'team=search' };
      const name = `detectors-${detectors.replace(',', '-')}`;
      const upstream = { ...env, OTEL_NODE_RESOURCE_DETECTORS: detectors.replace(',processargs', '') };
      const [theirs, ours] = await Promise.all([
        resource(false, `${name}-upstream`, upstream),
        resource(true, `${name}-ours`, env),
      ]);
      assert.deepEqual(ours, theirs);
      assert.ok(has in ours, JSON.stringify(ours));
    });
  }

  test('set to the documented default, they find the same as unset, and no argument', async () => {
    const args = ['--token=hunter2-planted'];
    const [unset, set] = await Promise.all([
      resource(true, 'detectors-unset', {}, args),
      resource(true, 'detectors-set', { OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process' }, args),
    ]);
    assert.deepEqual(set, unset);
    assert.ok('process.command' in set);
    assert.doesNotMatch(JSON.stringify([set, unset]), /hunter2|command_args/);
  });

  test('for a program on the command line, no argument is taken as its command', async () => {
    const span = "require('@opentelemetry/api').trace.getTracer('t').startSpan('s')";
    const code = `const s = ${span}; console.log(s.spanContext().traceId); s.end();`;
    const found = await resource(true, 'detectors-eval', {}, [], ['-e', code]);
    assert.ok('process.pid' in found);
    assert.doesNotMatch(JSON.stringify(found), /one-span/);
  });

  test('outside of a cloud print nothing and warn about nothing, and the warnings of the app stay', async (t) => {
    const otherServer = createServer((_request, response) => response.writeHead(403).end());
    t.after(() => otherServer.close());
    await once(otherServer.listen(0, '127.0.0.1'), 'listening');
    const host = `127.0.0.1:${(otherServer.address() as AddressInfo).port}`;
    const answered = new Promise((resolve) => otherServer.once('request', resolve));
    const code = `process.on('warning', ({ message }) => console.log(message));
      setTimeout(() => process.emitWarning('of the app', 'MetadataLookupWarning'), 1_000);`;
    const { stdout, stderr } = await runs.run({
      file: 'test/fixtures/apps/one-span.mjs',
      nodeArgs: ['--no-warnings', '-e', code],
      env: { OTEL_NODE_RESOURCE_DETECTORS: 'gcp', GCE_METADATA_HOST: host, DEBUG_AUTH: 'true' },
    });
    await answered;
    assert.deepEqual({ stdout, stderr }, { stdout: 'of the app\n', stderr: '' });
  });
});
