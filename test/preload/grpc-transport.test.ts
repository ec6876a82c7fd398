/** Spans over gRPC are sent by grpc-js, which reads its own variables. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ServerCredentials } from '@grpc/grpc-js';
import { type ExportServer, startExportServer } from '../../src/doctor/export-server.ts';
import { createAuthority } from '../../tools/servers/certificates.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const GRPC_JS = /^milvus-otel\/\S+ grpc-node-js\/\S+$/;

let folder: string;
let authorityFile: string;
let plain: ExportServer;
let overTls: ExportServer;
let overTlsByAddress: ExportServer;
let proxy: Server;
/** Of the received requests; and addresses requested from the proxy. */
let userAgents: string[];
let proxied: string[];

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-'));
  const authority = createAuthority('Authority under test');
  authorityFile = path.join(folder, 'authority.pem');
  writeFileSync(authorityFile, authority.certificate);
  const start = (credentials?: ServerCredentials) =>
    startExportServer(({ metadata }, respond) => {
      userAgents.push(String(metadata.get('user-agent')));
      respond(null, Buffer.alloc(0));
    }, credentials);
  plain = await start();
  const startTls = (name: string) => {
    const { certificate, key } = authority.issue(name);
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) };
    return start(ServerCredentials.createSsl(null, [pair]));
  };
  overTls = await startTls('localhost');
  overTlsByAddress = await startTls('127.0.0.1');
  proxy = createServer().on('connect', (request, socket) => {
    proxied.push(String(request.url));
    const { port } = new URL(`http://${request.url}`);
    const behind = net.connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(behind).pipe(socket);
    });
    behind.on('error', () => socket.destroy());
    socket.on('error', () => behind.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
});
beforeEach(() => {
  userAgents = [];
  proxied = [];
});
after(async () => {
  plain.stop();
  overTls.stop();
  overTlsByAddress.stop();
  await new Promise((resolve) => proxy.close(resolve));
  await rm(folder, { recursive: true });
});

const plainUrl = () => `http://127.0.0.1:${plain.port}`;
const tlsUrl = () => `https://localhost:${overTls.port}`;
const proxyUrl = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

// In sequence: they share received requests.
describe('spans over gRPC go', () => {
  for (const [what, env, viaProxy] of [
    ['to a plain port', () => ({}), 0],
    [
      'over TLS',
      () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: tlsUrl(), OTEL_EXPORTER_OTLP_CERTIFICATE: authorityFile }),
      0,
    ],
    [
      'over TLS to an address',
      () => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: `https://127.0.0.1:${overTlsByAddress.port}`,
        OTEL_EXPORTER_OTLP_CERTIFICATE: authorityFile,
      }),
      0,
    ],
    [
      'over TLS with the roots that are named for grpc-js',
      () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: tlsUrl(), GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: authorityFile }),
      0,
    ],
    [
      'over TLS without a known authority, where Node accepts any',
      () => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: tlsUrl(),
        NODE_TLS_REJECT_UNAUTHORIZED: '0',
        NODE_NO_WARNINGS: '1',
      }),
      0,
    ],
    ['through grpc_proxy', () => ({ grpc_proxy: proxyUrl() }), 1],
    ['through http_proxy', () => ({ http_proxy: proxyUrl() }), 1],
    ['past a proxy for others', () => ({ https_proxy: proxyUrl(), no_proxy: '127.0.0.1' }), 0],
  ] as const) {
    test(what, async () => {
      const { stdout, stderr, code } = await runs.run({
        file: 'test/fixtures/large-spans.mjs',
        args: ['2', '1', '1'],
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: plainUrl(), ...env() },
      });
      assert.deepEqual({ stdout, stderr, code }, { stdout: 'made\n', stderr: '', code: 0 });
      assert.equal(userAgents.length, 1);
      assert.match(userAgents[0] ?? '', GRPC_JS);
      assert.equal(proxied.length, viaProxy);
    });
  }

  test('nowhere through a proxy that is down or refuses, and one line names the variables', async (t) => {
    const refusing = createServer().on('connect', (_request, socket) =>
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'),
    );
    t.after(() => refusing.close());
    await once(refusing.listen(0, '127.0.0.1'), 'listening');
    const { port } = refusing.address() as AddressInfo;
    for (const proxyPort of [port, 1]) {
      const { stderr, code } = await runs.run({
        file: 'test/fixtures/large-spans.mjs',
        args: ['2', '1', '1'],
        env: {
          OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.test:4317',
          grpc_proxy: `http://127.0.0.1:${proxyPort}`,
        },
      });
      assert.equal(code, 0);
      assert.match(
        stderr,
        /^milvus-otel: \d+ spans? (was|were) lost \(http:\/\/collector\.test:4317\): the proxy does not connect\. Check grpc_proxy, https_proxy and http_proxy, or add collector\.test to no_proxy\.\n$/,
      );
    }
  });
});
