/** Secrets are planted wherever a user has some; all output and all spans are searched for them. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const PLANT = 'hunter2-planted';
const base64 = (text: string) => Buffer.from(text).toString('base64');
/** The planted text, and its form on the wire: passwords in base64. */
const FORMS = [PLANT, ...['new-', 'old-', 'pass-', 'token-'].flatMap((word) => base64(`${word}${PLANT}`))];

/** Answers every export with an error that repeats the whole request. */
async function startEchoingGrpc(): Promise<{ address: string; stop(): void }> {
  const { port, stop } = await startExportServer(({ metadata }, respond) =>
    respond({
      code: status.UNAUTHENTICATED,
      details: `no entry with ${JSON.stringify(metadata.getMap())}`,
    }),
  );
  return { address: `127.0.0.1:${port}`, stop };
}

async function startEchoingHttp(): Promise<{ address: string; stop(): void }> {
  const server = createServer((request, response) => {
    request.resume();
    response.statusCode = 401;
    const text = `no entry to ${request.url} with ${JSON.stringify(request.headers)}`;
    response.statusMessage = text.replaceAll(/[^ -~]/g, ' ');
    response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

let folder: string;
let grpc: Awaited<ReturnType<typeof startEchoingGrpc>>;
let http: Awaited<ReturnType<typeof startEchoingHttp>>;
before(async () => {
  [grpc, http] = await Promise.all([startEchoingGrpc(), startEchoingHttp()]);
  folder = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-secrets-'));
  await writeFile(
    path.join(folder, 'client.pem'),
    `-----BEGIN PRIVATE KEY-----\n${base64(PLANT)}${PLANT}\n-----END PRIVATE KEY-----\n`,
  );
});
after(async () => {
  grpc.stop();
  http.stop();
  await rm(folder, { recursive: true, force: true });
});

const planted = () => ({
  PLANT,
  OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20all-${PLANT},x-plain=plain-${PLANT}`,
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: `x-api-key=traces-${PLANT}`,
  OTEL_EXPORTER_OTLP_METRICS_HEADERS: `x-api-key=metrics-${PLANT}`,
  OTEL_EXPORTER_OTLP_LOGS_HEADERS: `x-api-key=logs-${PLANT}`,
  OTEL_EXPORTER_OTLP_CLIENT_KEY: path.join(folder, 'client.pem'),
  OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: path.join(folder, 'client.pem'),
  OTEL_NODE_FLUSH_TIMEOUT: '1000',
});

const login = `user-${PLANT}:url-${PLANT}`;
const COLLECTORS: Record<string, () => Record<string, string>> = {
  'that accepts all': () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${login}@127.0.0.1:${runs.receiver.grpcPort}`,
  }),
  'that is not there': () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${login}@127.0.0.1:1/?key=query-${PLANT}`,
  }),
  'that repeats it all over gRPC': () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${login}@${grpc.address}`,
  }),
  'that repeats it all over HTTP': () => ({
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://${login}@${http.address}/v1/traces?key=query-${PLANT}`,
  }),
  'behind TLS, with a key that is none': () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `https://${login}@${grpc.address}`,
  }),
  'whose address is broken': () => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${login}@127.0.0.1:99999/?key=query-${PLANT}`,
    OTEL_EXPORTER_OTLP_HEADER: `authorization=Bearer%20typo-${PLANT}`,
  }),
};
/** Metrics and logs to the same collector, whose exporters log other messages. */
const SIGNALS = { OTEL_METRICS_EXPORTER: 'otlp', OTEL_LOGS_EXPORTER: 'otlp' };

function assertClean(text: string): void {
  for (const form of FORMS) {
    const at = text.indexOf(form);
    assert.equal(at, -1, `a secret is in: …${text.slice(Math.max(0, at - 300), at + 100)}`);
  }
}

describe('no secret is printed', { concurrency: 2 }, () => {
  for (const [collector, env] of Object.entries(COLLECTORS)) {
    for (const level of ['', 'none', 'error', 'warn', 'info', 'debug', 'verbose', 'all']) {
      for (const ending of level === '' || level === 'all' ? ['return', 'exit'] : ['return']) {
        test(`with a collector ${collector}, at the level ${level || 'that is not set'}, ending by ${ending}`, async () => {
          const { stdout, stderr, code } = await runs.run({
            file: 'test/fixtures/secrets.mjs',
            args: [ending],
            env: { ...planted(), ...SIGNALS, OTEL_LOG_LEVEL: level, ...env() },
          });
          assert.deepEqual({ stdout, code }, { stdout: 'done\n', code: 0 }, stderr);
          assertClean(stderr);
          if (level === 'all') assert.match(stderr, /^milvus-otel: \[(debug|verbose)\]/m);
        });
      }
    }
  }
});

test('no secret is in a span, with RPC spans and all resource detectors but the process', async () => {
  const { service, stdout } = await runs.run({
    file: 'test/fixtures/secrets.mjs',
    env: {
      ...planted(),
      OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS: 'true',
      OTEL_NODE_RESOURCE_DETECTORS: 'env,host,os,process,serviceinstance',
    },
  });
  assert.equal(stdout, 'done\n');
  const spans = await runs.receiver.waitForSpans(
    (all) => all.filter((span) => span.service === service && span.name.startsWith('query')).length >= 2,
    5_000,
  );
  const own = spans.filter((span) => span.service === service);
  for (const operation of ['createUser', 'updateUser', 'insert', 'search'])
    assert.ok(
      own.some(({ name }) => name.includes(operation)),
      `${operation} in ${own.map(({ name }) => name)}`,
    );
  assertClean(JSON.stringify(own));
});
