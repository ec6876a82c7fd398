import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import dns from 'node:dns';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import GRPC_JS from '@grpc/grpc-js/package.json' with { type: 'json' };
import { startExportServer } from '../../src/doctor/export-server.ts';
import { EXPORT, openGrpcSender } from '../../src/otlp/grpc-sender.ts';
import { OtlpError, type OtlpSender } from '../../src/otlp/sender.ts';
import type { OtlpTarget } from '../../src/otlp/target.ts';
import { VERSION } from '../../src/version.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const VARIABLES = {
  endpoint: '',
  headers: '',
  protocol: '',
  certificate: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
  clientCertificate: '',
  clientKey: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
  timeout: '',
};

const senderOf = (target: Partial<OtlpTarget>): OtlpSender => {
  const sender = openGrpcSender(
    {
      signal: 'traces',
      protocol: 'grpc',
      url: 'http://127.0.0.1:4317',
      headers: {},
      compression: 'none',
      certificate: undefined,
      clientKey: undefined,
      clientCertificate: undefined,
      verify: true,
      variables: VARIABLES,
      ...target,
    },
    { keepsAlive: true },
  );
  opened.push(() => sender.close());
  return sender;
};

interface Call {
  headers: Record<string, unknown>;
  body: Buffer;
}

/** An HTTP/2 server without gRPC, which answers by `answer`; its sessions, the oldest first. */
async function start(
  answer: (stream: ServerHttp2Stream, call: Promise<Call>) => unknown,
  socketPath?: string,
): Promise<{ url: string; sessions: ServerHttp2Session[] }> {
  const sessions: ServerHttp2Session[] = [];
  const server = createServer({ maxSessionMemory: 1_000 });
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const call = stream.toArray().then((chunks) => ({ headers, body: Buffer.concat(chunks) }));
    // A test that ignores the call may reset the stream.
    call.catch(() => {});
    answer(stream, call);
  });
  if (socketPath === undefined) server.listen(0, '127.0.0.1');
  else server.listen(socketPath);
  await once(server, 'listening');
  opened.push(() => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const url = socketPath
    ? `unix://${socketPath}`
    : `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, sessions };
}

const framed = (message: string): Buffer => {
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(Buffer.byteLength(message), 1);
  return Buffer.concat([frame, Buffer.from(message)]);
};

/** Answers like a gRPC server. */
function accept(stream: ServerHttp2Stream, message = ''): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(framed(message));
}

async function failureOf(answer: Promise<unknown>): Promise<OtlpError> {
  const outcome = await answer.catch((error: unknown) => error);
  assert.ok(outcome instanceof OtlpError, 'it was accepted');
  return outcome;
}

describe('a call', () => {
  test('follows the gRPC protocol, and returns the bytes of the answer', async () => {
    let called: Promise<Call> | undefined;
    const { url } = await start(async (stream, call) => {
      called = call;
      await call;
      accept(stream, 'the answer');
    });
    const sender = senderOf({ url, headers: { 'api-key': 'k' } });
    const answer = await sender.send(Buffer.from('the spans'), { ms: 10_000 });
    assert.equal(Buffer.from(answer).toString(), 'the answer');
    const { headers, body } = (await called) as Call;
    assert.deepEqual(body, framed('the spans'));
    assert.deepEqual(JSON.parse(JSON.stringify(headers)), {
      ':authority': url.replace('http://', ''),
      ':method': 'POST',
      ':path': EXPORT.traces,
      ':scheme': 'http',
      'accept-encoding': 'identity',
      'api-key': 'k',
      'content-type': 'application/grpc',
      'grpc-accept-encoding': 'identity,deflate,gzip',
      te: 'trailers',
      'user-agent': `milvus-otel/${VERSION} grpc-node-js/${GRPC_JS.version}`,
    });
  });

  for (const compression of ['none', 'gzip'] as const) {
    test(`reaches a server of grpc-js however large it is, compression ${compression}`, async () => {
      const bodies: Buffer[] = [];
      const server = await startExportServer((call, done) => {
        bodies.push(call.request);
        done(null, Buffer.from('taken'));
      });
      opened.push(() => server.stop());
      const sender = senderOf({ url: `http://127.0.0.1:${server.port}`, compression });
      // Larger than HTTP/2's flow-control windows, and incompressible.
      const sent = Array.from({ length: 5 }, () => randomBytes(300_000));
      const answers = await Promise.all(sent.map((body) => sender.send(body, { ms: 10_000 })));
      assert.deepEqual(
        answers.map((answer) => Buffer.from(answer).toString()),
        Array(5).fill('taken'),
      );
      assert.deepEqual(bodies.toSorted(Buffer.compare), sent.toSorted(Buffer.compare));
    });
  }

  test('may be one of many at once, many MB in total, to a slow server', async () => {
    let calls = 0;
    const { url } = await start(async (stream, call) => {
      calls += 1;
      stream.pause();
      // The first ones are answered while the others wait to be sent.
      await sleep(calls * 5);
      const { body } = await call;
      accept(stream, String(body.length));
    });
    const sender = senderOf({ url });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => sender.send(Buffer.alloc(500_000), { ms: 30_000 })),
    );
    assert.deepEqual(
      answers.map((answer) => Buffer.from(answer).toString()),
      Array(40).fill('500005'),
    );
  });

  test('is compressed by gzip', async () => {
    let called: Promise<Call> | undefined;
    const { url } = await start(async (stream, call) => {
      called = call;
      await call;
      accept(stream);
    });
    await senderOf({ url, compression: 'gzip' }).send(Buffer.from('the spans'), { ms: 10_000 });
    const { headers, body } = (await called) as Call;
    assert.equal(headers['grpc-encoding'], 'gzip');
    assert.equal(body[0], 1);
    assert.equal(body.readUInt32BE(1), body.length - 5);
    assert.equal(gunzipSync(body.subarray(5)).toString(), 'the spans');
  });

  test('goes through a Unix socket', { skip: process.platform === 'win32' }, async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-'));
    opened.push(() => rm(folder, { recursive: true }));
    const { url } = await start((stream) => accept(stream, 'here'), path.join(folder, 'otlp.sock'));
    const answer = await senderOf({ url }).send(Buffer.of(1), { ms: 10_000 });
    assert.equal(Buffer.from(answer).toString(), 'here');
  });
});

describe('a refusal', () => {
  const withHeaders = (headers: Record<string, string | number>) =>
    start((stream) => stream.respond(headers, { endStream: true }));
  const grpc = (status: number, message?: string) => ({
    ':status': 200,
    'content-type': 'application/grpc',
    'grpc-status': String(status),
    ...(message === undefined ? {} : { 'grpc-message': message }),
  });

  for (const [said, headers, code, message] of [
    ['a status and a reason', grpc(8, 'out%20of%20memory%20%E2%82%AC'), 8, 'out of memory €'],
    ['a message that cannot be decoded', grpc(3, '100% wrong'), 3, '100% wrong'],
    ['a status and nothing else', grpc(16), 16, '16 UNAUTHENTICATED: '],
    ['HTTP 401', { ':status': 401 }, 16, 'Received HTTP status code 401'],
    ['HTTP 404', { ':status': 404 }, 12, 'Received HTTP status code 404'],
    ['HTTP 413', { ':status': 413 }, 2, 'Received HTTP status code 413'],
    ['HTTP 503', { ':status': 503 }, 14, 'Received HTTP status code 503'],
    ['no status at all', { ':status': 200 }, 2, 'Received HTTP status code 200'],
  ] as const) {
    test(`has the code of gRPC and the reason: ${said}`, async () => {
      const { url } = await withHeaders(headers);
      const error = await failureOf(senderOf({ url }).send(Buffer.of(1), { ms: 10_000 }));
      assert.equal(error.status, code);
      assert.equal(error.message, message);
    });
  }

  test('may come in the trailers', async () => {
    const { url } = await start((stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '14', 'grpc-message': 'soon' }));
      stream.end();
    });
    const error = await failureOf(senderOf({ url }).send(Buffer.of(1), { ms: 10_000 }));
    assert.deepEqual([error.status, error.message], [14, 'soon']);
  });

  test('counts even if the server has not read the request', async () => {
    const { url } = await start((stream) => {
      stream.pause();
      stream.respond(grpc(8, 'too much'), { endStream: true });
    });
    const error = await failureOf(senderOf({ url }).send(Buffer.alloc(5_000_000), { ms: 10_000 }));
    assert.deepEqual([error.status, error.message], [8, 'too much']);
  });

  for (const [name, code] of [
    ['NGHTTP2_CANCEL', 1],
    ['NGHTTP2_ENHANCE_YOUR_CALM', 8],
    ['NGHTTP2_INTERNAL_ERROR', 13],
  ] as const) {
    test(`a stream that is reset with ${name} has the code ${code}, and the connection stays`, async () => {
      let calls = 0;
      const { url, sessions } = await start((stream) => {
        calls += 1;
        if (calls === 1) stream.close(constants[name]);
        else accept(stream);
      });
      const sender = senderOf({ url });
      assert.equal((await failureOf(sender.send(Buffer.of(1), { ms: 10_000 }))).status, code);
      await sender.send(Buffer.of(1), { ms: 10_000 });
      assert.equal(sessions.length, 1);
    });
  }
});

test('the error has the time that a collector asks to wait', async () => {
  // google.rpc.Status { details = 3: Any { type_url, value: RetryInfo { retry_delay = 1 { seconds = 1: 5 } }
  // } }
  const url = Buffer.from('type.googleapis.com/google.rpc.RetryInfo');
  const any = Buffer.concat([Buffer.from([0x0a, url.length]), url, Buffer.from([0x12, 4, 0x0a, 2, 0x08, 5])]);
  const details = Buffer.concat([Buffer.from([0x08, 14, 0x1a, any.length]), any]).toString('base64');
  const { url: collector } = await start((stream) =>
    stream.respond(
      { ':status': 200, 'grpc-status': '14', 'grpc-status-details-bin': details },
      { endStream: true },
    ),
  );
  const error = await failureOf(senderOf({ url: collector }).send(Buffer.of(1), { ms: 10_000 }));
  assert.deepEqual([error.status, error.retryAfterMs], [14, 5_000]);
});

test('an answer of 16 MiB is refused by its length, without reading it', async () => {
  let written = 0;
  const { url } = await start((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(16 * 2 ** 20, 1);
    stream.write(head);
    const more = () => {
      if (stream.destroyed || written > 16 * 2 ** 20) return;
      written += 2 ** 16;
      stream.write(Buffer.alloc(2 ** 16), more);
    };
    more();
  });
  const error = await failureOf(senderOf({ url }).send(Buffer.of(1), { ms: 10_000 }));
  assert.equal(error.message, 'the answer is larger than 4 MiB');
  assert.ok(written < 4 * 2 ** 20, `${written} bytes`);
});

test('when the first address of a name refuses, the next one is used at once', async (t) => {
  const { url } = await start((stream) => accept(stream));
  t.mock.method(dns.promises, 'lookup', async () => [
    { address: '127.0.0.2', family: 4 },
    { address: '127.0.0.1', family: 4 },
  ]);
  const beganMs = performance.now();
  await senderOf({ url: url.replace('127.0.0.1', 'two.test') }).send(Buffer.of(1), { ms: 10_000 });
  assert.ok(performance.now() - beganMs < 1_500);
});

test('a stream that the server refuses is retried at once', async () => {
  let calls = 0;
  const { url } = await start((stream) => {
    calls += 1;
    if (calls === 1) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else accept(stream);
  });
  await senderOf({ url }).send(Buffer.of(1), { ms: 10_000 });
  assert.equal(calls, 2);
});

describe('a connection', () => {
  test('serves all calls', async () => {
    const { url, sessions } = await start((stream) => accept(stream));
    const sender = senderOf({ url });
    await Promise.all([sender.send(Buffer.of(1), { ms: 10_000 }), sender.send(Buffer.of(2), { ms: 10_000 })]);
    await sender.send(Buffer.of(3), { ms: 10_000 });
    assert.equal(sessions.length, 1);
  });

  test('that is refused results in an error without a gRPC code', async () => {
    const { url } = await start(() => {});
    for (const close of opened.splice(0)) await close();
    const error = await failureOf(senderOf({ url }).send(Buffer.of(1), { ms: 10_000 }));
    assert.match(error.message, /ECONNREFUSED/);
    assert.notEqual(typeof error.status, 'number');
  });

  test('to a name with several addresses reports the reason of one', async () => {
    const { url } = await start(() => {});
    for (const close of opened.splice(0)) await close();
    const error = await failureOf(
      senderOf({ url: url.replace('127.0.0.1', 'localhost') }).send(Buffer.of(1), { ms: 10_000 }),
    );
    assert.match(error.message, /ECONNREFUSED/);
  });

  test('that is lost during a call results in an error without a gRPC code, and the next call opens another', async () => {
    let calls = 0;
    const { url, sessions } = await start((stream) => {
      calls += 1;
      if (calls === 1) stream.session?.socket?.destroy();
      else accept(stream);
    });
    const sender = senderOf({ url });
    const error = await failureOf(sender.send(Buffer.of(1), { ms: 10_000 }));
    assert.notEqual(typeof error.status, 'number');
    await sender.send(Buffer.of(1), { ms: 10_000 });
    assert.equal(sessions.length, 2);
  });

  test('that the server closes by GOAWAY is not used for the next call', async () => {
    const { url, sessions } = await start(async (stream, call) => {
      await call;
      accept(stream, String(sessions.length));
    });
    const sender = senderOf({ url });
    await sender.send(Buffer.of(1), { ms: 10_000 });
    sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR);
    // Time to receive the GOAWAY.
    await sleep(100);
    assert.equal(Buffer.from(await sender.send(Buffer.of(1), { ms: 10_000 })).toString(), '2');
  });

  test('on which an answer timed out takes no new calls', async () => {
    const answer: ServerHttp2Stream[] = [];
    const { url, sessions } = await start((stream) => {
      if (sessions.length > 1) accept(stream);
      else answer.push(stream);
    });
    const sender = senderOf({ url });
    const slow = sender.send(Buffer.of(1), { ms: 10_000 });
    while (answer.length === 0) await sleep(10);
    const error = await failureOf(sender.send(Buffer.of(2), { ms: 100 }));
    assert.deepEqual([error.status, error.message], [4, 'no answer within 100 ms']);
    await sender.send(Buffer.of(3), { ms: 10_000 });
    assert.equal(sessions.length, 2);
    accept(answer[0] as ServerHttp2Stream, 'late');
    assert.equal(Buffer.from(await slow).toString(), 'late');
    if (sessions[0]?.destroyed === false) await once(sessions[0], 'close');
  });

  test('that is not established in time is abandoned', async () => {
    const sockets: Socket[] = [];
    const server = createSocketServer((socket) => sockets.push(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    opened.push(() => new Promise((resolve) => server.close(resolve)));
    // The server never answers the TLS handshake.
    const sender = senderOf({ url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const error = await failureOf(sender.send(Buffer.of(1), { ms: 200 }));
    assert.deepEqual([error.status, error.message], [4, 'no answer within 200 ms']);
    const [socket] = sockets as [Socket];
    socket.on('error', () => {}).resume();
    if (!socket.destroyed) await once(socket, 'close');
  });

  test('is refused for invalid headers, and the reason names the header without its value', () => {
    assert.throws(
      () => senderOf({ headers: { 'a b': 'secret' } }),
      /Header name must be a valid HTTP token \["a b"\]/,
    );
    assert.throws(
      () => senderOf({ headers: { key: 'secret\nline' } }),
      /Invalid character in header content \["key"\]/,
    );
  });

  test('is refused for a header of HTTP/1, or one that gRPC requires as bytes', () => {
    for (const name of ['connection', 'keep-alive', 'te', 'key-bin'])
      assert.throws(() => senderOf({ headers: { [name]: 'secret' } }), {
        message: `the header ${name} cannot be sent over gRPC`,
      });
  });

  test('is refused, with the variable, when a configured certificate file is missing or is not PEM', async () => {
    const url = 'https://127.0.0.1:1';
    const send = (sender: OtlpSender) => sender.send(Buffer.of(1), { ms: 10_000 });
    await assert.rejects(send(senderOf({ url, certificate: '/nowhere/ca.pem' })), {
      message: 'OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere/ca.pem cannot be read (ENOENT)',
    });
    const clientKey = import.meta.filename;
    await assert.rejects(send(senderOf({ url, clientKey })), {
      message: `OTEL_EXPORTER_OTLP_CLIENT_KEY=${clientKey} is not a PEM file`,
    });
  });
});
