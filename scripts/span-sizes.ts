/**
 * How many spans one request makes and how many bytes each has on the wire: the Express sample under the preload, searches on
 * a real Milvus. docs/production.md and samples/cluster/calculator.mjs take their figures from here.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { ensureBuilt } from './build.ts';
import { startMilvus } from './milvus.ts';

const help = `node scripts/span-sizes.ts                  spans per request and bytes per span, of the app and of Milvus
node scripts/span-sizes.ts --requests 500   more requests; 200 by default
node scripts/span-sizes.ts --json           for programs`;

const root = path.join(import.meta.dirname, '..');

/** Of one service: everything that it sent, as OTLP protobuf without gRPC's and HTTP's own bytes. */
export interface Sent {
  spans: number;
  /** Resource and scope of each batch included. */
  bytes: number;
}

export interface Field {
  number: number;
  /** Of a length-delimited field; other fields have none. */
  value: Uint8Array | undefined;
}

/** The fields of one protobuf message. Source: the wire format, of which OTLP uses varint, fixed64, fixed32 and bytes. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new Error('the message ends inside a number');
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const [number, wireType] = [Math.floor(tag / 8), tag % 8];
    if (wireType === 2) {
      const length = varint();
      yield { number, value: message.subarray(at, at + length) };
      at += length;
    } else {
      if (wireType === 0) varint();
      else if (wireType === 1) at += 8;
      else if (wireType === 5) at += 4;
      else throw new Error(`wire type ${wireType} is not one of OTLP's`);
      yield { number, value: undefined };
    }
  }
}

const parts = (message: Uint8Array, number: number): Uint8Array[] =>
  [...fieldsOf(message)].flatMap((field) =>
    field.number === number && field.value !== undefined ? [field.value] : [],
  );

/** Adds what an ExportTraceServiceRequest holds, by service.name. */
export function addRequest(request: Uint8Array, sent: Map<string, Sent>): void {
  for (const resourceSpans of parts(request, 1)) {
    const service = serviceOf(resourceSpans);
    const spans = parts(resourceSpans, 2).reduce((sum, scopeSpans) => sum + parts(scopeSpans, 2).length, 0);
    const before = sent.get(service) ?? { spans: 0, bytes: 0 };
    sent.set(service, { spans: before.spans + spans, bytes: before.bytes + resourceSpans.length });
  }
}

function serviceOf(resourceSpans: Uint8Array): string {
  const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
  for (const resource of parts(resourceSpans, 1)) {
    for (const attribute of parts(resource, 1)) {
      if (text(parts(attribute, 1)[0]) !== 'service.name') continue;
      return text(parts(parts(attribute, 2)[0] ?? new Uint8Array(), 1)[0]);
    }
  }
  return '';
}

/** A collector that only counts. */
async function startCounter(): Promise<{ port: number; sent: Map<string, Sent>; stop(): void }> {
  const sent = new Map<string, Sent>();
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const asIs = (message: Buffer) => message;
  server.addService(
    {
      export: {
        path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    {
      export(call: { request: Buffer }, respond: (error: null, answer: Buffer) => void) {
        addRequest(call.request, sent);
        respond(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { port, sent, stop: () => server.forceShutdown() };
}

/** Resolves once nothing has come in for two seconds: Milvus sends every 200 ms, its background steps end a little later. */
async function settled(sent: Map<string, Sent>): Promise<void> {
  const count = () => [...sent.values()].reduce((sum, { spans }) => sum + spans, 0);
  for (let before = -1; before !== count(); ) {
    before = count();
    await sleep(2_000);
  }
}

export interface SpanSizes {
  requests: number;
  /** Each service's, `app` and `standalone`. */
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
    // What creates and fills the collection is not what a request makes.
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
    console.error(`--requests ${values.requests} is no number of requests: give 1 or more`);
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
