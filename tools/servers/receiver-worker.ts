/**
 * The receiver's thread: mockotlpserver publishes to diagnostics channels, so two servers in one thread would
 * each report the spans of both. A thread has separate channels, and keeps answering while the main thread is
 * busy.
 */
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import {
  type ReceivedRequest,
  receivedLogs,
  receivedSpans,
  type WireLogsRequest,
  type WireTraceRequest,
} from './received-span.ts';
import type { FromWorker, WorkerOptions } from './receiver.ts';

/** The part of mockotlpserver that is used here; the package ships no types. */
interface MockOtlpServer {
  start(): Promise<void>;
  grpcUrl: URL | null;
  httpUrl: URL | null;
  uiUrl: URL | null;
}
interface RawRequest {
  transport: 'grpc' | 'http';
  path: string;
  metadata?: { getMap(): Record<string, string | Buffer> };
  headers?: Record<string, string | string[] | undefined>;
}

const host = '127.0.0.1';
const require = createRequire(import.meta.url);
const { MockOtlpServer } = require('@elastic/mockotlpserver') as {
  MockOtlpServer: new (options: object) => MockOtlpServer;
};

const port = parentPort;
if (port === null) throw new Error('receiver-worker.ts runs as a worker of receiver.ts');
const post = (message: FromWorker) => port.postMessage(message);
const { grpcPort, httpPort, ui, uiPort } = workerData as WorkerOptions;

/** Makes a request plain: over HTTP/protobuf, unset fields of the message object read as defaults. */
function plainRequest(request: any): WireTraceRequest & WireLogsRequest {
  return typeof request.constructor.toObject === 'function' ? request.constructor.toObject(request) : request;
}

/**
 * Adds missing `values` in place: gRPC omits them for empty arrays, and the writer below would drop the
 * request.
 */
function completeArrays(node: any): void {
  if (typeof node !== 'object' || node === null || ArrayBuffer.isView(node)) return;
  if (node.arrayValue) node.arrayValue.values ??= [];
  for (const child of Object.values(node)) completeArrays(child);
}

function receivedRequest({ transport, path, metadata, headers }: RawRequest): ReceivedRequest {
  const pairs = Object.entries(metadata?.getMap() ?? headers ?? {});
  return {
    transport,
    path,
    headers: Object.fromEntries(pairs.map(([name, value]) => [name, String(value)])),
  };
}

const server = new MockOtlpServer({
  logLevel: 'fatal',
  services: ui ? ['grpc', 'http', 'ui'] : ['grpc', 'http'],
  grpcHostname: host,
  grpcPort,
  httpHostname: host,
  httpPort,
  uiHostname: host,
  uiPort,
  onTrace(request: unknown) {
    if (ui) completeArrays(request);
    post({ type: 'spans', spans: receivedSpans(plainRequest(request)) });
  },
  onLogs: (request: unknown) => post({ type: 'logs', logs: receivedLogs(plainRequest(request)) }),
  onRequest: (request: RawRequest) => post({ type: 'request', request: receivedRequest(request) }),
});

if (ui) {
  // The web page reads one file per trace from a folder inside its package; this class writes them. It
  // subscribes after the server, so that it sees what onTrace has completed.
  const { FilePrinter } = require('@elastic/mockotlpserver/lib/printers.js') as {
    FilePrinter: new (log: Console) => { subscribe(): void };
  };
  new FilePrinter(console).subscribe();
}

try {
  await server.start();
  post({
    type: 'listening',
    grpcPort: Number(server.grpcUrl?.port),
    httpPort: Number(server.httpUrl?.port),
    uiUrl: server.uiUrl?.href,
  });
} catch (error) {
  post({ type: 'failed', reason: error instanceof Error ? error.message : String(error) });
}
