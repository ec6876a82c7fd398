/**
 * compose/production with real programs in place of its images: the collector and Jaeger 2 with the
 * configurations that users get, certificates from the script, a real Milvus. Only folders and ports differ,
 * set by the same variables.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FixtureResult, runFixture } from '../../tools/processes/run-fixture.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';
import {
  makeCertificates,
  type ProductionSet,
  startProductionSet,
} from '../../tools/servers/production-set.ts';
import { runDoctor } from '../doctor/runs.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-production-'));
const certificates = path.join(scratch, 'certificates');
const log = (line: string) => console.error(line);
const startWithinMs = 900_000;
const arrivalWithinMs = 60_000;

const slowMs = 2_000;
/** Each answer of Milvus takes this much longer on the slow line. */
const delayMs = 2_500;

let set: ProductionSet;
let milvus: Milvus;
let slowLine: Server;

before(
  async () => {
    makeCertificates(certificates, 'app', 'milvus');
    const env = {
      SLOW_MS: String(slowMs),
      // No other traces, so that each trace in Jaeger was kept for a reason.
      KEEP_PERCENT: '0',
      // Longer than the slowest operation plus the delay of its batches.
      DECISION_WAIT: '10s',
    };
    set = await startProductionSet(scratch, certificates, env, log);
    milvus = await startMilvus({ otlpEndpoint: set.milvusEndpoint, log });
  },
  { timeout: startWithinMs },
);

after(async () => {
  slowLine?.close();
  await milvus?.stop();
  await set?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** A client's certificate from a folder of certificates.sh; the authority is always the collector's. */
function clientTls(app: string, from = certificates): Record<string, string> {
  return {
    OTEL_EXPORTER_OTLP_CERTIFICATE: path.join(certificates, 'ca.crt'),
    OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: path.join(from, `${app}.crt`),
    OTEL_EXPORTER_OTLP_CLIENT_KEY: path.join(from, `${app}.key`),
  };
}

function runApp(service: string, env: Record<string, string>): Promise<FixtureResult> {
  return runFixture({
    file: 'test/fixtures/kept-and-dropped.mjs',
    preload: true,
    timeoutMs: 120_000,
    env: {
      MILVUS_ADDRESS: milvus.address,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${set.appGrpcPort}`,
      OTEL_BSP_SCHEDULE_DELAY: '200',
      ...env,
    },
  });
}

/** To Milvus, with every answer `delayMs` late. */
async function startSlowLine(to: string): Promise<string> {
  const [host, port] = to.split(':') as [string, string];
  slowLine = createServer((client) => {
    const server = createConnection(Number(port), host);
    client.pipe(server);
    server.on('data', (chunk) => setTimeout(() => client.write(chunk), delayMs));
    for (const end of [client, server]) {
      end.on('error', () => {});
      end.on('close', () => {
        client.destroy();
        server.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => slowLine.once('listening', resolve));
  return `127.0.0.1:${(slowLine.address() as { port: number }).port}`;
}

interface Kept {
  /** The client's operation. */
  name: string;
  /** Services of the spans directly under it, each once. */
  under: string[];
}

/** The operations of a service that Jaeger has, by name. */
async function keptOperations(service: string): Promise<Kept[]> {
  const response = await fetch(
    `${set.jaegerUrl}/api/traces?${new URLSearchParams({ service, limit: '100' })}`,
  );
  const body = await response.text();
  if (response.status === 404) return [];
  assert.equal(response.status, 200, body);
  const traces: any[] = JSON.parse(body).data ?? [];
  return traces
    .flatMap(({ spans, processes }) => {
      const serviceOf = (span: any) => processes[span.processID].serviceName;
      return spans
        .filter((span: any) => serviceOf(span) === service)
        .map((span: any) => ({
          name: span.operationName,
          under: [
            ...new Set(
              spans
                .filter((child: any) => child.references.some((to: any) => to.spanID === span.spanID))
                .map(serviceOf),
            ),
          ],
        }));
    })
    .sort((a, b) => a.name.localeCompare(b.name));
}

async function waitForOperations(service: string, count: number): Promise<Kept[]> {
  const deadlineMs = performance.now() + arrivalWithinMs;
  for (;;) {
    const kept = await keptOperations(service);
    const complete = kept.length >= count && kept.every(({ under }) => under.length > 0);
    if (complete || performance.now() > deadlineMs) return kept;
    await sleep(250);
  }
}

test('over mutual TLS: failed and slow calls are kept with the server’s spans, others are not', async () => {
  const SLOW_MILVUS_ADDRESS = await startSlowLine(milvus.address);
  const { stdout, stderr, code } = await runApp('shop', { ...clientTls('app'), SLOW_MILVUS_ADDRESS });
  assert.deepEqual({ stdout, stderr, code }, { stdout: 'done\n', stderr: '', code: 0 });

  // connect default       dropped
  // hasCollection quick   dropped
  // search nowhere        kept: an error
  // └─ standalone: MilvusService/DescribeCollection
  // connect default       kept: slow
  // └─ standalone: MilvusService/Connect
  // hasCollection slow    kept: slow
  // └─ standalone: MilvusService/DescribeCollection
  const under = ['standalone'];
  const expected = ['connect default', 'hasCollection slow', 'search nowhere'].map((name) => ({
    name,
    under,
  }));
  assert.deepEqual(await waitForOperations('shop', expected.length), expected);
});

test('the same holds over mutual TLS and HTTP', async () => {
  const { stderr, code } = await runApp('shop-http', {
    ...clientTls('app'),
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${set.appHttpPort}`,
  });
  assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
  assert.deepEqual(await waitForOperations('shop-http', 1), [
    { name: 'search nowhere', under: ['standalone'] },
  ]);
});

test('without a client certificate no span is accepted, and the app logs it and continues', async () => {
  const { OTEL_EXPORTER_OTLP_CERTIFICATE } = clientTls('app') as { OTEL_EXPORTER_OTLP_CERTIFICATE: string };
  const { stdout, stderr, code } = await runApp('nobody', { OTEL_EXPORTER_OTLP_CERTIFICATE });
  assert.deepEqual({ stdout, code }, { stdout: 'done\n', code: 0 });
  assert.match(stderr, /^milvus-otel: 3 spans were lost/m);
});

test('with a certificate of another authority no span is accepted', async () => {
  const foreign = path.join(scratch, 'foreign');
  makeCertificates(foreign, 'app');
  const { stdout, stderr, code } = await runApp('stranger', clientTls('app', foreign));
  assert.deepEqual({ stdout, code }, { stdout: 'done\n', code: 0 });
  assert.match(stderr, /^milvus-otel: 3 spans were lost/m);
});

test('Jaeger’s spans survive its restart, and the collector queues spans meanwhile', async () => {
  await set.jaeger.stop({ gently: true });
  const { code } = await runApp('in-between', clientTls('app'));
  assert.equal(code, 0);
  // Past the decision, so that the collector has tried and failed to export.
  await sleep(12_000);
  set.jaeger = await set.startJaeger();

  const names = (kept: Kept[]) => kept.map(({ name }) => name);
  assert.deepEqual(names(await waitForOperations('shop', 3)), [
    'connect default',
    'hasCollection slow',
    'search nowhere',
  ]);
  assert.deepEqual(names(await waitForOperations('in-between', 1)), ['search nowhere']);
});

test('the doctor finds its trace, although the collector keeps no other', async () => {
  const { report } = await runDoctor({
    args: ['--milvus', milvus.address, '--jaeger', set.jaegerUrl, '--wait', '30'],
    env: { ...clientTls('app'), OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${set.appGrpcPort}` },
  });
  assert.ok(report.sound, JSON.stringify(report, null, 1));
});

test('Milvus’ Go part shows a certificate when the variables of OpenTelemetry name one', async () => {
  await milvus.stop();
  milvus = await startMilvus({
    otlpEndpoint: `localhost:${set.appGrpcPort}`,
    env: {
      TRACE_OTLP_SECURE: 'true',
      OTEL_EXPORTER_OTLP_CERTIFICATE: path.join(certificates, 'ca.crt'),
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: path.join(certificates, 'milvus.crt'),
      OTEL_EXPORTER_OTLP_CLIENT_KEY: path.join(certificates, 'milvus.key'),
    },
    log,
  });
  await runApp('shop-tls', clientTls('app'));
  assert.deepEqual(await waitForOperations('shop-tls', 1), [
    { name: 'search nowhere', under: ['standalone'] },
  ]);
});
