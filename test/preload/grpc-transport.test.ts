/** By which client spans go over gRPC: our own, or grpc-js where a variable is set that only it heeds. */
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
const OURS = /^milvus-otel\/\S+ node\/\S+$/;
const GRPC_JS = /^OTel-OTLP-Exporter-JavaScript\/\S+ grpc-node-js\/\S+$/;

let folder: string;
let authorityFile: string;
let plain: ExportServer;
let overTls: ExportServer;
let proxy: Server;
/** Of the requests that came in, and the addresses that the proxy was asked for. */
let userAgents: string[];
let proxied: string[];

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-'));
  const authority = createAuthority('Authority under test');
  const { certificate, key } = authority.issue('localhost');
  authorityFile = path.join(folder, 'authority.pem');
  writeFileSync(authorityFile, authority.certificate);
  const start = (credentials?: ServerCredentials) =>
    startExportServer(({ metadata }, respond) => {
      userAgents.push(String(metadata.get('user-agent')));
      respond(null, Buffer.alloc(0));
    }, credentials);
  plain = await start();
  overTls = await start(
    ServerCredentials.createSsl(null, [
      { private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) },
    ]),
  );
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
  await new Promise((resolve) => proxy.close(resolve));
  await rm(folder, { recursive: true });
});

const plainUrl = () => `http://127.0.0.1:${plain.port}`;
const tlsUrl = () => `https://localhost:${overTls.port}`;
const proxyUrl = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

// One after the other: they share what came in.
describe('spans over gRPC go', () => {
  for (const [what, env, client, viaProxy] of [
    ['by our own client', () => ({}), OURS, 0],
    [
      'by our own client over TLS',
      () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: tlsUrl(), OTEL_EXPORTER_OTLP_CERTIFICATE: authorityFile }),
      OURS,
      0,
    ],
    [
      'by our own client where roots for TLS are named and nothing uses TLS',
      () => ({ GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: authorityFile }),
      OURS,
      0,
    ],
    [
      'by grpc-js with the roots that are named for it',
      () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: tlsUrl(), GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: authorityFile }),
      GRPC_JS,
      0,
    ],
    ['by grpc-js through grpc_proxy', () => ({ grpc_proxy: proxyUrl() }), GRPC_JS, 1],
    ['by grpc-js through http_proxy', () => ({ http_proxy: proxyUrl() }), GRPC_JS, 1],
    [
      'by grpc-js past a proxy for others',
      () => ({ https_proxy: proxyUrl(), no_proxy: '127.0.0.1' }),
      GRPC_JS,
      0,
    ],
  ] as const) {
    test(what, async () => {
      const { stdout, stderr, code } = await runs.run({
        file: 'test/fixtures/large-spans.mjs',
        args: ['2', '1', '1'],
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: plainUrl(), ...env() },
      });
      assert.deepEqual({ stdout, stderr, code }, { stdout: 'made\n', stderr: '', code: 0 });
      assert.equal(userAgents.length, 1);
      assert.match(userAgents[0] ?? '', client);
      assert.equal(proxied.length, viaProxy);
    });
  }
});
