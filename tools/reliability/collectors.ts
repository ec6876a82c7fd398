/**
 * Faulty collectors: real servers that do one thing wrong and forward accepted requests to a receiver. All
 * listen on a free port of 127.0.0.1.
 */
import { once } from 'node:events';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { credentials, makeGenericClientConstructor, ServerCredentials } from '@grpc/grpc-js';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { asIs, EXPORT } from '../../src/otlp/grpc-sender.ts';

export interface Collector {
  port: number;
  stop(): Promise<void>;
}

/** On a free port of 127.0.0.1 unless given. */
export async function listen(server: net.Server, port = 0): Promise<Collector> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    // Connection errors of the client are part of the test.
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Accepts connections and never answers. */
export const startSilent = (): Promise<Collector> => listen(net.createServer((socket) => socket.resume()));

/** Resets every connection at its first bytes. */
export const startResetting = (): Promise<Collector> =>
  listen(net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())));

/** Forwards everything, and answers `delayMs` later. */
export const startSlow = (receiverPort: number, delayMs: number): Promise<Collector> =>
  listen(
    net.createServer((socket) => {
      const behind = net.connect(receiverPort, '127.0.0.1').on('error', () => socket.destroy());
      socket.pipe(behind);
      socket.on('close', () => behind.destroy());
      behind.on('data', (chunk) => setTimeout(() => socket.writable && socket.write(chunk), delayMs).unref());
    }),
  );

/**
 * A proxy of `targetPort` on a separate port. It can stop with all its connections and reopen, or silently
 * drop the connections.
 */
export async function startGate(targetPort: number) {
  let behindPort = targetPort;
  const pairs = new Set<[net.Socket, net.Socket]>();
  const open = (port: number) =>
    listen(
      net.createServer((socket) => {
        const behind = net.connect(behindPort, '127.0.0.1').on('error', () => socket.destroy());
        socket.pipe(behind).pipe(socket);
        pairs.add([socket, behind]);
        socket.on('close', () => behind.destroy());
        behind.on('close', () => socket.destroy());
      }),
      port,
    );
  let collector = await open(0);
  return {
    port: collector.port,
    stop: () => collector.stop(),
    forget() {
      for (const [socket, behind] of pairs) {
        socket.unpipe(behind);
        behind.unpipe(socket);
      }
      pairs.clear();
    },
    async reopen(newTargetPort = behindPort) {
      behindPort = newTargetPort;
      collector = await open(collector.port);
    },
  };
}

/** Terminates TLS and forwards gRPC and HTTP. With `ca`, clients need a certificate signed by it. */
export const startTls = (
  receiverPort: number,
  own: { certificate: string; key: string },
  ca?: string,
): Promise<Collector> =>
  listen(
    tls.createServer(
      {
        cert: own.certificate,
        key: own.key,
        // As the client offers: h2 for gRPC, else HTTP/1.1.
        ALPNCallback: ({ protocols }) => protocols[0],
        ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
      },
      (socket) => {
        const behind = net.connect(receiverPort, '127.0.0.1').on('error', () => socket.destroy());
        socket.on('error', () => {}).on('close', () => behind.destroy());
        socket.pipe(behind).pipe(socket);
      },
    ),
  );

/** gRPC: rejects requests of more than `maxBytes`; forwards the others. */
export const startGrpcWithLimit = (receiverPort: number, maxBytes: number): Promise<Collector> =>
  startGrpcRefusing(receiverPort, () => undefined, maxBytes);

/** gRPC: refuses the n-th export (from 1) with `refusal(n)`; forwards it when that is undefined. */
export async function startGrpcRefusing(
  receiverPort: number,
  refusal: (attempt: number) => { code: number; details: string } | undefined,
  maxBytes?: number,
): Promise<Collector> {
  const Client = makeGenericClientConstructor({}, 'TraceService');
  const behind = new Client(`127.0.0.1:${receiverPort}`, credentials.createInsecure());
  let attempts = 0;
  const server = await startExportServer(
    ({ request }, respond) => {
      const refused = refusal(++attempts);
      if (refused !== undefined) respond(refused);
      else
        behind.makeUnaryRequest(EXPORT.traces, asIs, asIs, request, (error, answer) =>
          respond(error, answer),
        );
    },
    ServerCredentials.createInsecure(),
    maxBytes,
  );
  return {
    port: server.port,
    async stop() {
      server.stop();
      behind.close();
    },
  };
}

/** ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1, error_message = 2 } }. */
export const partialSuccess = (rejected: number, reason: string): Buffer =>
  Buffer.concat([
    Buffer.from([0x0a, 4 + reason.length, 0x08, rejected, 0x12, reason.length]),
    Buffer.from(reason, 'latin1'),
  ]);

/** Accepts each request except `rejected` of its spans (at most 127), with a short reason. */
export async function startRejecting(
  protocol: 'grpc' | 'http/protobuf' | 'http/json',
  rejected: number,
  reason: string,
): Promise<Collector> {
  const protobuf = partialSuccess(rejected, reason);
  if (protocol === 'grpc') {
    const server = await startExportServer((_, respond) => respond(null, protobuf));
    return { port: server.port, stop: async () => server.stop() };
  }
  // OTLP's JSON has 64-bit integers as strings.
  const json = JSON.stringify({ partialSuccess: { rejectedSpans: String(rejected), errorMessage: reason } });
  const isJson = protocol === 'http/json';
  return listen(
    createHttpServer((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200, { 'content-type': isJson ? 'application/json' : 'application/x-protobuf' });
        response.end(isJson ? json : protobuf);
      });
    }),
  );
}

/** HTTP: rejects requests of more than `maxBytes`; forwards the others. */
export const startHttpWithLimit = (receiverPort: number, maxBytes: number): Promise<Collector> =>
  startHttpRefusing(receiverPort, (_, bytes) => (bytes > maxBytes ? 413 : undefined));

/** HTTP: refuses the n-th request with the status `refusal(n, bytes)`; forwards it when that is undefined. */
export function startHttpRefusing(
  receiverPort: number,
  refusal: (attempt: number, bytes: number) => number | undefined,
): Promise<Collector> {
  let attempts = 0;
  return listen(
    createHttpServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray());
      const status = refusal(++attempts, body.length);
      if (status !== undefined) {
        response.writeHead(status).end();
        return;
      }
      const { url, headers, method } = request;
      const behind = httpRequest(
        { host: '127.0.0.1', port: receiverPort, path: url, headers, method },
        (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        },
      );
      behind.on('error', () => response.destroy());
      behind.end(body);
    }),
  );
}

/**
 * A proxy to the receiver for any host: by CONNECT, as grpc-js uses, and by absolute URLs, as Node's HTTP
 * client does.
 */
export function startProxy(receiverPort: number): Promise<Collector> {
  const server = createHttpServer((request, response) => {
    const { url = '', headers, method } = request;
    const { pathname } = new URL(url, 'http://proxy.test');
    const behind = httpRequest({ host: '127.0.0.1', port: receiverPort, path: pathname, headers, method });
    behind.on('error', () => response.destroy());
    behind.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    request.pipe(behind);
  });
  server.on('connect', (_request, socket: net.Socket) => {
    const behind = net.connect(receiverPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(behind).pipe(socket);
    });
    behind.on('error', () => socket.destroy());
    socket.on('error', () => {}).on('close', () => behind.destroy());
  });
  return listen(server);
}

/** gRPC: accepts `atOnce` concurrent requests per connection, and closes it after `perConnection` of them. */
export function startHttp2WithLimits(
  receiverPort: number,
  { atOnce, perConnection = Number.POSITIVE_INFINITY }: { atOnce?: number; perConnection?: number },
): Promise<Collector> {
  const server = createHttp2Server(
    atOnce === undefined ? {} : { settings: { maxConcurrentStreams: atOnce } },
  );
  server.on('session', (session) => {
    const behind = connectHttp2(`http://127.0.0.1:${receiverPort}`).on('error', () => session.destroy());
    session.on('error', () => {}).on('close', () => behind.close());
    let requests = 0;
    session.on('stream', (stream, headers) => {
      stream.on('error', () => {});
      if (++requests > perConnection) return;
      if (requests === perConnection) session.goaway(0, stream.id);
      const request = behind.request(headers).on('error', () => stream.destroy());
      request.on('response', ({ ':status': status, ...answer }) => {
        stream.respond({ ':status': status, ...answer }, { waitForTrailers: true });
        request.on('trailers', (trailers) => {
          stream.on('wantTrailers', () => {
            stream.sendTrailers(trailers);
            if (requests >= perConnection) session.close();
          });
        });
        request.pipe(stream);
      });
      stream.pipe(request);
    });
  });
  return listen(server);
}

/** HTTP: forwards everything, and closes each connection after `perConnection` requests, as nginx does. */
export async function startHttpPerConnection(
  receiverPort: number,
  perConnection: number,
): Promise<Collector> {
  const server = createHttpServer((request, response) => {
    const { url, headers, method } = request;
    const behind = httpRequest({ host: '127.0.0.1', port: receiverPort, path: url, headers, method });
    behind.on('error', () => response.destroy());
    behind.on('response', (answer) => {
      const { connection: _, 'keep-alive': __, ...headers } = answer.headers;
      response.writeHead(answer.statusCode ?? 500, headers);
      answer.pipe(response);
    });
    request.pipe(behind);
  });
  server.maxRequestsPerSocket = perConnection;
  return listen(server);
}

/** Forwards requests, and answers each with a message of `bytes` without a known field. */
export async function startLargeAnswers(
  protocol: 'grpc' | 'http/protobuf',
  { grpcPort, httpPort }: { grpcPort: number; httpPort: number },
  bytes: number,
): Promise<Collector> {
  const answer = unknownField(bytes);
  if (protocol === 'grpc') {
    const Client = makeGenericClientConstructor({}, 'TraceService');
    const behind = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
    const server = await startExportServer(({ request }, respond) => {
      behind.makeUnaryRequest(EXPORT.traces, asIs, asIs, request, (error) => respond(error, answer));
    });
    return {
      port: server.port,
      async stop() {
        server.stop();
        behind.close();
      },
    };
  }
  return listen(
    createHttpServer((request, response) => {
      const { url, headers, method } = request;
      const behind = httpRequest({ host: '127.0.0.1', port: httpPort, path: url, headers, method });
      behind.on('error', () => response.destroy());
      behind.on('response', ({ statusCode = 500 }) => {
        response.writeHead(statusCode, { 'content-type': 'application/x-protobuf' }).end(answer);
      });
      request.pipe(behind);
    }),
  );
}

/** A message of `bytes` with field 15 alone, of the wire type LEN. */
function unknownField(bytes: number): Buffer {
  const length = bytes - 5;
  const header = [(15 << 3) | 2, (length & 127) | 128, ((length >> 7) & 127) | 128];
  header.push(((length >> 14) & 127) | 128, length >> 21);
  return Buffer.concat([Buffer.from(header), Buffer.alloc(length)]);
}
