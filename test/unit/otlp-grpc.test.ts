import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { EXPORT } from '../../src/otlp/connection.ts';
import { GrpcClient } from '../../src/otlp/otlp-grpc.ts';
import type { OtlpTarget } from '../../src/otlp/target.ts';
import { VERSION } from '../../src/version.ts';
import { startGate } from '../../tools/reliability/collectors.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const clientOf = (target: Partial<OtlpTarget>, idleMs?: number): GrpcClient => {
  const client = new GrpcClient(
    {
      protocol: 'grpc',
      url: 'http://127.0.0.1:4317',
      headers: {},
      compression: 'none',
      certificate: undefined,
      clientKey: undefined,
      clientCertificate: undefined,
      ...target,
    },
    true,
    idleMs,
  );
  opened.push(() => client.close());
  return client;
};

interface Call {
  headers: Record<string, unknown>;
  body: Buffer;
}

/** An HTTP/2 server without gRPC in it, which answers as `answer` says; its sessions, the oldest first. */
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
    // A test that does not ask for it may reset the stream.
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

/** As a gRPC server answers. */
function accept(stream: ServerHttp2Stream, message = ''): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(framed(message));
}

async function failureOf(answer: Promise<unknown>): Promise<Error & { code?: unknown }> {
  const outcome = await answer.catch((error: unknown) => error);
  assert.ok(outcome instanceof Error, 'it was accepted');
  return outcome;
}

describe('a call', () => {
  test('is what the protocol of gRPC says, and brings back the bytes of the answer', async () => {
    let called: Promise<Call> | undefined;
    const { url } = await start(async (stream, call) => {
      called = call;
      await call;
      accept(stream, 'the answer');
    });
    const client = clientOf({ url, headers: { 'api-key': 'k' } });
    const answer = await client.post(Buffer.from('the spans'), 10_000);
    assert.equal(Buffer.from(answer).toString(), 'the answer');
    const { headers, body } = (await called) as Call;
    assert.deepEqual(body, framed('the spans'));
    assert.deepEqual(JSON.parse(JSON.stringify(headers)), {
      ':authority': url.replace('http://', ''),
      ':method': 'POST',
      ':path': EXPORT,
      ':scheme': 'http',
      'api-key': 'k',
      'content-type': 'application/grpc',
      'grpc-timeout': '10000m',
      te: 'trailers',
      'user-agent': `milvus-otel/${VERSION} node/${process.versions.node}`,
    });
  });

  test('longer than the header for its time has digits has the longest time', async () => {
    let timeout: unknown;
    const { url } = await start(async (stream, call) => {
      timeout = (await call).headers['grpc-timeout'];
      accept(stream);
    });
    await clientOf({ url }).post(Buffer.of(1), 2 ** 31 - 1);
    assert.equal(timeout, '99999999m');
  });

  for (const compression of ['none', 'gzip'] as const) {
    test(`reaches a server of grpc-js however large it is, compression ${compression}`, async () => {
      const bodies: Buffer[] = [];
      const server = await startExportServer((call, done) => {
        bodies.push(call.request);
        done(null, Buffer.from('taken'));
      });
      opened.push(() => server.stop());
      const client = clientOf({ url: `http://127.0.0.1:${server.port}`, compression });
      // Beyond the windows of HTTP/2's flow control, and nothing that could be made smaller.
      const sent = Array.from({ length: 5 }, () => randomBytes(300_000));
      const answers = await Promise.all(sent.map((body) => client.post(body, 10_000)));
      assert.deepEqual(
        answers.map((answer) => Buffer.from(answer).toString()),
        Array(5).fill('taken'),
      );
      assert.deepEqual(bodies.toSorted(Buffer.compare), sent.toSorted(Buffer.compare));
    });
  }

  test('may be one of many at once, of many MB together, to a server that takes its time', async () => {
    let calls = 0;
    const { url } = await start(async (stream, call) => {
      calls += 1;
      stream.pause();
      // The first ones are answered while the others wait to be sent.
      await sleep(calls * 5);
      const { body } = await call;
      accept(stream, String(body.length));
    });
    const client = clientOf({ url });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => client.post(Buffer.alloc(500_000), 30_000)),
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
    await clientOf({ url, compression: 'gzip' }).post(Buffer.from('the spans'), 10_000);
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
    const answer = await clientOf({ url }).post(Buffer.of(1), 10_000);
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
    ['a status and why', grpc(8, 'out%20of%20memory%3A%20%E2%82%AC'), 8, 'out of memory: €'],
    ['a message that cannot be decoded', grpc(3, '100% wrong'), 3, '100% wrong'],
    ['a status and nothing else', grpc(16), 16, 'gRPC status 16'],
    ['HTTP 401', { ':status': 401 }, 16, 'HTTP status code 401'],
    ['HTTP 404', { ':status': 404 }, 12, 'HTTP status code 404'],
    ['HTTP 413', { ':status': 413 }, 2, 'HTTP status code 413'],
    ['HTTP 503', { ':status': 503 }, 14, 'HTTP status code 503'],
    ['no status at all', { ':status': 200 }, 13, 'the answer has no status'],
  ] as const) {
    test(`has the code of gRPC and the reason: ${said}`, async () => {
      const { url } = await withHeaders(headers);
      const error = await failureOf(clientOf({ url }).post(Buffer.of(1), 10_000));
      assert.equal(error.code, code);
      assert.equal(error.message, message);
    });
  }

  test('may come in the trailers', async () => {
    const { url } = await start((stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '14', 'grpc-message': 'soon' }));
      stream.end();
    });
    const error = await failureOf(clientOf({ url }).post(Buffer.of(1), 10_000));
    assert.deepEqual([error.code, error.message], [14, 'soon']);
  });

  test('counts also when the server has not read the request', async () => {
    const { url } = await start((stream) => {
      stream.pause();
      stream.respond(grpc(8, 'too much'), { endStream: true });
    });
    const error = await failureOf(clientOf({ url }).post(Buffer.alloc(5_000_000), 10_000));
    assert.deepEqual([error.code, error.message], [8, 'too much']);
  });

  for (const [name, code] of [
    ['NGHTTP2_REFUSED_STREAM', 14],
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
      const client = clientOf({ url });
      assert.equal((await failureOf(client.post(Buffer.of(1), 10_000))).code, code);
      await client.post(Buffer.of(1), 10_000);
      assert.equal(sessions.length, 1);
    });
  }
});

describe('a connection', () => {
  test('is one for all calls', async () => {
    const { url, sessions } = await start((stream) => accept(stream));
    const client = clientOf({ url });
    await Promise.all([client.post(Buffer.of(1), 10_000), client.post(Buffer.of(2), 10_000)]);
    await client.post(Buffer.of(3), 10_000);
    assert.equal(sessions.length, 1);
  });

  test('that nobody accepts has no code of gRPC', async () => {
    const { url } = await start(() => {});
    for (const close of opened.splice(0)) await close();
    const error = await failureOf(clientOf({ url }).post(Buffer.of(1), 10_000));
    assert.match(error.message, /ECONNREFUSED/);
    assert.notEqual(typeof error.code, 'number');
  });

  test('to a name with several addresses says of one why not', async () => {
    const { url } = await start(() => {});
    for (const close of opened.splice(0)) await close();
    const error = await failureOf(
      clientOf({ url: url.replace('127.0.0.1', 'localhost') }).post(Buffer.of(1), 10_000),
    );
    assert.match(error.message, /ECONNREFUSED/);
  });

  test('that is lost in the middle has no code of gRPC, and the next call has another one', async () => {
    let calls = 0;
    const { url, sessions } = await start((stream) => {
      calls += 1;
      if (calls === 1) stream.session?.socket?.destroy();
      else accept(stream);
    });
    const client = clientOf({ url });
    const error = await failureOf(client.post(Buffer.of(1), 10_000));
    assert.notEqual(typeof error.code, 'number');
    await client.post(Buffer.of(1), 10_000);
    assert.equal(sessions.length, 2);
  });

  test('that the server wants to end is not used for the next call', async () => {
    const { url, sessions } = await start(async (stream, call) => {
      await call;
      accept(stream, String(sessions.length));
    });
    const client = clientOf({ url });
    await client.post(Buffer.of(1), 10_000);
    sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR);
    // Until the client has heard of it.
    await sleep(100);
    assert.equal(Buffer.from(await client.post(Buffer.of(1), 10_000)).toString(), '2');
  });

  test('on which no answer came in time is left to the calls that it has', async () => {
    const answer: ServerHttp2Stream[] = [];
    const { url, sessions } = await start((stream) => {
      if (sessions.length > 1) accept(stream);
      else answer.push(stream);
    });
    const client = clientOf({ url });
    const slow = client.post(Buffer.of(1), 10_000);
    const error = await failureOf(client.post(Buffer.of(2), 100));
    assert.deepEqual([error.code, error.message], [4, 'no answer in time (OTEL_EXPORTER_OTLP_TIMEOUT)']);
    await client.post(Buffer.of(3), 10_000);
    assert.equal(sessions.length, 2);
    accept(answer[0] as ServerHttp2Stream, 'late');
    assert.equal(Buffer.from(await slow).toString(), 'late');
    if (sessions[0]?.destroyed === false) await once(sessions[0], 'close');
  });

  describe('that was used before and has gone dead without a word', () => {
    const dead = async (answer: Parameters<typeof start>[0]) => {
      const { url, sessions } = await start(answer);
      const gate = await startGate(Number(new URL(url).port));
      opened.push(() => gate.stop());
      const client = clientOf({ url: `http://127.0.0.1:${gate.port}` });
      await client.post(Buffer.of(0), 10_000);
      gate.forget();
      return { client, sessions };
    };

    test('is left, and what was posted goes over another one: all of it, once', {
      timeout: 10_000,
    }, async () => {
      const bodies: Buffer[] = [];
      const { client, sessions } = await dead(async (stream, call) => {
        bodies.push((await call).body);
        accept(stream, 'well');
      });
      const calls = Array.from({ length: 16 }, (_, at) => client.post(Buffer.alloc(1_000, at + 1), 10_000));
      for (const call of calls) assert.equal(Buffer.from(await call).toString(), 'well');
      assert.equal(sessions.length, 2);
      assert.deepEqual(
        bodies.map((body) => [body.length, body[5]]).sort(([, a = 0], [, b = 0]) => a - b),
        [[6, 0], ...calls.map((_, at) => [1_005, at + 1])],
      );
    });

    test('leaves half of the time to the other one', async () => {
      const timeouts: unknown[] = [];
      const { client } = await dead(async (stream, call) => {
        timeouts.push((await call).headers['grpc-timeout']);
        if (timeouts.length === 1) accept(stream);
      });
      const beganMs = performance.now();
      assert.equal((await failureOf(client.post(Buffer.of(1), 501))).code, 4);
      assert.ok(performance.now() - beganMs >= 500);
      assert.deepEqual(timeouts, ['10000m', '250m']);
    });
  });

  test('on which a slow server shows that it is alive is kept', async () => {
    let calls = 0;
    const { url, sessions } = await start(async (stream) => {
      calls += 1;
      if (calls > 1) await sleep(1_500);
      accept(stream, String(calls));
    });
    const client = clientOf({ url });
    await client.post(Buffer.of(1), 10_000);
    assert.equal(Buffer.from(await client.post(Buffer.of(2), 10_000)).toString(), '2');
    assert.equal(sessions.length, 1);
  });

  test('that does not come about in time is given up', async () => {
    const sockets: Socket[] = [];
    const server = createSocketServer((socket) => sockets.push(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    opened.push(() => new Promise((resolve) => server.close(resolve)));
    // TLS is what the other side waits for in vain.
    const client = clientOf({ url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const error = await failureOf(client.post(Buffer.of(1), 200));
    assert.deepEqual([error.code, error.message], [4, 'no answer in time (OTEL_EXPORTER_OTLP_TIMEOUT)']);
    const [socket] = sockets as [Socket];
    socket.on('error', () => {}).resume();
    if (!socket.destroyed) await once(socket, 'close');
  });

  test('is closed when nothing happens on it, and made anew', async () => {
    const { url, sessions } = await start((stream) => accept(stream));
    const client = clientOf({ url }, 50);
    await client.post(Buffer.of(1), 10_000);
    if (sessions[0]?.destroyed === false) await once(sessions[0], 'close');
    await client.post(Buffer.of(1), 10_000);
    assert.equal(sessions.length, 2);
  });

  test('does not come about with headers that cannot be sent; the reason names the header, not what is in it', () => {
    assert.throws(
      () => clientOf({ headers: { 'a b': 'secret' } }),
      /Header name must be a valid HTTP token \["a b"\]/,
    );
    assert.throws(
      () => clientOf({ headers: { key: 'secret\nline' } }),
      /Invalid character in header content \["key"\]/,
    );
  });

  test('does not come about with a header that belongs to HTTP/1, and nothing breaks', async () => {
    const { url } = await start((stream) => accept(stream));
    const error = await failureOf(
      clientOf({ url, headers: { connection: 'close' } }).post(Buffer.of(1), 10_000),
    );
    assert.match(error.message, /connection/i);
  });

  test('does not come about without the certificates that are named', async () => {
    const client = clientOf({ url: 'https://127.0.0.1:1', certificate: '/nowhere/ca.pem' });
    assert.match((await failureOf(client.post(Buffer.of(1), 10_000))).message, /ENOENT.*ca\.pem/);
  });
});
