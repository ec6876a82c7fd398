/** An unusable value costs one line, which names the variable, the value and the one used instead. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { useRuns } from './runs.ts';

const runs = useRuns();

interface BadSetting {
  kind: string;
  env: Record<string, string>;
  /** Parts of the line, in this order, the variable first. */
  expected: string[];
  /** Must not be shown. */
  hides?: string;
}

const badSettings: BadSetting[] = [
  {
    kind: 'an unknown exporter',
    env: { OTEL_TRACES_EXPORTER: 'jaeger' },
    expected: ['OTEL_TRACES_EXPORTER', 'jaeger', 'otlp is used'],
  },
  {
    kind: 'an unknown exporter next to a known one',
    env: { OTEL_TRACES_EXPORTER: 'otlp,jaeger' },
    expected: ['OTEL_TRACES_EXPORTER', 'jaeger', 'otlp is used'],
  },
  {
    kind: 'an unknown protocol',
    env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'grcp' },
    expected: ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grcp', 'grpc is used'],
  },
  {
    kind: 'an unknown sampler',
    env: { OTEL_TRACES_SAMPLER: 'always' },
    expected: ['OTEL_TRACES_SAMPLER', 'always', 'parentbased_always_on is used'],
  },
  {
    kind: 'a ratio above 1',
    env: { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '1.5' },
    expected: ['OTEL_TRACES_SAMPLER_ARG', '1.5', '1 is used'],
  },
  {
    kind: 'a time that is not a number',
    env: { OTEL_NODE_FLUSH_TIMEOUT: '2s' },
    expected: ['OTEL_NODE_FLUSH_TIMEOUT', '2s', '2000 is used'],
  },
  {
    kind: 'headers without values, which may be secrets',
    env: { OTEL_EXPORTER_OTLP_HEADERS: 'Bearer-of-a-token' },
    expected: ['OTEL_EXPORTER_OTLP_HEADERS', 'ignored'],
    hides: 'Bearer-of-a-token',
  },
  {
    kind: 'an unknown name among the enabled instrumentations',
    env: { OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'milvus,exprss' },
    expected: ['OTEL_NODE_ENABLED_INSTRUMENTATIONS', 'exprss', 'ignored', 'express'],
  },
  {
    kind: 'an unknown name among the disabled instrumentations',
    env: { OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'exprss' },
    expected: ['OTEL_NODE_DISABLED_INSTRUMENTATIONS', 'exprss', 'ignored', 'express'],
  },
];

/** Each in a separate variable, so that one run can show that each costs its line. */
const together: BadSetting[] = [
  {
    kind: 'an unknown exporter of metrics',
    env: { OTEL_METRICS_EXPORTER: 'promethus' },
    expected: ['OTEL_METRICS_EXPORTER', 'promethus', 'none is used', 'Did you mean prometheus?'],
  },
  {
    kind: 'an unknown exporter of logs',
    env: { OTEL_LOGS_EXPORTER: 'file' },
    expected: ['OTEL_LOGS_EXPORTER', 'file', 'none is used'],
  },
  {
    kind: 'an unknown compression',
    env: { OTEL_EXPORTER_OTLP_COMPRESSION: 'lz4' },
    expected: ['OTEL_EXPORTER_OTLP_COMPRESSION', 'lz4', 'none is used'],
  },
  {
    kind: 'an unknown propagator',
    env: { OTEL_PROPAGATORS: 'w3c' },
    expected: ['OTEL_PROPAGATORS', 'w3c', 'tracecontext,baggage is used'],
  },
  {
    kind: 'a delay longer than timers allow',
    env: { OTEL_BSP_SCHEDULE_DELAY: '99999999999' },
    expected: ['OTEL_BSP_SCHEDULE_DELAY', '99999999999', '5000 is used'],
  },
  {
    kind: 'a negative number',
    env: { OTEL_BSP_MAX_QUEUE_SIZE: '-1' },
    expected: ['OTEL_BSP_MAX_QUEUE_SIZE', '-1', '8192 is used'],
  },
  {
    kind: 'a batch of no spans',
    env: { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '0' },
    expected: ['OTEL_BSP_MAX_EXPORT_BATCH_SIZE', '0', '512 is used'],
  },
  {
    kind: 'a time for one request that is not a number',
    env: { OTEL_EXPORTER_OTLP_TIMEOUT: 'long' },
    expected: ['OTEL_EXPORTER_OTLP_TIMEOUT', 'long', '10000 is used'],
  },
  {
    kind: 'a limit that is not a number',
    env: { OTEL_ATTRIBUTE_COUNT_LIMIT: 'few' },
    expected: ['OTEL_ATTRIBUTE_COUNT_LIMIT', 'few', '128 is used'],
  },
  {
    kind: 'neither true nor false',
    env: { OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER: 'yes' },
    expected: ['OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER', 'yes', 'false is used'],
  },
  {
    kind: 'an unknown log level',
    env: { OTEL_LOG_LEVEL: 'loud' },
    expected: ['OTEL_LOG_LEVEL', 'loud', 'is used'],
  },
  {
    kind: 'an unknown resource detector',
    env: { OTEL_NODE_RESOURCE_DETECTORS: 'env,moon' },
    expected: ['OTEL_NODE_RESOURCE_DETECTORS', 'moon', 'env is used'],
  },
  {
    kind: 'resource attributes without values',
    env: { OTEL_RESOURCE_ATTRIBUTES: 'production' },
    expected: ['OTEL_RESOURCE_ATTRIBUTES', 'pair 1', 'no =', 'ignored'],
  },
];

/** Fails unless `line` has all of `expected` in this order, and not what it must hide. */
function assertLine(line: string, { expected, hides }: BadSetting): void {
  let from = 0;
  for (const part of expected) {
    const at = line.indexOf(part, from);
    assert.notEqual(at, -1, `"${part}" is not where it should be in: ${line}`);
    from = at + part.length;
  }
  if (hides !== undefined) assert.ok(!line.includes(hides), line);
}

/** One run with all of `settings`: the app is unaffected, traced, and each setting has its line. */
async function check(...settings: BadSetting[]): Promise<void> {
  const { service, stdout, stderr, code } = await runs.run({
    file: 'test/fixtures/search-then-exit.mjs',
    args: ['exit-code'],
    env: Object.assign({}, ...settings.map(({ env }) => env)),
  });
  assert.deepEqual({ stdout, code }, { stdout: 'found 5\nready\n', code: 3 });
  const lines = stderr.split('\n').slice(0, -1);
  assert.equal(lines.length, settings.length, stderr);
  for (const setting of settings) {
    const line = lines.find((one) => one.startsWith(`milvus-otel: ${setting.expected[0]}`));
    assert.ok(line, `no line for ${setting.expected[0]} in: ${stderr}`);
    assertLine(line, setting);
  }
  await runs.spans(service, 2);
}

const badEndpoint = (value: string): BadSetting => ({
  kind: `an endpoint such as "${value}"`,
  env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: value },
  expected: ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', value, 'OTEL_EXPORTER_OTLP_ENDPOINT is used'],
});

describe('one line, and spans still arrive, after', { concurrency: 2 }, () => {
  for (const setting of badSettings) test(setting.kind, () => check(setting));
  for (const value of ['nowhere at all', 'ftp://collector:4317', 'http://collector:99999']) {
    const setting = badEndpoint(value);
    test(setting.kind, () => check(setting));
  }

  test('an endpoint for all signals, where traces have a separate one', () =>
    check({
      kind: 'an endpoint',
      env: {
        OTEL_EXPORTER_OTLP_ENDPOINT: 'no:where',
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
      },
      expected: ['OTEL_EXPORTER_OTLP_ENDPOINT', 'no:where', 'http://localhost:4317'],
    }));

  test('an endpoint with a password, which is not shown', () =>
    check({
      kind: 'an endpoint',
      env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'ftp://me:secret@collector:4317' },
      expected: ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'collector', 'is used'],
      hides: 'secret',
    }));

  test(`each of ${together.length} bad values at once`, () => check(...together));
});

test('a list of instrumentations without milvus gets one line', async () => {
  const { stdout, stderr } = await runs.run({
    file: 'test/fixtures/searches.cjs',
    env: { OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'http' },
  });
  assert.ok(stdout.startsWith('has true'), stdout);
  assert.match(stderr, /^milvus-otel: OTEL_NODE_ENABLED_INSTRUMENTATIONS leaves milvus out[^\n]*\n$/);
});
