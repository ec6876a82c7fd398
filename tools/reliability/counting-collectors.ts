/** Collectors that count: each request with its time, and how often each span of the program arrives. */
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { Metadata } from '@grpc/grpc-js';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { exportedSpans } from '../../src/doctor/otlp-receiver.ts';
import { type Collector, listen } from './collectors.ts';

export interface CountedRequest {
  atMs: number;
  spans: { spanId: string; name: string }[];
  isRefused: boolean;
}

export interface Counting extends Collector {
  requests: CountedRequest[];
  /** How often each accepted span has arrived, by its id. */
  seen: Map<string, number>;
}

export interface Refusal {
  /** For gRPC. */
  code: number;
  details: string;
  /** For HTTP. */
  httpStatus: number;
  /** Requested delay: RetryInfo or Retry-After. */
  retryAfterSeconds?: number;
}

/** Names of the programs' spans. Spans of instrumentations are not counted. */
const OWN_NAMES = ['some', 'poison'];

/** `attempt` counts from 1; `names` are the spans of the request. */
export type Refuses = (attempt: number, names: string[]) => Refusal | undefined;

/** Spans that arrived more than once. */
export const duplicatesOf = ({ seen }: Counting): number =>
  [...seen.values()].filter((times) => times > 1).length;

function startCount() {
  const seen: Counting['seen'] = new Map();
  const requests: CountedRequest[] = [];
  return {
    seen,
    requests,
    /** Counts a request; returns why it is refused. */
    count(body: Uint8Array, refuses: Refuses): Refusal | undefined {
      const spans = exportedSpans(body).filter(({ name }) => OWN_NAMES.includes(name));
      const names = spans.map(({ name }) => name);
      const refusal = refuses(requests.length + 1, names);
      requests.push({ atMs: performance.now(), spans, isRefused: refusal !== undefined });
      if (refusal === undefined)
        for (const { spanId } of spans) seen.set(spanId, (seen.get(spanId) ?? 0) + 1);
      return refusal;
    },
  };
}

const none: Refuses = () => undefined;

/** Refuses requests as `refuses` decides; counts the spans of the others. */
export async function startCounting(
  protocol: 'grpc' | 'http/protobuf',
  refuses: Refuses = none,
): Promise<Counting> {
  const { count, ...counted } = startCount();
  if (protocol === 'grpc') {
    const server = await startExportServer(({ request }, respond) => {
      const refusal = count(request, refuses);
      if (refusal === undefined) return respond(null, Buffer.alloc(0));
      const metadata = new Metadata();
      if (refusal.retryAfterSeconds !== undefined)
        metadata.set('grpc-status-details-bin', retryInfo(refusal.code, refusal.retryAfterSeconds));
      respond({ code: refusal.code, details: refusal.details, metadata });
    });
    return { ...counted, port: server.port, stop: async () => server.stop() };
  }
  const collector = await listen(
    createHttpServer(async (request, response) => {
      const refusal = count(Buffer.concat(await request.toArray()), refuses);
      const after = refusal?.retryAfterSeconds;
      response.writeHead(refusal?.httpStatus ?? 200, {
        'content-type': 'application/x-protobuf',
        ...(after === undefined ? {} : { 'retry-after': String(after) }),
      });
      response.end();
    }),
  );
  return { ...counted, ...collector };
}

/**
 * gRPC: answers each request after 100 ms, and sends GOAWAY with `errorCode` on every connection when its
 * `after`-th request arrives. Later requests on the connection are not processed, as GOAWAY promises.
 */
export async function startGoingAway(after: number, errorCode = 0): Promise<Counting> {
  const { count, ...counted } = startCount();
  const server = createHttp2Server();
  server.on('session', (session) => {
    session.on('error', () => {});
    let requests = 0;
    session.on('stream', async (stream) => {
      stream.on('error', () => {});
      if (++requests > after) return;
      if (requests === after) session.goaway(errorCode, stream.id);
      const body = Buffer.concat(await stream.toArray()).subarray(5);
      count(body, none);
      setTimeout(() => {
        if (stream.destroyed) return;
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(Buffer.alloc(5));
      }, 100);
    });
  });
  return { ...counted, ...(await listen(server)) };
}

/**
 * google.rpc.Status { code = 1, details = 3 { type_url = 1, value = 2 } }, whose value is
 * RetryInfo { retry_delay = 1 { seconds = 1 } }.
 */
export function retryInfo(code: number, seconds: number): Buffer {
  const field = (number: number, content: Uint8Array) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
  const delay = field(1, Buffer.from([8, seconds]));
  const type = Buffer.from('type.googleapis.com/google.rpc.RetryInfo');
  const detail = Buffer.concat([field(1, type), field(2, delay)]);
  return Buffer.concat([Buffer.from([8, code]), field(3, detail)]);
}
