/** The doctor on a healthy setup, and on one whose server is silent: real Milvus, real Jaeger. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runFixture } from '../../tools/processes/run-fixture.ts';
import { type Jaeger, startJaeger } from '../../tools/servers/jaeger.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';
import { assertBroken, findingOf, runDoctor } from '../doctor/runs.ts';

const startWithinMs = 600_000;
const log = (line: string) => console.error(line);

let jaeger: Jaeger;
let other: Jaeger;
let milvus: Milvus;
let untraced: Milvus;
let elsewhere: Milvus;

before(
  async () => {
    const { ensureBuilt } = await import('../../tools/build/build-package.ts');
    await ensureBuilt();
    jaeger = await startJaeger({ log });
    other = await startJaeger({ log });
    milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${jaeger.otlpGrpcPort}`, log });
    untraced = await startMilvus({
      otlpEndpoint: `127.0.0.1:${jaeger.otlpGrpcPort}`,
      env: { TRACE_EXPORTER: 'noop' },
      log,
    });
    elsewhere = await startMilvus({ otlpEndpoint: `127.0.0.1:${other.otlpGrpcPort}`, log });
  },
  { timeout: startWithinMs },
);

after(async () => {
  for (const server of [milvus, untraced, elsewhere, jaeger, other]) await server?.stop();
});

const limitMs = 15_000;

function setup(server: Milvus, env: Record<string, string> = {}) {
  return {
    args: ['--milvus', server.address, '--jaeger', jaeger.queryUrl],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${jaeger.otlpGrpcPort}`, ...env },
  };
}

// milvus-otel doctor ├─ connect     └─ standalone: MilvusService/Connect
//                    └─ getVersion  └─ standalone: MilvusService/GetVersion
for (const [protocol, port] of [
  ['grpc', 'otlpGrpcPort'],
  ['http/protobuf', 'otlpHttpPort'],
] as const) {
  test(`a healthy setup has no failure, and the join was found: ${protocol}`, async () => {
    const run = await runDoctor(
      setup(milvus, {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${jaeger[port]}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      }),
    );
    const shown = JSON.stringify(run.report, null, 1);
    assert.equal(run.code, 0, shown);
    assert.equal(run.report.sound, true, shown);
    assert.deepEqual(
      run.report.stages.map(({ stage, status }) => [stage, status]),
      [
        // No command here has the preload, which is only a warning.
        ['runtime', 'warning'],
        ['settings', 'ok'],
        ['collector', 'ok'],
        ['milvus', 'ok'],
        ['join', 'ok'],
      ],
      shown,
    );
    assert.match(
      findingOf(run.report, 'join.parent')?.found ?? '',
      /^(connect|getVersion) .*\(doctored\) └─ milvus\.proto\.milvus\.MilvusService\/(Connect|GetVersion) \(standalone\)$/,
    );
    assert.match(findingOf(run.report, 'join.clock')?.found ?? '', /lies inside/);
    assert.match(findingOf(run.report, 'milvus.version')?.found ?? '', /Milvus v2\.3\.5/);
    assert.ok(run.tookMs < limitMs, `took ${run.tookMs} ms`);
  });
}

test('the last readable line reports that the join was seen', async () => {
  const { args, env } = setup(milvus);
  const { stdout, code } = await runFixture({
    file: 'bin/milvus-otel.cjs',
    args: ['doctor', ...args],
    env,
  });
  assert.equal(code, 0, stdout);
  assert.equal(
    stdout.trimEnd().split('\n').at(-1),
    "milvus-otel doctor: all stages work: the trace is joined: the server's span is a child of the client's.",
  );
});

test('a sampler, a list and an exporter of the app do not hide later stages', async () => {
  const run = await runDoctor(
    setup(milvus, {
      OTEL_TRACES_SAMPLER: 'always_off',
      OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'milvus',
      OTEL_TRACES_EXPORTER: 'none',
    }),
  );
  assertBroken(run, 'settings.exporter', /no span leaves the app/);
  assert.equal(findingOf(run.report, 'settings.sampler')?.status, 'failure');
  assert.equal(findingOf(run.report, 'settings.instrumentations')?.status, 'failure');
  assert.equal(findingOf(run.report, 'join.parent')?.status, 'ok');
});

test('plain gRPC joins too if the SDK is not installed', async () => {
  const { mkdtemp, rm } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const { join } = await import('node:path');
  const app = await mkdtemp(join(tmpdir(), 'no-sdk-'));
  try {
    const { args, env } = setup(milvus);
    const run = await runDoctor({ args: [...args, '--app', app], env });
    assert.equal(findingOf(run.report, 'runtime.sdk')?.status, 'warning');
    assert.match(findingOf(run.report, 'milvus.probe')?.found ?? '', /plain gRPC/);
    assert.equal(findingOf(run.report, 'join.parent')?.status, 'ok', JSON.stringify(run.report, null, 1));
    // Nothing is installed there, so the preload is not found either.
    assertBroken(run, 'runtime.package', /cannot be resolved/);
  } finally {
    await rm(app, { recursive: true, force: true });
  }
});

test("a Milvus with tracing off: only the client's spans are there, with the block to paste", async () => {
  const run = await runDoctor(setup(untraced));
  assertBroken(run, 'join.server', /none of the server's: Milvus does not export, or to another collector/);
  assert.equal(findingOf(run.report, 'join.client')?.status, 'ok');
  const fix = run.report.verdict.fix ?? '';
  assert.ok(fix.includes(`    endpoint: 127.0.0.1:${jaeger.otlpGrpcPort} `), fix);
  assert.ok(
    fix.includes(`TRACE_OTLP_ENDPOINT=127.0.0.1:${jaeger.otlpGrpcPort} TRACE_OTLP_SECURE=false`),
    fix,
  );
  assert.ok(run.tookMs < limitMs, `took ${run.tookMs} ms`);
});

test("a Milvus that sends to another collector: only the client's spans are there", async () => {
  assertBroken(
    await runDoctor(setup(elsewhere)),
    'join.server',
    /Milvus does not export, or to another collector/,
  );
});

test("a collector whose spans are looked up elsewhere: the client's spans are missing", async () => {
  const { env } = setup(milvus);
  const run = await runDoctor({ args: ['--milvus', milvus.address, '--jaeger', other.queryUrl], env });
  assertBroken(run, 'join.client', /passes them to another place/);
});

test('the probe creates nothing in Milvus', async () => {
  const { MilvusClient } = await import('@zilliz/milvus2-sdk-node');
  const client = new MilvusClient({ address: milvus.address });
  try {
    assert.deepEqual((await client.showCollections()).data, []);
    assert.deepEqual((await client.listDatabases()).db_names, ['default']);
    assert.deepEqual((await client.listUsers()).usernames, ['root']);
  } finally {
    await client.closeConnection();
  }
});
