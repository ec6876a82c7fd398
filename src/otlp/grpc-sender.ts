/** OTLP over gRPC by grpc-js. docs/decisions/senders.md lists the options and their reasons. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import {
  type ChannelOptions,
  Client,
  type ClientUnaryCall,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { GrpcStatus } from '../grpc-status.ts';
import { VERSION } from '../version.ts';
import { lastConnectionError } from './reason.ts';
import { retryDelayIn } from './retry-info.ts';
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
import type { OtlpTarget, Signal } from './target.ts';
import { startTimeLimit } from './time-limit.ts';

/** The methods that receive the signals. */
export const EXPORT: Readonly<Record<Signal, string>> = {
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
};

/** Header names that HTTP/2 forbids: Node rejects each request with one, and grpc-js would retry for ever. */
const NOT_IN_HTTP2 = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** @throws for an invalid header or address, or a file that cannot be read */
export function openGrpcSender(target: OtlpTarget, options: SenderOptions): OtlpSender {
  return new GrpcSender(target, options);
}

class GrpcSender implements OtlpSender {
  readonly #target: OtlpTarget;
  readonly #metadata: Metadata;
  readonly #keepsAlive: boolean;
  #connection: Connection | undefined;

  constructor(target: OtlpTarget, { keepsAlive }: SenderOptions) {
    this.#target = target;
    this.#metadata = metadataOf(target.headers);
    this.#keepsAlive = keepsAlive;
    watchSockets();
  }

  async send(body: Uint8Array, limit: TimeLimit): Promise<Uint8Array> {
    this.#connection ??= openConnection(this.#target, this.#keepsAlive);
    const connection = this.#connection;
    return connecting.run(connection, () => this.#send(connection, body, limit));
  }

  reconnect(): void {
    if (this.#connection !== undefined) leave(this.#connection);
    this.#connection = undefined;
  }

  close(): void {
    this.reconnect();
  }

  async #send(connection: Connection, body: Uint8Array, limit: TimeLimit): Promise<Uint8Array> {
    const { client, keepsAlive, sockets } = connection;
    // grpc-js does not always keep the process alive while it connects.
    const hold = keepsAlive ? setInterval(() => {}, 2 ** 30) : undefined;
    let call: ClientUnaryCall | undefined;
    const { promise: over, reject } = Promise.withResolvers<never>();
    const stop = startTimeLimit(limit.ms, () => {
      reject(
        new OtlpError(noAnswer(limit), {
          status: GrpcStatus.DEADLINE_EXCEEDED,
          isGrpc: true,
        }),
      );
      call?.cancel();
    });
    try {
      // A call that waits for a connection would keep the process alive.
      const isConnected = await Promise.race([connected(client), over]);
      const answer = new Promise<Uint8Array>((resolve, fail) => {
        let hasHeaders = false;
        call = client
          .makeUnaryRequest(
            EXPORT[this.#target.signal],
            asIs,
            asIs,
            asBuffer(body),
            this.#metadata,
            (error, value) => {
              if (error) fail(errorOf(error, isConnected, hasHeaders, !isReady(client)));
              else resolve(value as Buffer);
            },
          )
          .on('metadata', () => {
            hasHeaders = true;
          });
      });
      // The call has its stream by now, and grpc-js keeps the process alive for it.
      if (!keepsAlive) setImmediate(letGo, sockets);
      return await Promise.race([answer, over]);
    } catch (error) {
      const { status } = error as Partial<OtlpError>;
      // The connection may be dead, or the address may have changed. grpc-js would retry by itself, at its
      // own pace.
      if (status === undefined || status === GrpcStatus.DEADLINE_EXCEEDED)
        if (this.#connection === connection) this.reconnect();
      throw error;
    } finally {
      clearInterval(hold);
      stop();
    }
  }
}

/** A channel and its connections. */
interface Connection {
  client: Client;
  keepsAlive: boolean;
  sockets: Set<Socket>;
}

const openConnection = (target: OtlpTarget, keepsAlive: boolean): Connection => ({
  client: new Client(addressOf(target), credentialsOf(target), channelOptions(target)),
  keepsAlive,
  sockets: new Set(),
});

/** False for a closed channel too. */
const isReady = (client: Client): boolean =>
  client.getChannel().getConnectivityState(false) === connectivityState.READY;

/** Requests in flight keep the channel until they have their answers. */
function leave({ client, sockets }: Connection): void {
  const isConnected = isReady(client);
  client.close();
  // grpc-js does not cancel a connection attempt: an unanswered handshake would stay.
  if (!isConnected) for (const socket of sockets) socket.destroy();
}

export const asIs = (message: Buffer): Buffer => message;

const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);

/** Errors name the header, not its value, which is secret. */
function metadataOf(headers: OtlpTarget['headers']): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    try {
      if (!NOT_IN_HTTP2.has(name)) metadata.set(name, value);
    } catch {
      // Thrown below.
    }
    if (metadata.get(name).length === 0) throw new Error(`the header ${name} cannot be sent over gRPC`);
  }
  return metadata;
}

function addressOf({ url }: OtlpTarget): string {
  if (url.startsWith('unix:')) return url;
  const { host, port, protocol } = new URL(url);
  return `dns:${host}${port === '' ? (protocol === 'https:' ? ':443' : ':80') : ''}`;
}

function credentialsOf(target: OtlpTarget) {
  if (!target.url.startsWith('https:')) return credentials.createInsecure();
  const { ca = null, key = null, cert = null } = tlsFiles(target);
  const ip = addressIn(target);
  return credentials.createSsl(ca, key, cert, {
    ...(target.verify ? {} : { rejectUnauthorized: false }),
    ...(ip === undefined
      ? {}
      : { checkServerIdentity: (_, certificate) => checkServerIdentity(ip, certificate) }),
  });
}

/** The IP address of a target whose host is one. */
function addressIn({ url }: OtlpTarget): string | undefined {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? undefined : host;
}

function channelOptions(target: OtlpTarget): ChannelOptions {
  const isByAddress = target.url.startsWith('https:') && addressIn(target) !== undefined;
  return {
    'grpc.primary_user_agent': `milvus-otel/${VERSION}`,
    'grpc.default_compression_algorithm': target.compression === 'gzip' ? 2 : 0,
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    // Neither a connection of the app nor a released one that may be dead.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.client_idle_timeout_ms': IDLE_MS,
    // For requests without a time limit. Servers close connections with more frequent pings.
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    // An IP address is not allowed as server name in TLS: Node would print a warning, and servers may reject
    // it.
    ...(isByAddress ? { 'grpc.ssl_target_name_override': 'address.invalid' } : {}),
    // Otherwise, a TXT query for each connection, and retries that the queue does not see.
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_channelz': 0,
  };
}

/** Waits until the channel is connected or has failed; returns whether it is connected. */
function connected(client: Client): Promise<boolean> {
  const channel = client.getChannel();
  return new Promise((resolve) => {
    const look = () => {
      channel.getConnectivityState(true);
      // The request to connect may change the state at once.
      const state = channel.getConnectivityState(false);
      if (state === connectivityState.IDLE || state === connectivityState.CONNECTING)
        channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look);
      else resolve(state === connectivityState.READY);
    };
    look();
  });
}

/** What grpc-js reports for a stream that was closed without a status. */
const RESET = /^Received RST_STREAM with code|^Bandwidth exhausted or memory limit exceeded$/;

const TOO_LARGE_ANSWER = /^Received message (larger than max|that decompresses)/;

/** @param isClosed whether the connection has been closed meanwhile */
function errorOf(
  error: ServiceError,
  isConnected: boolean,
  hasHeaders: boolean,
  isClosed: boolean,
): OtlpError {
  const { code, details, metadata } = error;
  if (!isConnected || (code === GrpcStatus.UNAVAILABLE && details === 'Connection dropped')) {
    return new OtlpError(lastConnectionError(details) ?? details.trim(), {
      isGrpc: true,
      isUnreachable: !isConnected,
    });
  }
  // By a GOAWAY with an error code: the server has not judged the request.
  if (isClosed && RESET.test(details)) return new OtlpError(details, { isGrpc: true });
  if (hasHeaders && code === GrpcStatus.RESOURCE_EXHAUSTED && TOO_LARGE_ANSWER.test(details))
    return new OtlpError(`the answer is larger than ${MAX_ANSWER_BYTES >> 20} MiB`, {
      status: GrpcStatus.UNKNOWN,
      isGrpc: true,
    });
  return new OtlpError(details || error.message, {
    status: code,
    isGrpc: true,
    retryAfterMs: retryDelayIn(metadata?.get('grpc-status-details-bin')[0]),
  });
}

/** The connection in whose asynchronous context grpc-js creates a socket. */
const connecting = new AsyncLocalStorage<Connection>();

let watching = false;

/**
 * grpc-js has no option to unref its sockets. Node's diagnostics channel reports each socket, so they are
 * found there.
 */
function watchSockets(): void {
  if (watching) return;
  watching = true;
  subscribe('net.client.socket', (message) => {
    const connection = connecting.getStore();
    if (connection === undefined) return;
    const { socket } = message as { socket: Socket };
    if (!connection.keepsAlive) socket.unref();
    connection.sockets.add(socket);
    socket.once('close', () => connection.sockets.delete(socket));
  });
}

function letGo(sockets: ReadonlySet<Socket>): void {
  for (const socket of sockets) socket.unref();
}
