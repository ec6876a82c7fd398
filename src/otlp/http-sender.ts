/** OTLP over HTTP, protobuf and JSON, by Node's own client. docs/decisions/senders.md says why. */
import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import type { AgentOptions } from 'node:https';
import type { Socket } from 'node:net';
import { promisify } from 'node:util';
import { VERSION } from '../version.ts';
import { text } from './protobuf.ts';
import { retryAfter } from './retry-info.ts';
import {
  IDLE_MS,
  MAX_ANSWER_BYTES,
  noAnswer,
  OtlpError,
  type OtlpSender,
  type SenderOptions,
  type TimeLimit,
  tlsFiles,
} from './sender.ts';
import type { OtlpTarget } from './target.ts';
import { startTimeLimit } from './time-limit.ts';

/** @throws when a file of the target cannot be read */
export function openHttpSender(target: OtlpTarget, options: SenderOptions): OtlpSender {
  return new HttpSender(target, options);
}

class HttpSender implements OtlpSender {
  readonly #target: OtlpTarget;
  readonly #keepsAlive: boolean;
  readonly #http: typeof import('node:https');
  readonly #agentOptions: AgentOptions;
  #agent: Agent;

  constructor(target: OtlpTarget, { keepsAlive }: SenderOptions) {
    this.#target = target;
    this.#keepsAlive = keepsAlive;
    const isTls = target.url.startsWith('https:');
    // Only the module that is used: loading takes milliseconds.
    this.#http = process.getBuiltinModule(isTls ? 'node:https' : 'node:http') as typeof import('node:https');
    this.#agentOptions = {
      keepAlive: true,
      timeout: IDLE_MS,
      // The app's own requests go through a proxy where NODE_USE_ENV_PROXY or --use-env-proxy is set.
      proxyEnv: this.#http.globalAgent.options.proxyEnv,
      ...(isTls ? { ...tlsFiles(target), ...(target.verify ? {} : { rejectUnauthorized: false }) } : {}),
    };
    this.#agent = new this.#http.Agent(this.#agentOptions);
  }

  async send(body: Uint8Array, limit: TimeLimit): Promise<Uint8Array> {
    const message = this.#target.compression === 'gzip' ? await gzipped(body) : body;
    let request: ClientRequest | undefined;
    let isOver = false;
    const { promise: over, reject } = Promise.withResolvers<never>();
    const stop = startTimeLimit(limit.ms, () => {
      isOver = true;
      reject(new OtlpError(noAnswer(limit), { isGrpc: false }));
      request?.destroy();
      // The other connections may be dead too.
      this.reconnect();
    });
    const post = () => {
      request = this.#request(message.length);
      const answered = answerTo(request);
      request.end(message);
      return answered;
    };
    try {
      const answered = post().catch((error: OtlpError) => {
        // The server has closed the idle connection.
        if (!isOver && error.status === undefined && request?.reusedSocket === true) return post();
        throw error;
      });
      answered.catch(() => {});
      return await Promise.race([answered, over]);
    } finally {
      stop();
    }
  }

  reconnect(): void {
    const { freeSockets } = this.#agent;
    this.#agent = new this.#http.Agent(this.#agentOptions);
    for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  close(): void {
    this.#agent.destroy();
  }

  #request(length: number): ClientRequest {
    const { url, protocol, headers, compression } = this.#target;
    const request = this.#http.request(url, {
      method: 'POST',
      agent: this.#agent,
      headers: {
        'user-agent': `milvus-otel/${VERSION} node/${process.versions.node}`,
        ...headers,
        'content-type': protocol === 'http/json' ? 'application/json' : 'application/x-protobuf',
        'content-length': length,
        ...(compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
      },
    });
    if (!this.#keepsAlive) request.on('socket', letGo);
    return request;
  }
}

/** Node creates one handle per attempt when a name has several addresses. */
function letGo(socket: Socket): void {
  socket.unref();
  if (socket.connecting) socket.on('connectionAttempt', () => socket.unref());
}

function answerTo(request: ClientRequest): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let isConnected = false;
    request.on('socket', (socket) => {
      const connected = () => {
        isConnected = true;
      };
      if (socket.connecting) socket.once('connect', connected);
      else connected();
    });
    request.on('error', (error) =>
      reject(new OtlpError(reasonOf(error), { isGrpc: false, isUnreachable: !isConnected, cause: error })),
    );
    request.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const isAccepted = status >= 200 && status < 300;
      const fail = (message: string) =>
        reject(
          new OtlpError(message, {
            status,
            isGrpc: false,
            retryAfterMs: retryAfter(response.headers['retry-after']),
          }),
        );
      bodyOf(response).then(
        (body) => {
          const type = response.headers['content-type'];
          // Web servers, Jaeger's page among them, answer every path with a page: nothing was accepted.
          if (isAccepted && type?.startsWith('text/html')) fail(`HTTP status ${status} with a web page`);
          else if (isAccepted) resolve(body);
          else fail(`HTTP status ${status}${reasonIn(body, type)}`);
        },
        (error: Error) => fail(error.message),
      );
    });
  });
}

/** Empty for an incomplete body: the status decides the outcome of the request. */
async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) break;
      chunks.push(chunk);
    }
  } catch {
    return Buffer.alloc(0);
  }
  if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES >> 20} MiB`);
  return Buffer.concat(chunks);
}

/**
 * The collector's message: google.rpc.Status { message = 2 } in the encoding of the request, or a line of
 * text.
 */
function reasonIn(body: Buffer, type = ''): string {
  try {
    const reason = type.includes('protobuf')
      ? text(body, 2)
      : type.includes('json')
        ? String(JSON.parse(body.toString()).message ?? '')
        : type.startsWith('text/plain')
          ? (body.toString().split('\n')[0] ?? '')
          : '';
    return reason === '' ? '' : `: ${withoutQuote(reason).slice(0, 200)}`;
  } catch {
    return '';
  }
}

/** Collectors in Go quote a JSON request that they cannot read: attributes of spans. */
const withoutQuote = (reason: string): string => reason.replace(/, error found in #\d+ byte of .*/s, '');

/** The error of the last address, when several were tried. */
const reasonOf = (error: Error): string =>
  (error instanceof AggregateError ? (error.errors.at(-1) as Error) : error).message;

const gzipped = (body: Uint8Array): Promise<Buffer> =>
  promisify<Uint8Array, Buffer>(process.getBuiltinModule('node:zlib').gzip)(body);
