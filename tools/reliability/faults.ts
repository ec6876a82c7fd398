/** Faults of collectors: how each is produced, and whether spans must arrive. */
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { freePort } from '../processes/free-ports.ts';
import { createAuthority } from '../servers/certificates.ts';
import {
  type Collector,
  startGrpcRefusing,
  startHttp2WithLimits,
  startHttpPerConnection,
  startHttpRefusing,
  startLargeAnswers,
  startProxy,
  startResetting,
  startSilent,
  startSlow,
  startTls,
} from './collectors.ts';

export type FaultProtocol = 'grpc' | 'http/protobuf';

/** Ports of the receiver to which the collectors forward. */
export interface ReceiverPorts {
  grpcPort: number;
  httpPort: number;
}

interface Place {
  /** http:// unless given. */
  scheme?: 'http' | 'https';
  /** 127.0.0.1 unless given. */
  host?: string;
  port: number;
  env?: Record<string, string>;
  stop?: () => Promise<void>;
}

export interface Fault {
  what: string;
  /** Spans of an app that exits at once. */
  spans: 'kept' | 'lost';
  /** Expected in the log line. */
  reason?: Record<FaultProtocol, RegExp>;
  /** Delays the app's exit until OTEL_NODE_FLUSH_TIMEOUT. */
  hangs?: true;
  start(protocol: FaultProtocol, receiver: ReceiverPorts, keys: Keys): Promise<Place>;
}

/** Certificates as files, for clients, and as text, for servers. */
export type Keys = Awaited<ReturnType<typeof makeKeys>>;

export async function makeKeys() {
  const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-keys-'));
  const authority = createAuthority('Authority under test');
  const stranger = createAuthority('Stranger');
  const client = authority.issue('client.test');
  const strangersClient = stranger.issue('client.test');
  const write = async (name: string, content: string) => {
    const file = path.join(folder, name);
    await writeFile(file, content);
    return file;
  };
  return {
    authority: authority.certificate,
    server: authority.issue('localhost'),
    otherServer: authority.issue('elsewhere.test'),
    files: {
      authority: await write('authority.pem', authority.certificate),
      clientCertificate: await write('client.pem', client.certificate),
      clientKey: await write('client-key.pem', client.key),
      strangersCertificate: await write('stranger.pem', strangersClient.certificate),
      strangersKey: await write('stranger-key.pem', strangersClient.key),
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const both = (pattern: RegExp): Record<FaultProtocol, RegExp> => ({
  grpc: pattern,
  'http/protobuf': pattern,
});
const behind = (protocol: FaultProtocol, { grpcPort, httpPort }: ReceiverPorts) =>
  protocol === 'grpc' ? grpcPort : httpPort;

/** Always, or for the first `times` exports. */
const refusing =
  (grpc: { code: number; details: string }, http: number, times = Number.POSITIVE_INFINITY): Fault['start'] =>
  (protocol, { grpcPort, httpPort }): Promise<Collector> =>
    protocol === 'grpc'
      ? startGrpcRefusing(grpcPort, (attempt) => (attempt <= times ? grpc : undefined))
      : startHttpRefusing(httpPort, (attempt) => (attempt <= times ? http : undefined));

const overTls =
  (
    server: 'server' | 'otherServer',
    env: (keys: Keys) => Record<string, string>,
    mutual = false,
  ): Fault['start'] =>
  async (protocol, receiver, keys) => ({
    ...(await startTls(behind(protocol, receiver), keys[server], mutual ? keys.authority : undefined)),
    scheme: 'https',
    host: 'localhost',
    env: env(keys),
  });

const trusting = ({ files }: Keys) => ({ OTEL_EXPORTER_OTLP_CERTIFICATE: files.authority });

export const FAULTS: readonly Fault[] = [
  {
    what: 'no listener on the port',
    spans: 'lost',
    reason: both(/ECONNREFUSED/),
    start: async () => ({ port: await freePort() }),
  },
  {
    what: 'an address without a route',
    spans: 'lost',
    reason: both(/no answer within|UNREACH|ETIMEDOUT|ECONNREFUSED|No connection/),
    hangs: true,
    // Reserved for documentation (RFC 5737).
    start: async (protocol) => ({ host: '192.0.2.1', port: protocol === 'grpc' ? 4317 : 4318 }),
  },
  {
    what: 'accepts connections and never answers',
    spans: 'lost',
    reason: both(/no answer within|No connection|timed out/i),
    hangs: true,
    start: startSilent,
  },
  {
    what: 'resets every connection during the request',
    spans: 'lost',
    reason: both(/ECONNRESET|reset|hang up|closed|dropped/i),
    start: startResetting,
  },
  {
    what: 'answers after 3 s, OTEL_NODE_FLUSH_TIMEOUT=10000',
    spans: 'kept',
    start: async (protocol, receiver) => ({
      ...(await startSlow(behind(protocol, receiver), 3_000)),
      env: { OTEL_NODE_FLUSH_TIMEOUT: '10000' },
    }),
  },
  {
    what: 'localhost is ::1 and 127.0.0.1, the first address refuses',
    spans: 'kept',
    start: async (protocol, receiver) => ({
      host: 'localhost',
      port: behind(protocol, receiver),
      env: { NODE_OPTIONS: `--import ${new URL('localhost-of-two.mjs', import.meta.url)}` },
    }),
  },
  {
    what: 'reachable only by a proxy (http_proxy; for HTTP, HTTP_PROXY and NODE_USE_ENV_PROXY)',
    spans: 'kept',
    start: async (protocol, receiver) => {
      const { port: proxyPort, stop } = await startProxy(behind(protocol, receiver));
      const proxy = `http://127.0.0.1:${proxyPort}`;
      const variables: Record<string, string> =
        protocol === 'grpc'
          ? { http_proxy: proxy, no_proxy: '127.0.0.1' }
          : { HTTP_PROXY: proxy, NO_PROXY: '127.0.0.1', NODE_USE_ENV_PROXY: '1' };
      return { host: 'collector.invalid', port: 4317, env: variables, stop };
    },
  },
  {
    what: 'accepts three requests per connection; ten requests',
    spans: 'kept',
    start: async (protocol, receiver) => ({
      ...(protocol === 'grpc'
        ? await startHttp2WithLimits(receiver.grpcPort, { perConnection: 3 })
        : await startHttpPerConnection(receiver.httpPort, 3)),
      env: { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2' },
    }),
  },
  {
    what: 'accepts one request at a time; ten requests',
    spans: 'kept',
    start: async (protocol, receiver) => ({
      ...(protocol === 'grpc'
        ? await startHttp2WithLimits(receiver.grpcPort, { atOnce: 1 })
        : await startHttpPerConnection(receiver.httpPort, 1)),
      env: { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '2' },
    }),
  },
  {
    what: 'accepts, with an answer of 16 MiB',
    spans: 'lost',
    reason: both(/larger than 4 MiB/),
    start: (protocol, receiver) => startLargeAnswers(protocol, receiver, 2 ** 24),
  },
  {
    what: 'UNAVAILABLE or 503',
    spans: 'lost',
    reason: { grpc: /restarting/, 'http/protobuf': /503|Service Unavailable/i },
    start: refusing({ code: status.UNAVAILABLE, details: 'restarting' }, 503),
  },
  {
    what: 'RESOURCE_EXHAUSTED or 429',
    spans: 'lost',
    reason: { grpc: /out of memory/, 'http/protobuf': /429|Too Many Requests/i },
    start: refusing({ code: status.RESOURCE_EXHAUSTED, details: 'out of memory' }, 429),
  },
  {
    what: 'refuses the headers: UNAUTHENTICATED or 401',
    spans: 'lost',
    reason: { grpc: /who are you/, 'http/protobuf': /401|Unauthorized/i },
    start: refusing({ code: status.UNAUTHENTICATED, details: 'who are you' }, 401),
  },
  {
    what: 'the other protocol on the port',
    spans: 'lost',
    reason: both(/./),
    start: async (protocol, { grpcPort, httpPort }) => ({ port: protocol === 'grpc' ? httpPort : grpcPort }),
  },
  {
    what: 'TLS on the port, http in the endpoint',
    spans: 'lost',
    reason: both(/./),
    start: async (...given) => ({ ...(await overTls('server', trusting)(...given)), scheme: 'http' }),
  },
  {
    what: 'plain text on the port, https in the endpoint',
    spans: 'lost',
    reason: both(/./),
    start: async (protocol, receiver) => ({
      port: behind(protocol, receiver),
      scheme: 'https',
      host: 'localhost',
    }),
  },
  {
    what: 'a certificate of an unknown authority',
    spans: 'lost',
    reason: both(/certificate/i),
    start: overTls('server', () => ({})),
  },
  {
    what: 'a certificate for another host',
    spans: 'lost',
    reason: both(/altnames|Host/i),
    start: overTls('otherServer', trusting),
  },
  { what: 'TLS with a known authority', spans: 'kept', start: overTls('server', trusting) },
  {
    what: 'TLS, the authority is in NODE_EXTRA_CA_CERTS',
    spans: 'kept',
    start: overTls('server', ({ files }) => ({ NODE_EXTRA_CA_CERTS: files.authority })),
  },
  {
    what: "TLS, the authority is one of the system's (NODE_USE_SYSTEM_CA, SSL_CERT_FILE)",
    spans: 'kept',
    start: overTls('server', ({ files }) => ({ NODE_USE_SYSTEM_CA: '1', SSL_CERT_FILE: files.authority })),
  },
  ...['--use-system-ca', '--use-openssl-ca'].map(
    (flag): Fault => ({
      what: `TLS, the authority is in SSL_CERT_FILE, ${flag} in NODE_OPTIONS`,
      spans: 'kept',
      start: overTls('server', ({ files }) => ({ NODE_OPTIONS: flag, SSL_CERT_FILE: files.authority })),
    }),
  ),
  {
    what: 'mutual TLS',
    spans: 'kept',
    start: overTls(
      'server',
      (keys) => ({
        ...trusting(keys),
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: keys.files.clientCertificate,
        OTEL_EXPORTER_OTLP_CLIENT_KEY: keys.files.clientKey,
      }),
      true,
    ),
  },
  {
    what: 'mutual TLS, no client certificate',
    spans: 'lost',
    reason: both(/./),
    start: overTls('server', trusting, true),
  },
  {
    what: 'mutual TLS, a client certificate of another authority',
    spans: 'lost',
    reason: both(/./),
    start: overTls(
      'server',
      (keys) => ({
        ...trusting(keys),
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: keys.files.strangersCertificate,
        OTEL_EXPORTER_OTLP_CLIENT_KEY: keys.files.strangersKey,
      }),
      true,
    ),
  },
];

/** The variables that send a program's spans there. */
export const environmentOf = (protocol: FaultProtocol, { scheme = 'http', host, port, env }: Place) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: `${scheme}://${host ?? '127.0.0.1'}:${port}`,
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
  ...env,
});
