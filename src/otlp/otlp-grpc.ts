/**
 * OTLP over gRPC for traces, on Node's own HTTP/2: one unary call with a body that is encoded already.
 * docs/decisions/own-grpc-client.md says why it is not grpc-js, and when that is used all the same.
 *
 * Source: grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/http-grpc-status-mapping.md.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
} from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { promisify } from 'node:util';
import { VERSION } from '../version.ts';
import { brokenBy, EXPORT, tlsOptions } from './connection.ts';
import type { OtlpTarget } from './target.ts';

/** Before a message: a flag for compression, then the length, 32 bits. */
const FRAME_BYTES = 5;

/** After it a connection on which nothing happens is closed. Load balancers forget them after minutes. */
const IDLE_MS = 60_000;

/** A connection that was used before and gives no sign of life in this time is dead. At the end of an app, as long is left. */
const SIGN_OF_LIFE_MS = 1_000;

/** The header has room for eight digits. */
const LONGEST_TIMEOUT_MS = 99_999_999;

/** Of gRPC's status codes, those that are spoken of here. */
const Status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** HTTP status → gRPC's, for what answers before a gRPC server; the others are UNKNOWN. */
const OF_HTTP: Record<number, number> = {
  400: Status.INTERNAL,
  401: Status.UNAUTHENTICATED,
  403: Status.PERMISSION_DENIED,
  404: Status.UNIMPLEMENTED,
  429: Status.UNAVAILABLE,
  502: Status.UNAVAILABLE,
  503: Status.UNAVAILABLE,
  504: Status.UNAVAILABLE,
};

/** HTTP/2's code of a stream that the server has reset → gRPC's; the others are INTERNAL. */
const OF_RESET: Record<number, number> = {
  [constants.NGHTTP2_REFUSED_STREAM]: Status.UNAVAILABLE,
  [constants.NGHTTP2_CANCEL]: Status.CANCELLED,
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: Status.RESOURCE_EXHAUSTED,
  [constants.NGHTTP2_INADEQUATE_SECURITY]: Status.PERMISSION_DENIED,
};

/** @returns with gRPC's status, as grpc-js has it */
const failure = (code: number, message: string): Error => Object.assign(new Error(message), { code });

export class GrpcClient {
  readonly #target: OtlpTarget;
  readonly #keepsAlive: boolean;
  readonly #idleMs: number;
  #session: ClientHttp2Session | undefined;
  /** Whether a connection gives a sign of life: what requests that are posted together have asked once. */
  #sign: { of: ClientHttp2Session; came: Promise<boolean> } | undefined;

  /**
   * Throws when a header of the target cannot be sent.
   *
   * @param keepsAlive whether its connection keeps the process from ending
   */
  constructor(target: OtlpTarget, keepsAlive: boolean, idleMs = IDLE_MS) {
    // HTTP/2 would send what servers then call an error of the protocol.
    for (const [name, value] of Object.entries(target.headers)) {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    }
    this.#target = target;
    this.#keepsAlive = keepsAlive;
    this.#idleMs = idleMs;
  }

  /**
   * Posts an encoded ExportTraceServiceRequest, which must not change until it is settled. On a connection that has gone dead
   * without a word it is posted once more, on another one.
   *
   * @returns the encoded ExportTraceServiceResponse. Rejects with an error that has gRPC's status as its `code`, a number; without
   * one, nobody answered.
   */
  async post(body: Uint8Array, timeoutMs = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    const message = this.#target.compression === 'gzip' ? await gzipped(body) : body;
    const used = this.#session;
    const session = this.#connected();
    if (session !== used || session.connecting) return this.#request(session, message, timeoutMs);
    const limitMs = Math.min(SIGN_OF_LIFE_MS, Math.ceil(timeoutMs / 2));
    // Before the request: the answer shall not have to wait until a large one was read.
    if (this.#sign?.of !== session) this.#sign = { of: session, came: signOfLife(session, limitMs) };
    const sign = this.#sign;
    const answered = this.#request(session, message, timeoutMs);
    const settled = answered.then(
      () => true,
      () => true,
    );
    const isAlive = await Promise.race([sign.came, settled]);
    if (this.#sign === sign) this.#sign = undefined;
    if (isAlive) return answered;
    session.destroy(new Error('no answer, not even to a ping'));
    return this.#request(this.#connected(), message, timeoutMs - limitMs);
  }

  close(): void {
    this.#session?.destroy();
  }

  #request(session: ClientHttp2Session, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const compressed = this.#target.compression === 'gzip';
    const limited = timeoutMs !== Number.POSITIVE_INFINITY;
    const stream = session.request({
      ...this.#target.headers,
      ':method': 'POST',
      ':path': EXPORT,
      'content-type': 'application/grpc',
      'user-agent': `milvus-otel/${VERSION} node/${process.versions.node}`,
      te: 'trailers',
      ...(compressed ? { 'grpc-encoding': 'gzip' } : {}),
      ...(limited ? { 'grpc-timeout': `${Math.min(timeoutMs, LONGEST_TIMEOUT_MS)}m` } : {}),
    });
    const answered = answerOn(stream, session);
    const frame = Buffer.alloc(FRAME_BYTES);
    frame[0] = compressed ? 1 : 0;
    frame.writeUInt32BE(message.length, 1);
    // Both in one write.
    stream.cork();
    stream.write(frame);
    stream.end(message);
    stream.uncork();
    return limited ? this.#inTime(answered, timeoutMs, stream, session) : answered;
  }

  #inTime(
    answered: Promise<Uint8Array>,
    timeoutMs: number,
    stream: ClientHttp2Stream,
    session: ClientHttp2Session,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        // The connection may be dead: the next request has another one. Others that wait on this one have their own time.
        if (this.#session === session) this.#session = undefined;
        if (session.connecting) session.destroy();
        else session.close();
        stream.close(constants.NGHTTP2_CANCEL);
        reject(failure(Status.DEADLINE_EXCEEDED, 'no answer in time (OTEL_EXPORTER_OTLP_TIMEOUT)'));
      }, timeoutMs).unref();
      answered.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  #connected(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed)
      return this.#session;
    const session = connectTo(this.#target);
    // Its streams tell what became of it.
    session.on('error', () => {});
    session.setTimeout(this.#idleMs, () => session.close());
    if (!this.#keepsAlive) session.unref();
    this.#session = session;
    return session;
  }
}

function connectTo(target: OtlpTarget): ClientHttp2Session {
  const options: ClientSessionOptions = {
    settings: { enablePush: false },
    // Of what is sent side by side; by default 10 MB, and beyond it Node itself refuses streams. The queue has its own limit.
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
  };
  if (!target.url.startsWith('unix:')) return connect(target.url, { ...options, ...tlsOptions(target) });
  const path = target.url.replace(/^unix:(\/\/)?/, '');
  return connect('http://localhost', { ...options, createConnection: () => connectSocket(path) });
}

/** Whether the other side answers a ping in time. */
function signOfLife(session: ClientHttp2Session, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), limitMs).unref();
    const isAsked = session.ping(() => {
      // With an error too: it is known to have broken, and its streams say why.
      clearTimeout(timer);
      resolve(true);
    });
    if (!isAsked) resolve(true);
  });
}

/** What the server says on a stream, once it has said all. */
function answerOn(stream: ClientHttp2Stream, session: ClientHttp2Session): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let status: number | undefined;
    let message = '';
    let broken: Error | undefined;
    // A refusal without a body has its status in the first headers.
    const onHeaders = (headers: IncomingHttpHeaders & IncomingHttpStatusHeader) => {
      const { ':status': http, 'grpc-status': given } = headers;
      if (given !== undefined) {
        status = Number(given);
        message = decoded(headers['grpc-message']) || `gRPC status ${status}`;
      } else if (http !== undefined && http !== 200) {
        status = OF_HTTP[http] ?? Status.UNKNOWN;
        message = `HTTP status code ${http}`;
      }
    };
    const settle = () => {
      if (status === Status.OK) resolve(Buffer.concat(chunks).subarray(FRAME_BYTES));
      else if (status !== undefined) reject(failure(status, message));
      else if (session.destroyed) reject(new Error(brokenBy(broken)));
      else
        reject(
          failure(OF_RESET[stream.rstCode] ?? Status.INTERNAL, broken?.message ?? 'the answer has no status'),
        );
    };
    stream
      .on('response', onHeaders)
      .on('trailers', onHeaders)
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('error', (error) => {
        broken = error;
      })
      .on('end', () => {
        // A server that refuses need not have read all.
        if (status !== undefined && !stream.writableFinished) stream.close(constants.NGHTTP2_CANCEL);
      })
      .on('close', settle);
  });
}

/** gRPC's messages are percent-encoded. */
function decoded(message: string | string[] | undefined): string {
  const text = String(message ?? '');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function gzipped(body: Uint8Array): Promise<Buffer> {
  const { gzip } = process.getBuiltinModule('node:zlib');
  return promisify<Uint8Array, Buffer>(gzip)(body);
}
