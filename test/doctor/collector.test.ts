/** Each way in which a collector can be the broken stage, with a real server that has this fault. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { ServerCredentials, type sendUnaryData, status } from '@grpc/grpc-js';
import { ACCEPTED, startExportServer } from '../../src/doctor/export-server.ts';
import { freePort } from '../../tools/processes/free-ports.ts';
import { partialSuccess } from '../../tools/reliability/collectors.ts';
import { type Certificate, selfSigned } from '../../tools/servers/certificates.ts';
import { assertBroken, findingOf, runDoctor, startSilent, useSurroundings } from './runs.ts';

const around = useSurroundings();

const doctor = (env: Record<string, string>) => runDoctor({ args: ['--milvus', around.milvus.address], env });

type Answer = (respond: sendUnaryData<Buffer>, headers: Record<string, unknown>) => void;

/** A gRPC server whose only answer to an export is `answer`. */
async function startGrpcCollector(answer: Answer, certificate?: Certificate) {
  const handle: Parameters<typeof startExportServer>[0] = ({ metadata }, respond) =>
    answer(respond, metadata.getMap());
  if (certificate === undefined) return startExportServer(handle);
  const keys = {
    private_key: Buffer.from(certificate.key),
    cert_chain: Buffer.from(certificate.certificate),
  };
  return startExportServer(handle, ServerCredentials.createSsl(null, [keys]));
}

const accept: Answer = (respond) => respond(null, ACCEPTED);

describe('a collector', { concurrency: 2 }, () => {
  test('that is healthy accepts the marked span, by gRPC', async () => {
    const { report } = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}`,
    });
    assert.equal(findingOf(report, 'collector.export')?.status, 'ok', JSON.stringify(report, null, 1));
    const traceId = /trace ([0-9a-f]{32})/.exec(findingOf(report, 'collector.export')?.found ?? '')?.[1];
    const [span] = around.receiver.spans().filter((one) => one.traceId === traceId);
    assert.deepEqual(
      [span?.name, span?.service, span?.kind],
      ['milvus-otel doctor', 'milvus-otel doctor', 'INTERNAL'],
    );
  });

  for (const protocol of ['http/protobuf', 'http/json']) {
    test(`that is healthy accepts the marked span, by ${protocol}`, async () => {
      const { report } = await doctor({
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.httpPort}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      });
      const traceId = /trace ([0-9a-f]{32})/.exec(findingOf(report, 'collector.export')?.found ?? '')?.[1];
      const [span] = around.receiver.spans().filter((one) => one.traceId === traceId);
      assert.equal(span?.name, 'milvus-otel doctor', JSON.stringify(report, null, 1));
    });
  }

  test('gets it compressed when compression is configured', async (t) => {
    const names: unknown[] = [];
    const server = createHttp(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      if (request.headers['content-encoding'] === 'gzip')
        names.push(
          JSON.parse(String(gunzipSync(Buffer.concat(chunks)))).resourceSpans[0].scopeSpans[0].spans[0].name,
        );
      response.setHeader('content-type', 'application/json').end('{}');
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { report } = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    });
    assert.equal(findingOf(report, 'collector.export')?.status, 'ok', JSON.stringify(report, null, 1));
    // The probe's arrive there too.
    assert.ok(names.includes('milvus-otel doctor'), String(names));
  });

  test('that is down', async () => {
    const port = await freePort();
    const run = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    assertBroken(run, 'collector.tcp', /nothing listens there \(ECONNREFUSED\)/);
    // Later stages are checked as far as possible.
    assert.equal(findingOf(run.report, 'milvus.probe')?.status, 'ok');
  });

  test('that listens on the other loopback address', async (t) => {
    const server = createTcp((socket) => socket.destroy());
    t.after(() => server.close());
    await once(server.listen({ port: 0, host: '::1', ipv6Only: true }), 'listening');
    const { port } = server.address() as AddressInfo;
    const run = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    assertBroken(run, 'collector.tcp', /is refused, and \[::1\]:\d+ accepts connections/);
    assert.equal(run.report.verdict.fix, '[::1] as the host');
  });

  test('behind a proxy that is down', async () => {
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}`,
      grpc_proxy: 'http://127.0.0.1:1',
    });
    assertBroken(run, 'collector.export', /the proxy does not connect/);
    assert.match(run.report.verdict.fix ?? '', /no_proxy with the host of the collector/);
    const probe = findingOf(run.report, 'milvus.probe');
    assert.match(probe?.found ?? '', /failed: the proxy does not connect/);
    assert.match(probe?.fix ?? '', /no_proxy with the host of Milvus/);
  });

  test('that is a web server with pages', async (t) => {
    const page = '<html><a href="https://example.com">a page for every path</a></html>';
    const server = createHttp((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end(page);
    });
    t.after(() => server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const byGrpc = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: address });
    assertBroken(byGrpc, 'collector.protocol', /uses HTTP\/1\.1; the endpoint is set to gRPC/);
    const byHttp = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: address,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    });
    assertBroken(byHttp, 'collector.export', /HTTP status 200 with a web page/);
    assert.match(byHttp.report.verdict.fix ?? '', /the address of an OTLP receiver/);
  });

  test('whose name is not known', async () => {
    const run = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://no-such-collector.invalid:4317' });
    assertBroken(run, 'collector.name', /no-such-collector\.invalid is not resolved/);
  });

  test('that uses HTTP, asked by gRPC', async () => {
    const run = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.httpPort}` });
    assertBroken(run, 'collector.protocol', /uses HTTP\/1\.1; the endpoint is set to gRPC/);
    assert.match(run.report.verdict.fix ?? '', /OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/);
  });

  test('that uses gRPC, asked by HTTP', async () => {
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    });
    assertBroken(run, 'collector.protocol', /uses gRPC \(HTTP\/2\); the endpoint is set to HTTP\/1\.1/);
    assert.match(run.report.verdict.fix ?? '', /OTEL_EXPORTER_OTLP_PROTOCOL=grpc/);
  });

  test('that is a plain port, asked by TLS', async () => {
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `https://127.0.0.1:${around.receiver.grpcPort}`,
    });
    assertBroken(run, 'collector.tls', /is a plain port \(http\/2\), and https means TLS/);
    assert.equal(
      run.report.verdict.fix,
      `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:${around.receiver.grpcPort}`,
    );
  });

  test('with TLS: asked plain, with an unknown authority, by another name, and correctly', async (t) => {
    const certificate = selfSigned('localhost');
    const collector = await startGrpcCollector(accept, certificate);
    t.after(collector.stop);
    const ca = join(around.folder, 'ca.pem');
    await writeFile(ca, certificate.certificate);
    const plain = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://localhost:${collector.port}` });
    assertBroken(plain, 'collector.tls', /uses TLS, the endpoint does not/);

    const secured = { OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${collector.port}` };
    assertBroken(await doctor(secured), 'collector.tls', /not accepted: it is self-signed/);

    const trusted = { OTEL_EXPORTER_OTLP_CERTIFICATE: ca };
    const otherName = { OTEL_EXPORTER_OTLP_ENDPOINT: `https://127.0.0.1:${collector.port}` };
    assertBroken(
      await doctor({ ...trusted, ...otherName }),
      'collector.tls',
      /not accepted: it is for other names \(certificate for localhost,/,
    );

    const { report } = await doctor({ ...trusted, ...secured });
    assert.equal(findingOf(report, 'collector.export')?.status, 'ok', JSON.stringify(report, null, 1));
  });

  test('with a certificate that has expired', async (t) => {
    const certificate = selfSigned('localhost', { expired: true });
    const collector = await startGrpcCollector(accept, certificate);
    t.after(collector.stop);
    const ca = join(around.folder, 'expired.pem');
    await writeFile(ca, certificate.certificate);
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${collector.port}`,
      OTEL_EXPORTER_OTLP_CERTIFICATE: ca,
    });
    assertBroken(run, 'collector.tls', /not accepted: it has expired/);
  });

  test('whose authority is in a file that does not exist', async () => {
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `https://127.0.0.1:${around.receiver.grpcPort}`,
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/no/such/ca.pem',
    });
    assertBroken(run, 'collector.tls', /the file \/no\/such\/ca\.pem .* cannot be read/);
  });

  // 1 { 1: 1 rejected span, 2: its reason }
  const partial = partialSuccess(1, 'quota!');
  const refusals: [what: string, answer: Answer, text: RegExp, fix: RegExp][] = [
    [
      'that asks for a token',
      (respond) => respond({ code: status.UNAUTHENTICATED, details: 'no token' }),
      /did not accept a span: no token/,
      /OTEL_EXPORTER_OTLP_HEADERS=/,
    ],
    [
      'that takes no traces',
      (respond) => respond({ code: status.UNIMPLEMENTED, details: 'unknown service TraceService' }),
      /unknown service TraceService/,
      /COLLECTOR_OTLP_ENABLED=true/,
    ],
    [
      'that is short of memory',
      (respond) => respond({ code: status.RESOURCE_EXHAUSTED, details: 'memory limit' }),
      /memory limit/,
      /OTEL_BSP_MAX_EXPORT_BATCH_SIZE/,
    ],
    [
      'that takes it and rejects it',
      (respond) => respond(null, partial),
      /a partial success that rejects it: quota!/,
      /log of the collector/,
    ],
    ['that never answers an export', () => {}, /did not accept a span/, /does not answer/],
  ];
  for (const [what, answer, text, fix] of refusals) {
    test(what, async (t) => {
      const collector = await startGrpcCollector(answer);
      t.after(collector.stop);
      const run = await doctor({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}` });
      assertBroken(run, 'collector.export', text);
      assert.match(run.report.verdict.fix ?? '', fix);
    });
  }

  for (const [code, fix] of [
    [401, /OTEL_EXPORTER_OTLP_HEADERS=/],
    [404, /\/v1\/traces/],
    [413, /limits of the collector/],
  ] as const) {
    test(`that answers HTTP status ${code}`, async (t) => {
      const server = createHttp((request, response) => {
        request.resume();
        request.on('end', () => response.writeHead(request.method === 'POST' ? code : 200).end());
      }).listen(0, '127.0.0.1');
      t.after(() => server.close());
      await once(server, 'listening');
      const run = await doctor({
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      });
      assertBroken(run, 'collector.export', new RegExp(`HTTP status ${code}`));
      assert.match(run.report.verdict.fix ?? '', fix);
    });
  }

  test('that asks for a token gets the one that is set, which is never shown', async (t) => {
    const secret = 'planted-secret-of-a-header';
    let got: unknown;
    const collector = await startGrpcCollector((respond, headers) => {
      got ??= headers['x-key'];
      respond({ code: status.PERMISSION_DENIED, details: `not for the key ${secret}` });
    });
    t.after(collector.stop);
    const run = await doctor({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://user:${secret}@127.0.0.1:${collector.port}`,
      OTEL_EXPORTER_OTLP_HEADERS: `x-key=${secret}`,
      OTEL_RESOURCE_ATTRIBUTES: `api.token=${secret},team=search`,
      OTEL_EXPORTER_OTLP_HEADER: `x-key=${secret}`,
    });
    assertBroken(run, 'collector.export', /did not accept/);
    assert.equal(got, secret);
    assert.equal(findingOf(run.report, 'settings.misspelt')?.fix, 'rename it to OTEL_EXPORTER_OTLP_HEADERS');
    assert.ok(!`${run.stdout}${run.stderr}`.includes(secret), run.stdout);
  });
});

describe('servers that hang', () => {
  test('the doctor exits within 15 s, with a collector, a Milvus and a Jaeger that never answer', async (t) => {
    const { address } = await startSilent(t);
    const run = await runDoctor({
      args: ['--milvus', address, '--jaeger', `http://${address}`],
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://${address}` },
    });
    assertBroken(run, 'collector.protocol', /answers neither gRPC, HTTP nor TLS/);
    assert.equal(findingOf(run.report, 'milvus.protocol')?.status, 'failure');
    assert.ok(run.tookMs < 15_000, `took ${run.tookMs} ms`);
  });

  test('the same with only a Jaeger that never answers', async (t) => {
    const { address } = await startSilent(t);
    const run = await runDoctor({
      args: ['--milvus', around.milvus.address, '--jaeger', `http://${address}`],
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}` },
    });
    assertBroken(run, 'join.query', /gives no answer/);
    assert.ok(run.tookMs < 15_000, `took ${run.tookMs} ms`);
  });
});
