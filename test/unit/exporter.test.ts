/** The outcome of each answer of a collector, over a real sender to a server in this process. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { readSettings } from '../../src/config/settings.ts';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { exportedSpans } from '../../src/doctor/otlp-receiver.ts';
import { GrpcStatus } from '../../src/grpc-status.ts';
import {
  connectionHint,
  createSend,
  type ExporterName,
  requestBodies,
  shortReason,
} from '../../src/otlp/exporter.ts';
import type { Outcome } from '../../src/trace/outcome.ts';
import { SpanBatch } from '../../src/trace/span-batch.ts';
import { endedSpans } from '../support/ended-spans.ts';
import { RETRYABLE_CODES } from '../support/retryable-codes.ts';

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

const sendTo = (env: Record<string, string>, name: ExporterName = 'otlp') =>
  createSend(name, readSettings(env));

const HTTP = { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };

/** A send function to a gRPC collector that answers with this status; the body is for status 0. */
async function toGrpc(code: number, details = 'why', body = Buffer.alloc(0)) {
  const server = await startExportServer((_call, done) => done(code === 0 ? null : { code, details }, body));
  opened.push(() => server.stop());
  return sendTo({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.port}` });
}

/**
 * The environment of an app whose HTTP collector gives this answer. Received bodies are added to `bodies`.
 */
async function httpCollector(
  status: number,
  answer: string | Buffer = '',
  headers = {},
  bodies: Buffer[] = [],
) {
  const server = createServer(async (request, response) => {
    bodies.push(Buffer.concat(await request.toArray()));
    response.writeHead(status, headers).end(answer);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  opened.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    ...HTTP,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  };
}

const toHttp = async (...answer: Parameters<typeof httpCollector>) => sendTo(await httpCollector(...answer));

/** The URL of a server that accepts requests and never answers. */
async function silentServer(): Promise<string> {
  const server = createServer(() => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  opened.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const batchOf = (count: number) => new SpanBatch(endedSpans(count));

const UNSERIALIZABLE = Object.create(endedSpans(1)[0] as ReadableSpan, {
  name: {
    get() {
      throw new TypeError('name is gone');
    },
  },
}) as ReadableSpan;

/** All fields of an outcome except its text. */
const withoutReason = (outcome: Outcome) => {
  const { reason: _, ...rest } = outcome as { reason?: string };
  return rest;
};

describe('the answer of a gRPC collector', () => {
  for (const [name, code] of Object.entries(GrpcStatus).filter(([, value]) => value !== 0)) {
    const isRetried = RETRYABLE_CODES.includes(name);
    test(`${name} ${isRetried ? 'keeps the spans for a retry' : 'drops the spans'}, with its name as errorType`, async () => {
      const outcome = await (await toGrpc(code))(batchOf(2));
      assert.deepEqual(
        withoutReason(outcome),
        isRetried
          ? {
              kind: 'later',
              errorType: name,
              isUnreachable: false,
              mayBeTooLarge: name === 'RESOURCE_EXHAUSTED' || undefined,
            }
          : { kind: 'refused', errorType: name },
      );
      assert.match((outcome as { reason: string }).reason, /^why/);
    });
  }

  test('OK means that the spans were accepted', async () => {
    assert.deepEqual(await (await toGrpc(0))(batchOf(2)), { kind: 'accepted' });
  });

  test('OK with rejected spans gives their number, at most the number that was sent', async () => {
    // ExportTraceServiceResponse { partial_success = 1 { rejected_spans = 1, error_message = 2 } }
    const rejecting = (count: number) => Buffer.from([0x0a, 8, 0x08, count, 0x12, 4, ...Buffer.from('old.')]);
    assert.deepEqual(await (await toGrpc(0, '', rejecting(1)))(batchOf(2)), {
      kind: 'accepted',
      rejected: { count: 1, reason: 'old' },
    });
    assert.deepEqual(await (await toGrpc(0, '', rejecting(100)))(batchOf(2)), {
      kind: 'accepted',
      rejected: { count: 2, reason: 'old' },
    });
  });

  test('OK with a text and no rejected span means accepted, with a warning', async () => {
    const warning = Buffer.from([0x0a, 6, 0x12, 4, ...Buffer.from('slow')]);
    assert.deepEqual(await (await toGrpc(0, '', warning))(batchOf(2)), { kind: 'accepted', warning: 'slow' });
  });

  test('"message too large" splits a batch of several spans, and drops a single span', async () => {
    const send = await toGrpc(
      GrpcStatus.RESOURCE_EXHAUSTED,
      'grpc: received message larger than max (5 vs. 4)',
    );
    assert.deepEqual(await send(batchOf(2)), { kind: 'too large' });
    assert.deepEqual(withoutReason(await send(batchOf(1))), {
      kind: 'refused',
      errorType: 'RESOURCE_EXHAUSTED',
    });
  });
});

describe('the answer of an HTTP collector', () => {
  for (const status of [429, 502, 503, 504])
    test(`${status} keeps the spans for a retry`, async () => {
      assert.deepEqual(await (await toHttp(status))(batchOf(2)), {
        kind: 'later',
        reason: `HTTP status ${status}`,
        errorType: `${status}`,
        isUnreachable: false,
        mayBeTooLarge: undefined,
      });
    });

  for (const status of [301, 400, 401, 403, 404, 405, 408, 500, 501])
    test(`${status} drops the spans`, async () => {
      const outcome = await (await toHttp(status))(batchOf(2));
      assert.deepEqual(withoutReason(outcome), { kind: 'refused', errorType: `${status}` });
    });

  test('Retry-After gives the earliest time of the next attempt', async () => {
    const outcome = await (await toHttp(503, '', { 'retry-after': '7' }))(batchOf(2));
    assert.equal((outcome as { afterMs: number }).afterMs, 7_000);
  });

  test('413 splits a batch of several spans, and drops a single span', async () => {
    const send = await toHttp(413);
    assert.deepEqual(await send(batchOf(2)), { kind: 'too large' });
    assert.deepEqual(withoutReason(await send(batchOf(1))), { kind: 'refused', errorType: '413' });
  });

  test('is read as JSON when the request was JSON', async () => {
    const answer = JSON.stringify({ partialSuccess: { rejectedSpans: '1', errorMessage: 'too old' } });
    const env = { ...(await httpCollector(200, answer)), OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
    assert.deepEqual(await sendTo(env)(batchOf(2)), {
      kind: 'accepted',
      rejected: { count: 1, reason: 'too old' },
    });
  });
});

describe('without an answer', () => {
  test('the spans are kept for a retry, and the log line has a hint about the connection', async () => {
    const closed = await httpCollector(200);
    for (const close of opened.splice(0)) await close();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: closed.OTEL_EXPORTER_OTLP_ENDPOINT };
    for (const send of [sendTo(closed), sendTo(env)]) {
      const outcome = (await send(batchOf(2))) as Extract<Outcome, { kind: 'later' }>;
      assert.deepEqual([outcome.kind, outcome.isUnreachable], ['later', true]);
      assert.match(outcome.reason, /ECONNREFUSED/);
      assert.match(connectionHint(outcome.reason), /npx milvus-otel doctor/);
    }
  });

  test('the reason names the shorter one of the two time limits', async () => {
    const env = { ...HTTP, OTEL_EXPORTER_OTLP_ENDPOINT: await silentServer() };
    for (const variable of ['OTEL_EXPORTER_OTLP_TIMEOUT', 'OTEL_BSP_EXPORT_TIMEOUT']) {
      const outcome = await sendTo({ ...env, [variable]: '30' })(batchOf(2));
      assert.equal((outcome as { reason: string }).reason, `no answer within 30 ms (${variable})`);
      assert.equal(outcome.kind, 'later');
    }
  });

  test('an unreadable certificate file drops the spans, with the error code as errorType', async () => {
    const send = sendTo({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://127.0.0.1:4317',
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/no-such-file.pem',
    });
    assert.deepEqual(withoutReason(await send(batchOf(2))), { kind: 'refused', errorType: 'ENOENT' });
  });
});

describe('a span that cannot be serialized', () => {
  test('splits its batch; a batch of this span alone is unserializable, with the reason', async () => {
    const send = await toHttp(200);
    assert.deepEqual(await send(new SpanBatch([...endedSpans(1), UNSERIALIZABLE])), { kind: 'too large' });
    assert.deepEqual(await send(new SpanBatch([UNSERIALIZABLE])), {
      kind: 'unserializable',
      reason: 'a span could not be serialized: name is gone',
    });
  });

  for (const [at, place] of [
    [0, 'the first'],
    [3, 'one in the middle'],
    [6, 'the last'],
  ] as const)
    test(`is the only span missing from the requests at exit when it is ${place}`, () => {
      const spans = endedSpans(6);
      spans.splice(at, 0, UNSERIALIZABLE);
      const { requests, error } = requestBodies([new SpanBatch(spans), batchOf(2)], readSettings(HTTP));
      assert.deepEqual(
        requests.flatMap(({ body }) => exportedSpans(Buffer.from(body)).map(({ name }) => name)),
        ['s0', 's1', 's2', 's3', 's4', 's5', 's0', 's1'],
      );
      assert.equal(
        requests.reduce((sum, { count }) => sum + count, 0),
        8,
      );
      assert.equal(error, 'a span could not be serialized: name is gone');
    });

  test('is not reported when all spans can be serialized', () => {
    const { requests, error } = requestBodies([batchOf(2)], readSettings({}));
    assert.deepEqual([requests.map(({ count }) => count), error], [[2], undefined]);
  });
});

test('a batch waits for the asynchronous attributes of its resource', async () => {
  const bodies: Buffer[] = [];
  const send = await toHttp(200, '', {}, bodies);
  const { promise, resolve } = Promise.withResolvers<string>();
  const spans = endedSpans(1, resourceFromAttributes({ 'host.id': promise }));
  const outcome = send(new SpanBatch(spans));
  await new Promise(setImmediate);
  assert.equal(bodies.length, 0);
  resolve('host-of-the-test');
  assert.deepEqual(await outcome, { kind: 'accepted' });
  assert.ok(String(bodies[0]).includes('host-of-the-test'));
});

describe('Zipkin', () => {
  test('gets start times in whole microseconds', async () => {
    const bodies: Buffer[] = [];
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = await httpCollector(202, '', {}, bodies);
    const [span] = endedSpans(1) as [ReadableSpan];
    const exact = Object.create(span, { startTime: { value: [1_700_000_000, 123_456_789] } });
    const send = sendTo({ OTEL_EXPORTER_ZIPKIN_ENDPOINT: `${endpoint}` }, 'zipkin');
    assert.deepEqual(await send(new SpanBatch([exact])), { kind: 'accepted' });
    assert.equal(JSON.parse(String(bodies[0]))[0].timestamp, 1_700_000_000_123_456);
  });

  test('gets refused spans again', async () => {
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = await httpCollector(500);
    const outcome = await sendTo({ OTEL_EXPORTER_ZIPKIN_ENDPOINT: `${endpoint}` }, 'zipkin')(batchOf(1));
    assert.equal(outcome.kind, 'later');
    assert.match((outcome as { reason: string }).reason, /500/);
  });

  test('without an answer fails after the time limit', async () => {
    const send = sendTo(
      {
        OTEL_EXPORTER_ZIPKIN_ENDPOINT: await silentServer(),
        OTEL_BSP_EXPORT_TIMEOUT: '30',
      },
      'zipkin',
    );
    assert.equal(
      ((await send(batchOf(1))) as { reason: string }).reason,
      'no answer within 30 ms (OTEL_BSP_EXPORT_TIMEOUT)',
    );
  });
});

test('a reason is one line of limited length, without credentials and without a full stop', () => {
  assert.equal(shortReason(''), 'no reason given');
  assert.equal(shortReason('first\nsecond\u001b[31m... '), 'first second [31m');
  assert.equal(shortReason('at http://mary:hunter2@host/v1.'), 'at http://***@host/v1');
  assert.equal(shortReason('x'.repeat(5_000)).length, 300);
});

test('an answer of a collector has no hint about the connection', () => {
  assert.equal(connectionHint('HTTP status 400'), '');
});
