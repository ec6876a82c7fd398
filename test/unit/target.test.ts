import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../src/config/settings.ts';
import { shownEndpoint, tracesProtocol, tracesTarget } from '../../src/otlp/target.ts';

type Env = Record<string, string>;

const targetOf = (env: Env) => tracesTarget(readSettings(env));
const shownOf = (env: Env) => shownEndpoint(readSettings(env));

test('without any variable, spans go over gRPC to the collector on this machine', () => {
  assert.deepEqual(targetOf({}), {
    signal: 'traces',
    protocol: 'grpc',
    url: 'http://localhost:4317',
    headers: {},
    compression: 'none',
    certificate: undefined,
    clientKey: undefined,
    clientCertificate: undefined,
    verify: true,
    variables: {
      endpoint: 'OTEL_EXPORTER_OTLP_ENDPOINT',
      headers: 'OTEL_EXPORTER_OTLP_HEADERS',
      protocol: 'OTEL_EXPORTER_OTLP_PROTOCOL',
      certificate: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
      clientCertificate: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
      clientKey: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
      timeout: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    },
  });
  assert.equal(shownOf({}), 'http://localhost:4317');
});

test('the protocol for traces overrides the one for all signals, and each has its default endpoint', () => {
  for (const [all, traces, protocol, url] of [
    ['grpc', '', 'grpc', 'http://localhost:4317'],
    ['http/protobuf', '', 'http/protobuf', 'http://localhost:4318/v1/traces'],
    ['http/json', '', 'http/json', 'http://localhost:4318/v1/traces'],
    ['http/protobuf', 'grpc', 'grpc', 'http://localhost:4317'],
    ['grpc', 'http/json', 'http/json', 'http://localhost:4318/v1/traces'],
  ] as const) {
    const env = { OTEL_EXPORTER_OTLP_PROTOCOL: all, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: traces };
    assert.equal(tracesProtocol(readSettings(env)), protocol);
    const target = targetOf(env);
    assert.deepEqual([target.protocol, target.url], [protocol, url]);
  }
});

for (const [given, url] of [
  ['http://collector:4318', 'http://collector:4318/v1/traces'],
  ['http://collector:4318/', 'http://collector:4318/v1/traces'],
  ['http://collector:4318/otlp', 'http://collector:4318/otlp/v1/traces'],
  ['http://collector:4318/otlp/', 'http://collector:4318/otlp/v1/traces'],
  ['https://collector', 'https://collector/v1/traces'],
  ['http://[::1]:4318', 'http://[::1]:4318/v1/traces'],
  ['http://collector:4318/otlp?team=a', 'http://collector:4318/otlp/v1/traces?team=a'],
] as const) {
  test(`over HTTP, the endpoint ${given} for all signals is a base: ${url}`, () => {
    for (const protocol of ['http/protobuf', 'http/json']) {
      const env = { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_EXPORTER_OTLP_ENDPOINT: given };
      assert.equal(targetOf(env).url, url);
    }
  });
}

for (const [given, url] of [
  ['http://collector:4318/my/traces', 'http://collector:4318/my/traces'],
  ['http://collector:4318/my/traces/', 'http://collector:4318/my/traces/'],
  ['http://collector:4318/v1/traces', 'http://collector:4318/v1/traces'],
  ['http://collector:4318', 'http://collector:4318/'],
] as const) {
  test(`over HTTP, the endpoint ${given} for traces is used as it is`, () => {
    const env = {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://others:1',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: given,
    };
    assert.equal(targetOf(env).url, url);
    assert.equal(shownOf(env), given);
  });
}

test('over gRPC, the path of an endpoint is ignored', () => {
  for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
    for (const given of [
      'http://collector:4317',
      'http://collector:4317/',
      'http://collector:4317/v1/traces',
    ]) {
      assert.equal(targetOf({ [name]: given }).url, 'http://collector:4317');
    }
    assert.equal(targetOf({ [name]: 'https://collector' }).url, 'https://collector');
  }
});

test('over gRPC, an endpoint without a scheme uses TLS, unless INSECURE is set', () => {
  for (const [insecure, url] of [
    ['', 'https://collector:4317'],
    ['false', 'https://collector:4317'],
    ['true', 'http://collector:4317'],
  ] as const) {
    for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
      const env = { [name]: 'collector:4317', OTEL_EXPORTER_OTLP_INSECURE: insecure };
      assert.equal(targetOf(env).url, url);
      assert.equal(shownOf(env), 'collector:4317');
    }
  }
});

test('the scheme of an endpoint takes precedence over INSECURE', () => {
  for (const given of ['http://collector:4317', 'https://collector:4317', 'HTTPS://collector:4317']) {
    for (const insecure of ['true', 'false']) {
      const env = { OTEL_EXPORTER_OTLP_ENDPOINT: given, OTEL_EXPORTER_OTLP_INSECURE: insecure };
      assert.equal(targetOf(env).url, given.toLowerCase());
    }
  }
});

test('an endpoint that cannot be used is replaced with the default', () => {
  assert.equal(targetOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'not a url' }).url, 'http://localhost:4317');
});

const headersOf = (all: string, traces = '') =>
  targetOf({ OTEL_EXPORTER_OTLP_HEADERS: all, OTEL_EXPORTER_OTLP_TRACES_HEADERS: traces }).headers;

test('headers are percent-decoded, and their names are in lower case', () => {
  assert.deepEqual(headersOf('Authorization=Bearer%20to%2Cken, x-team = a%3Db'), {
    authorization: 'Bearer to,ken',
    'x-team': 'a=b',
  });
});

test('the value of a header is all text after its first equals sign', () => {
  assert.deepEqual(headersOf('authorization=Basic bWU6eA=='), { authorization: 'Basic bWU6eA==' });
  assert.deepEqual(headersOf('x-empty='), { 'x-empty': '' });
});

test('headers for traces override those for all signals, one by one and without regard to case', () => {
  assert.deepEqual(headersOf('X-Team=all,x-kept=1', 'x-team=traces,x-more=2'), {
    'x-team': 'traces',
    'x-kept': '1',
    'x-more': '2',
  });
});

test('a header that cannot be decoded is left out, and the others stay', () => {
  assert.deepEqual(headersOf('x-broken=%E0%A4%A,x-kept=1,%=2,x-more=%'), { 'x-kept': '1' });
});

test('compression and the files for TLS are passed on', () => {
  const { compression, certificate, clientKey, clientCertificate } = targetOf({
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    OTEL_EXPORTER_OTLP_CERTIFICATE: '/ca.pem',
    OTEL_EXPORTER_OTLP_CLIENT_KEY: '/key.pem',
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: '/cert.pem',
  });
  assert.deepEqual(
    { compression, certificate, clientKey, clientCertificate },
    { compression: 'gzip', certificate: '/ca.pem', clientKey: '/key.pem', clientCertificate: '/cert.pem' },
  );
});

test('a target passes to another process as JSON unchanged', () => {
  const given: Env = { OTEL_EXPORTER_OTLP_HEADERS: 'a=b', OTEL_EXPORTER_OTLP_CERTIFICATE: 'ca.pem' };
  for (const env of [{}, given]) {
    const target = targetOf(env);
    assert.deepEqual({ ...target, ...JSON.parse(JSON.stringify(target)) }, target);
  }
});

for (const given of [
  'http://me:hunter2@collector:4317',
  'http://me:hunter2@hunter2@collector:4317',
  'https://hunter2@collector:4317',
  'me:hunter2@collector:4317',
]) {
  test(`the text shown for ${given.replaceAll('hunter2', '…')} has the collector but no login`, () => {
    for (const protocol of ['grpc', 'http/protobuf']) {
      for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
        const shown = shownOf({ [name]: given, OTEL_EXPORTER_OTLP_PROTOCOL: protocol });
        assert.doesNotMatch(shown, /hunter2|\bme\b/);
        // HTTP cannot use an endpoint without a scheme, so spans go to the default.
        const unusable = protocol !== 'grpc' && !given.includes('://');
        assert.match(shown, unusable ? /^http:\/\/localhost:4318$/ : /collector:4317$/);
      }
    }
  });
}
