/**
 * A program of its own, run by last-flush.ts when the app's process can no longer wait for anything: reads OTLP
 * requests from stdin, posts them, and prints how many were accepted. It loads nothing but Node's own modules.
 *
 * stdin: one line of JSON (LastRequest), then the bodies, one after the other.
 * stdout: one line of JSON (LastAnswer).
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as connectSocket } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { OtlpTarget } from './otlp-target.ts';
import { rejectionIn } from './partial-success.ts';

export interface LastRequest {
  target: OtlpTarget;
  /** Length of each body, in bytes. */
  lengths: number[];
}

export interface LastAnswer {
  /** For each body: null when it was accepted. One for all of them when none could be sent. */
  failures: (Failure | null)[];
}

export interface Failure {
  reason: string;
  /** Spans, where the others were accepted. */
  count?: number;
}

/** Before a message of gRPC. */
const FRAME_BYTES = 5;

const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

async function main(): Promise<void> {
  const input = readFileSync(0);
  const lineEnd = input.indexOf(10);
  const { target, lengths } = JSON.parse(input.toString('utf8', 0, lineEnd)) as LastRequest;
  let offset = lineEnd + 1;
  const bodies = lengths.map((length) => {
    const body = input.subarray(offset, offset + length);
    offset += length;
    return body;
  });
  const failures = await (target.protocol === 'grpc' ? postGrpc(target, bodies) : postHttp(target, bodies));
  process.stdout.write(`${JSON.stringify({ failures } satisfies LastAnswer)}\n`);
}

const tls = ({ certificate, clientKey, clientCertificate }: OtlpTarget) => ({
  ...(certificate === undefined ? {} : { ca: readFileSync(certificate) }),
  ...(clientKey === undefined ? {} : { key: readFileSync(clientKey) }),
  ...(clientCertificate === undefined ? {} : { cert: readFileSync(clientCertificate) }),
});

const settled = (promises: Promise<Failure | null>[]): Promise<(Failure | null)[]> =>
  Promise.all(
    promises.map((promise) =>
      // A stream says only that it was cancelled; why, its cause says.
      promise.catch((error: Error) => ({
        reason: (error.cause instanceof Error ? error.cause : error).message,
      })),
    ),
  );

async function postGrpc(target: OtlpTarget, bodies: Buffer[]): Promise<(Failure | null)[]> {
  const session = target.url.startsWith('unix:')
    ? connect('http://localhost', {
        createConnection: () => connectSocket(target.url.replace(/^unix:(\/\/)?/, '')),
      })
    : connect(target.url, tls(target));
  const failed = new Promise<never>((_, reject) => session.on('error', reject));
  const failures = await settled(
    bodies.map((body) => Promise.race([postOneGrpc(session, target, body), failed])),
  );
  session.destroy();
  return failures;
}

function postOneGrpc(session: ClientHttp2Session, target: OtlpTarget, body: Buffer): Promise<Failure | null> {
  return new Promise((resolve, reject) => {
    const compressed = target.compression === 'gzip';
    const message = compressed ? gzipSync(body) : body;
    // gRPC's frame: a flag for compression, then the length, 32 bits.
    const frame = Buffer.alloc(FRAME_BYTES);
    frame[0] = compressed ? 1 : 0;
    frame.writeUInt32BE(message.length, 1);
    const stream = session.request({
      ...target.headers,
      ':method': 'POST',
      ':path': EXPORT,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(compressed ? { 'grpc-encoding': 'gzip' } : {}),
    });
    const answer: Buffer[] = [];
    const onStatus = (headers: Record<string, unknown>) => {
      const status = headers['grpc-status'];
      if (status === undefined) return;
      if (status === '0') resolve(rejectionIn(Buffer.concat(answer).subarray(FRAME_BYTES), false) ?? null);
      else reject(new Error(decoded(headers['grpc-message']) ?? `gRPC status ${status}`));
    };
    // A refusal without a body carries its status in the first headers.
    stream.on('response', onStatus).on('trailers', onStatus);
    stream.on('error', reject).on('close', () => reject(new Error('the connection was closed')));
    stream.on('data', (chunk: Buffer) => answer.push(chunk));
    stream.write(frame);
    stream.end(message);
  });
}

/** gRPC's messages are percent-encoded. */
function decoded(message: unknown): string | undefined {
  if (typeof message !== 'string' || message === '') return undefined;
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

function postHttp(target: OtlpTarget, bodies: Buffer[]): Promise<(Failure | null)[]> {
  return settled(bodies.map((body) => postOneHttp(target, body)));
}

function postOneHttp(target: OtlpTarget, body: Buffer): Promise<Failure | null> {
  return new Promise((resolve, reject) => {
    const compressed = target.compression === 'gzip';
    const message = compressed ? gzipSync(body) : body;
    const post = target.url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = post(
      target.url,
      {
        method: 'POST',
        headers: {
          ...target.headers,
          'content-type': target.protocol === 'http/json' ? 'application/json' : 'application/x-protobuf',
          'content-length': message.length,
          ...(compressed ? { 'content-encoding': 'gzip' } : {}),
        },
        ...tls(target),
      },
      async (response) => {
        const status = response.statusCode ?? 0;
        if (status < 200 || status > 299) {
          response.resume();
          reject(new Error(`HTTP status ${status}`));
          return;
        }
        // An answer that ends in the middle has said yes by its status.
        const answer: Buffer[] = await response.toArray().catch(() => []);
        resolve(rejectionIn(Buffer.concat(answer), target.protocol === 'http/json') ?? null);
      },
    );
    request.on('error', reject);
    request.end(message);
  });
}

main().catch((error: Error) => {
  process.stdout.write(`${JSON.stringify({ failures: [{ reason: error.message }] } satisfies LastAnswer)}\n`);
});
