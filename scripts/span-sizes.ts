/**
 * Measures the spans per request and the bytes per span on the wire: the Express sample under the preload,
 * with searches on a real Milvus. Source of the figures in docs/production.md and
 * samples/cluster/calculator.mjs.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ACCEPTED, type ExportServer, startExportServer } from '../src/doctor/export-server.ts';
import { messages, text } from '../src/otlp/protobuf.ts';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { startMilvus } from '../tools/servers/milvus.ts';

const help = `node scripts/span-sizes.ts                  measures spans per request and bytes per span, of the app and of Milvus
node scripts/span-sizes.ts --requests 500   number of requests; default 200
node scripts/span-sizes.ts --json           prints JSON`;

const root = path.join(import.meta.dirname, '..');

/** Exports of one service, as OTLP protobuf without the bytes of gRPC and HTTP. */
export interface Sent {
  spans: number;
  /** Resource and scope of each batch included. */
  bytes: number;
}

/** Adds an ExportTraceServiceRequest, by service.name. */
export function addRequest(request: Uint8Array, sent: Map<string, Sent>): void {
  for (const resourceSpans of messages(request, 1)) {
    const service = serviceOf(resourceSpans);
    const spans = messages(resourceSpans, 2).reduce(
      (sum, scopeSpans) => sum + messages(scopeSpans, 2).length,
      0,
    );
    const before = sent.get(service) ?? { spans: 0, bytes: 0 };
    sent.set(service, { spans: before.spans + spans, bytes: before.bytes + resourceSpans.length });
  }
}

function serviceOf(resourceSpans: Uint8Array): string {
  const attributes = messages(resourceSpans, 1).flatMap((resource) => messages(resource, 1));
  const named = attributes.find((attribute) => text(attribute, 1) === 'service.name');
  const [value] = named === undefined ? [] : messages(named, 2);
  return value === undefined ? '' : text(value, 1);
}

/** A collector that only counts. */
async function startCounter(): Promise<ExportServer & { sent: Map<string, Sent> }> {
  const sent = new Map<string, Sent>();
  const server = await startExportServer(({ request }, respond) => {
    addRequest(request, sent);
    respond(null, ACCEPTED);
  });
  return { ...server, sent };
}

/** Resolves after two seconds without data: Milvus sends every 200 ms, and its background steps end later. */
async function settled(sent: Map<string, Sent>): Promise<void> {
  const count = () => [...sent.values()].reduce((sum, { spans }) => sum + spans, 0);
  for (let before = -1; before !== count(); ) {
    before = count();
    await sleep(2_000);
  }
}

export interface SpanSizes {
  requests: number;
  /** By service, `app` and `standalone`. */
  services: Record<string, { spansPerRequest: number; bytesPerSpan: number }>;
}

export async function measureSpanSizes(requests: number, log: (line: string) => void): Promise<SpanSizes> {
  await ensureBuilt();
  const counter = await startCounter();
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${counter.port}`, log });
  const app = spawn(
    process.execPath,
    ['--import', 'milvus-otel/register', path.join('samples', 'express', 'server.js')],
    {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        MILVUS_ADDRESS: milvus.address,
        OTEL_SERVICE_NAME: 'app',
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${counter.port}`,
        OTEL_BSP_SCHEDULE_DELAY: '1000',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const stopApp = () => app.kill('SIGKILL');
  process.once('exit', stopApp);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: app.stdout }).on('line', (line) => {
        const found = /http:\/\/\S+/.exec(line);
        if (found) resolve(found[0]);
      });
      app.once('exit', (code) => reject(new Error(`the Express sample ended with code ${code}`)));
    });
    // Excludes the spans that create and fill the collection.
    await settled(counter.sent);
    counter.sent.clear();
    log(`${requests} searches …`);
    for (let count = 0; count < requests; count++) {
      const response = await fetch(`${url}/search?q=number+${count}`);
      if (!response.ok) throw new Error(`a search was answered with ${response.status}`);
      await response.arrayBuffer();
    }
    await settled(counter.sent);
    return {
      requests,
      services: Object.fromEntries(
        [...counter.sent].map(([service, { spans, bytes }]) => [
          service,
          { spansPerRequest: spans / requests, bytesPerSpan: bytes / spans },
        ]),
      ),
    };
  } finally {
    process.off('exit', stopApp);
    stopApp();
    await milvus.stop();
    counter.stop();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      requests: { type: 'string', default: '200' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const requests = Number(values.requests);
  if (!Number.isInteger(requests) || requests < 1) {
    console.error(`--requests ${values.requests} is not a number of requests: give 1 or more`);
    return 2;
  }
  const sizes = await measureSpanSizes(requests, (line) => console.error(line));
  if (values.json) {
    console.log(JSON.stringify(sizes));
    return 0;
  }
  for (const [service, { spansPerRequest, bytesPerSpan }] of Object.entries(sizes.services)) {
    console.log(
      `${service.padEnd(12)} ${spansPerRequest.toFixed(1)} spans per request, ${Math.round(bytesPerSpan)} bytes per span`,
    );
  }
  return 0;
}

if (import.meta.main) {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    // Milvus and the app end with this process.
    process.on(signal, () => process.exit(code));
  }
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
