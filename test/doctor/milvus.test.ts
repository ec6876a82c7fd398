/** Each way in which Milvus can be the broken stage. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../tools/processes/free-ports.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';
import { assertBroken, findingOf, runDoctor } from './runs.ts';

const password = 'a-planted-password';
let receiver: Receiver;
let guarded: Milvus;

before(
  async () => {
    await ensureDist();
    receiver = await startReceiver();
    guarded = await startMilvus({
      otlpEndpoint: `127.0.0.1:${receiver.grpcPort}`,
      env: { COMMON_SECURITY_AUTHORIZATIONENABLED: 'true' },
      token: 'root:Milvus',
      log: (line) => console.error(line),
    });
  },
  { timeout: 300_000 },
);

after(async () => {
  await guarded?.stop();
  await receiver?.stop();
});

const doctor = (address: string, env: Record<string, string> = {}) =>
  runDoctor({
    args: ['--milvus', address],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`, ...env },
  });

describe('a Milvus', { concurrency: 2 }, () => {
  test('that is down', async () => {
    const run = await doctor(`127.0.0.1:${await freePort()}`);
    assertBroken(run, 'milvus.tcp', /nothing listens there \(ECONNREFUSED\)/);
    assert.equal(findingOf(run.report, 'collector.export')?.status, 'ok');
  });

  test('whose name is not known', async () => {
    assertBroken(await doctor('no-such-milvus.invalid:19530'), 'milvus.name', /is not resolved/);
  });

  test('that is not an address', async () => {
    assertBroken(await doctor('http://'), 'milvus.name', /is not an address/);
  });

  test('whose port is that of HTTP', async () => {
    const run = await doctor(`127.0.0.1:${receiver.httpPort}`);
    assertBroken(run, 'milvus.protocol', /uses HTTP\/1\.1; the endpoint is set to gRPC/);
  });

  test('that is another gRPC server', async () => {
    const run = await doctor(`127.0.0.1:${receiver.grpcPort}`);
    assertBroken(run, 'milvus.probe', /(Connect|GetVersion) at 127\.0\.0\.1:\d+ failed/);
  });

  test('that is plain, asked by TLS', async () => {
    const run = await doctor(`https://${guarded.address}`);
    assertBroken(run, 'milvus.tls', /is a plain port \(http\/2\), and https means TLS/);
    assert.equal(run.report.verdict.fix, `the address without https: ${guarded.address}`);
  });

  test('with authentication, asked without', async () => {
    const run = await doctor(guarded.address);
    assertBroken(run, 'milvus.access', /rejects the call: missing authorization in header/);
    assert.match(run.report.verdict.fix ?? '', /MILVUS_TOKEN=/);
  });

  test('with authentication, asked with a wrong password, which is never shown', async () => {
    for (const env of [
      { MILVUS_TOKEN: `root:${password}` },
      { MILVUS_USERNAME: 'root', MILVUS_PASSWORD: password },
    ] as Record<string, string>[]) {
      const run = await doctor(guarded.address, env);
      assertBroken(run, 'milvus.access', /rejects the call: auth check failure/);
      const written = `${run.stdout}${run.stderr}`;
      assert.ok(!written.includes(password), written);
      assert.ok(!written.includes(Buffer.from(`root:${password}`).toString('base64')), written);
    }
  });

  // milvus-otel doctor ├─ connect     └─ standalone: MilvusService/Connect
  //                    └─ getVersion  └─ standalone: MilvusService/GetVersion
  test('with authentication, asked correctly, answers and continues the trace of the probe', async () => {
    const { report, code } = await doctor(guarded.address, { MILVUS_TOKEN: 'root:Milvus' });
    const shown = JSON.stringify(report, null, 1);
    assert.equal(findingOf(report, 'milvus.access')?.status, 'ok', shown);
    assert.match(
      findingOf(report, 'milvus.probe')?.found ?? '',
      /GetVersion was answered \(by the SDK 3\.0\.6\)/,
    );
    const traceId = /trace ([0-9a-f]{32})/.exec(findingOf(report, 'milvus.probe')?.found ?? '')?.[1];
    const spans = await receiver.waitForSpans(
      (all) =>
        all.some(
          ({ traceId: id, name }) =>
            id === traceId && name === 'milvus.proto.milvus.MilvusService/GetVersion',
        ),
      10_000,
    );
    const ofProbe = spans.filter(({ traceId: id }) => id === traceId);
    const asked = ofProbe.find(({ name }) => name.startsWith('getVersion'));
    const served = ofProbe.find(({ name }) => name.endsWith('MilvusService/GetVersion'));
    assert.equal(asked?.service, 'doctored');
    assert.equal(served?.parentSpanId, asked?.spanId);
    assert.equal(served?.service, 'standalone');
    // Nothing answers at the guessed address of the query API, so the join is not proven.
    assert.equal(findingOf(report, 'join.query')?.status, 'skipped', shown);
    assert.deepEqual([code, report.exitCode, report.sound, report.verdict.stage], [3, 3, false, null], shown);
  });
});
