import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createSocketServer, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { openHttpSender } from '../../src/otlp/http-sender.ts';
import { OtlpError } from '../../src/otlp/sender.ts';
import type { OtlpTarget } from '../../src/otlp/target.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

function senderTo(port: number, target: Partial<OtlpTarget> = {}) {
  const sender = openHttpSender(
    {
      signal: 'traces',
      protocol: 'http/protobuf',
      url: `http://127.0.0.1:${port}/v1/traces`,
      headers: {},
      compression: 'none',
      certificate: undefined,
      clientKey: undefined,
      clientCertificate: undefined,
      verify: true,
      variables: {
        endpoint: '',
        headers: '',
        protocol: '',
        certificate: '',
        clientCertificate: '',
        clientKey: '',
        timeout: '',
      },
      ...target,
    },
    { keepsAlive: true },
  );
  opened.push(() => sender.close());
  return sender;
}

async function start(answer: RequestListener): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer(answer).on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

async function failureOf(answer: Promise<unknown>): Promise<OtlpError> {
  const outcome = await answer.catch((error: unknown) => error);
  assert.ok(outcome instanceof OtlpError, 'it was accepted');
  return outcome;
}

const LIMIT = { ms: 10_000 };

test('a request is a POST with the type of its protocol, and returns the bytes of the answer', async () => {
  const calls: [headers: IncomingMessage['headers'], body: Buffer][] = [];
  const { port } = await start(async (request, response) => {
    calls.push([request.headers, Buffer.concat(await request.toArray())]);
    response.end('taken');
  });
  const answer = await senderTo(port, { headers: { 'api-key': 'k' } }).send(Buffer.from('spans'), LIMIT);
  await senderTo(port, { protocol: 'http/json', compression: 'gzip' }).send(Buffer.from('[]'), LIMIT);
  assert.equal(Buffer.from(answer).toString(), 'taken');
  const [[plain, body], [json, packed]] = calls as [(typeof calls)[0], (typeof calls)[0]];
  assert.deepEqual(
    [plain['content-type'], plain['api-key'], body.toString()],
    ['application/x-protobuf', 'k', 'spans'],
  );
  assert.deepEqual([json['content-type'], json['content-encoding']], ['application/json', 'gzip']);
  assert.equal(gunzipSync(packed).toString(), '[]');
});

describe('a failure has', () => {
  test('the status, and the time to wait of Retry-After', async () => {
    const { port } = await start((_, response) =>
      response.writeHead(503, { 'retry-after': '7' }).end('busy'),
    );
    const error = await failureOf(senderTo(port).send(Buffer.of(1), LIMIT));
    assert.deepEqual([error.status, error.retryAfterMs, error.message], [503, 7_000, 'HTTP status 503']);
  });

  test("the collector's reason: protobuf, JSON or a line of text, but no HTML page and no quote of the request", async () => {
    const answers = [
      ['application/x-protobuf', Buffer.from([0x08, 8, 0x12, 5, ...Buffer.from('quota')]), ': quota'],
      ['application/json', '{"code":8,"message":"quota"}', ': quota'],
      ['text/plain; charset=utf-8', 'quota\nmore', ': quota'],
      ['text/html', '<html>quota</html>', ''],
      ['application/json', 'quota', ''],
      // A collector in Go quotes the request.
      [
        'text/plain',
        'ReadInt64: overflow, error found in #10 byte of ...|"secret"|...',
        ': ReadInt64: overflow',
      ],
    ] as const;
    let calls = 0;
    const { port } = await start((_, response) => {
      const [type, body] = answers[calls++] as (typeof answers)[0];
      response.writeHead(400, { 'content-type': type }).end(body);
    });
    for (const [, , reason] of answers)
      assert.equal(
        (await failureOf(senderTo(port).send(Buffer.of(1), LIMIT))).message,
        `HTTP status 400${reason}`,
      );
  });

  test('a status of success with a web page, which is not an answer of a collector', async () => {
    const { port } = await start((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>Jaeger UI</html>');
    });
    const { status, message } = await failureOf(senderTo(port).send(Buffer.of(1), LIMIT));
    assert.deepEqual([status, message], [200, 'HTTP status 200 with a web page']);
  });

  test('no status when the connection breaks, but reports whether there was a connection', async () => {
    const { port } = await start((request) => request.socket.destroy());
    const broken = await failureOf(senderTo(port).send(Buffer.of(1), LIMIT));
    assert.deepEqual([broken.status, broken.isUnreachable], [undefined, false]);
    for (const close of opened.splice(0)) await close();
    const refused = await failureOf(senderTo(port).send(Buffer.of(1), LIMIT));
    assert.deepEqual([refused.status, refused.isUnreachable], [undefined, true]);
    assert.match(refused.message, /ECONNREFUSED/);
  });

  test('the limit that applied, and the next request has another connection', async () => {
    let calls = 0;
    const { port, sockets } = await start((_, response) => {
      if (++calls > 1) response.end();
    });
    const sender = senderTo(port);
    const error = await failureOf(sender.send(Buffer.of(1), { ms: 200, variable: 'LIMIT_OF_TEST' }));
    assert.equal(error.message, 'no answer within 200 ms (LIMIT_OF_TEST)');
    await sender.send(Buffer.of(1), LIMIT);
    assert.equal(sockets.size, 2);
  });

  test('at most 4 MiB of a larger answer in memory', async () => {
    let written = 0;
    const { port } = await start((_, response: ServerResponse) => {
      const more = () => {
        if (response.destroyed || written > 64 * 2 ** 20) return;
        written += 2 ** 16;
        response.write(Buffer.alloc(2 ** 16), more);
      };
      more();
    });
    const error = await failureOf(senderTo(port).send(Buffer.of(1), LIMIT));
    assert.equal(error.message, 'the answer is larger than 4 MiB');
    assert.ok(written < 16 * 2 ** 20, `${written} bytes`);
  });
});

test('a request goes over another connection when the server has closed the first', async () => {
  const sockets: Socket[] = [];
  const server = createSocketServer((socket) => {
    sockets.push(socket);
    let requests = 0;
    socket
      .on('error', () => {})
      .on('data', () => {
        // Closes without notice when the next request comes.
        if (++requests > 1) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  const sender = senderTo((server.address() as AddressInfo).port);
  await sender.send(Buffer.of(1), LIMIT);
  await sleep(50);
  await sender.send(Buffer.of(2), LIMIT);
  assert.equal(sockets.length, 2);
});

test('a limit does not count the time for which the event loop is blocked', async () => {
  const { port } = await start((_, response) => response.end('taken'));
  const sender = senderTo(port);
  await sender.send(Buffer.of(1), LIMIT);
  const answer = sender.send(Buffer.of(2), { ms: 300 });
  await sleep(1);
  const untilMs = performance.now() + 1_000;
  while (performance.now() < untilMs);
  assert.equal(Buffer.from(await answer).toString(), 'taken');
});
