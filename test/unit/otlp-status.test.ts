/** The effect of a failed attempt on a batch, and the logged message. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../src/config/settings.ts';
import { GrpcStatus } from '../../src/grpc-status.ts';
import { lastConnectionError, reasonFor } from '../../src/otlp/reason.ts';
import { OtlpError } from '../../src/otlp/sender.ts';
import { verdictOn } from '../../src/otlp/status.ts';
import { tracesTarget } from '../../src/otlp/target.ts';
import { RETRYABLE_CODES } from '../support/retryable-codes.ts';

const grpc = (status: number, message = 'why', retryAfterMs?: number) =>
  new OtlpError(message, { status, isGrpc: true, retryAfterMs });
const http = (status: number, retryAfterMs?: number) =>
  new OtlpError(`HTTP status ${status}`, { status, isGrpc: false, retryAfterMs });
const unanswered = (message: string, isGrpc = true) => new OtlpError(message, { isGrpc });

test('only the codes that OTLP calls retryable are retried', () => {
  const retried = Object.entries(GrpcStatus).filter(([, code]) => verdictOn(grpc(code)).kind === 'retry');
  assert.deepEqual(
    retried.map(([name]) => name),
    RETRYABLE_CODES,
  );
  for (const status of [429, 502, 503, 504]) assert.equal(verdictOn(http(status)).kind, 'retry');
  for (const status of [301, 400, 401, 404, 500, 501])
    assert.deepEqual(verdictOn(http(status)), { kind: 'refused' });
  assert.equal(verdictOn(unanswered('read ECONNRESET')).kind, 'retry');
  assert.deepEqual(verdictOn(new Error('ENOENT')), { kind: 'refused' });
});

test('a time to wait is passed on, and RESOURCE_EXHAUSTED without one may mean a size', () => {
  assert.deepEqual(verdictOn(grpc(GrpcStatus.UNAVAILABLE, 'busy', 5_000)), { kind: 'retry', afterMs: 5_000 });
  assert.deepEqual(verdictOn(http(503, 7_000)), { kind: 'retry', afterMs: 7_000 });
  assert.equal(verdictOn(grpc(GrpcStatus.RESOURCE_EXHAUSTED)).kind, 'retry');
  assert.deepEqual(verdictOn(grpc(GrpcStatus.RESOURCE_EXHAUSTED)), { kind: 'retry', mayBeTooLarge: true });
  assert.deepEqual(verdictOn(grpc(GrpcStatus.RESOURCE_EXHAUSTED, 'quota', 1)), { kind: 'retry', afterMs: 1 });
});

test('"too large" is recognised by 413, and by the messages of servers that have no status for it', () => {
  assert.deepEqual(verdictOn(http(413)), { kind: 'too large' });
  for (const words of [
    'grpc: received message larger than max (5000000 vs. 4194304)',
    'Received message larger than max (5000000 vs 4194304)',
    'gRPC message exceeds maximum size 4194304: 5000000',
    'Received message exceeds the maximum configured message size.',
    'Error, message length too large: found 5000000 bytes, the limit is: 4194304 bytes',
    'Received HTTP status code 413',
  ])
    assert.deepEqual(verdictOn(grpc(GrpcStatus.RESOURCE_EXHAUSTED, words)), { kind: 'too large' }, words);
});

/** The reason that is logged where the variables are set. */
const shown = (error: unknown, env: Record<string, string> = {}) =>
  reasonFor(error, tracesTarget(readSettings(env)));
const HTTP = { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };
const TLS = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector:4317' };

test('an authentication failure names the variable of the headers', () => {
  for (const [error, env] of [
    [grpc(GrpcStatus.UNAUTHENTICATED, 'no token'), {}],
    [grpc(GrpcStatus.PERMISSION_DENIED, 'no token'), {}],
    [http(401), HTTP],
    [http(403), HTTP],
  ] as const)
    assert.match(shown(error, env), /\. Check OTEL_EXPORTER_OTLP_HEADERS$/);
  assert.match(
    shown(http(401), { ...HTTP, OTEL_EXPORTER_OTLP_TRACES_HEADERS: 'a=b' }),
    /OTEL_EXPORTER_OTLP_TRACES_HEADERS$/,
  );
});

test('a port of another protocol names the port and the variable', () => {
  assert.equal(
    shown(unanswered('Protocol error'), { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }),
    'port 4318 does not use gRPC. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use the gRPC port (4317 by default)',
  );
  assert.equal(
    shown(unanswered('Parse Error: Expected HTTP/, RTSP/ or ICE/', false), {
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4317',
    }),
    'port 4317 does not use HTTP/1.1; it looks like a gRPC port. Set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc, or use the HTTP port (4318 by default)',
  );
  assert.match(shown(unanswered('tlsv1 alert no application protocol'), TLS), /^port 4317 does not use gRPC/);
});

test('a mix of TLS and plain text names the scheme to write, both ways', () => {
  assert.equal(
    shown(unanswered('SSL routines:wrong version number'), TLS),
    'port 4317 does not use TLS. Write http:// in OTEL_EXPORTER_OTLP_ENDPOINT',
  );
  for (const [error, env] of [
    [unanswered('Failed to connect'), {}],
    [unanswered('socket hang up', false), HTTP],
  ] as const)
    assert.match(shown(error, env), /If it uses TLS, write https:\/\/ in OTEL_EXPORTER_OTLP_ENDPOINT$/);
});

test('a server that asks for a client certificate, and one with other host names, name the variables', () => {
  const alert = (name: string) =>
    `407D537D:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert ${name}:rec.c`;
  assert.equal(
    shown(unanswered(alert('certificate required')), TLS),
    'the collector requires a client certificate. Set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY',
  );
  for (const name of ['unknown ca', 'bad certificate'])
    assert.equal(
      shown(unanswered(alert(name)), { ...TLS, OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE: 'a.crt' }),
      'the collector does not accept the client certificate. Check OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE',
    );
  assert.match(
    shown(unanswered("Hostname/IP does not match certificate's altnames: Host: c."), TLS),
    /\. Use a host name of the certificate in OTEL_EXPORTER_OTLP_ENDPOINT$/,
  );
});

test('a web page and a proxy that does not connect name what to check', () => {
  assert.equal(
    shown(new OtlpError('HTTP status 200 with a web page', { status: 200, isGrpc: false }), HTTP),
    'HTTP status 200 with a web page. The address is not that of an OTLP receiver. Check OTEL_EXPORTER_OTLP_ENDPOINT',
  );
  const details = 'No connection established. Last error: undefined. Resolution note: ';
  assert.equal(
    shown(unanswered(lastConnectionError(details) ?? ''), { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4317' }),
    'the proxy does not connect. Check grpc_proxy, https_proxy and http_proxy, or add c to no_proxy',
  );
});

test('an unknown host is named, and so is the variable of an unknown authority', () => {
  const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://nowhere.invalid:4317' };
  for (const words of ['Name resolution failed for target dns:nowhere.invalid:4317', 'getaddrinfo ENOTFOUND'])
    assert.equal(
      shown(unanswered(words), env),
      'host nowhere.invalid cannot be resolved. Check OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    );
  assert.match(
    shown(unanswered('unable to verify the first certificate'), TLS),
    /\. Set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of its certificate authority$/,
  );
});
