/** Each span arrives once, even if the event loop is blocked or a collector refuses some of them. */
import assert from 'node:assert/strict';
import { constants, createServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { startExportServer } from '../../src/doctor/export-server.ts';
import { exportedSpans } from '../../src/doctor/otlp-receiver.ts';
import { startSlow } from '../../tools/reliability/collectors.ts';
import { duplicatesOf, startCounting, startGoingAway } from '../../tools/reliability/counting-collectors.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();
const file = 'test/fixtures/busy-spans.mjs';

const runTo = (port: number, args: string[], env: Record<string, string> = {}) =>
  runs.run({
    file,
    args,
    timeoutMs: 90_000,
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_BSP_SCHEDULE_DELAY: '100',
      OTEL_NODE_FLUSH_TIMEOUT: '20000',
      ...env,
    },
  });

describe('an event loop that is blocked', { concurrency: 2 }, () => {
  for (const [blockMs, timeoutMs, latencyMs] of [
    [1_200, 1_000, 0],
    [1_200, 1_000, 10],
    [3_000, 2_000, 10],
  ] as const)
    test(`for ${blockMs} ms each time, longer than the ${timeoutMs} ms of a request, network ${latencyMs} ms: each span arrives once`, async () => {
      const collector = await startCounting('grpc');
      const network = await startSlow(collector.port, latencyMs);
      try {
        const { stdout, stderr, code } = await runTo(network.port, ['12000', String(blockMs)], {
          OTEL_EXPORTER_OTLP_TIMEOUT: String(timeoutMs),
        });
        assert.equal(code, 0);
        assert.equal(stderr, '');
        assert.equal(collector.seen.size, Number(stdout));
        assert.equal(duplicatesOf(collector), 0);
      } finally {
        await network.stop();
        await collector.stop();
      }
    });
});

describe('a span that a collector never accepts', { concurrency: 3 }, () => {
  for (const [code, details, lines] of [
    [status.DEADLINE_EXCEEDED, 'took too long', /cannot be sent/],
    [status.RESOURCE_EXHAUSTED, 'no more of this', /cannot be sent/],
    [status.INVALID_ARGUMENT, 'bad span', /rejected/],
  ] as const)
    test(`with the status ${status[code]} stops no other, and its reason is reported`, async () => {
      const collector = await startCounting('grpc', (_, names) =>
        names.includes('poison') ? { code, details, httpStatus: 503 } : undefined,
      );
      try {
        const { stdout, stderr } = await runTo(collector.port, ['15000', '0'], {
          OTEL_BSP_MAX_QUEUE_SIZE: '60',
          OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '60',
        });
        // The rest of its batch is lost too if the status refuses the batch.
        assert.ok(
          collector.seen.size >= Number(stdout) - 8,
          `${collector.seen.size} of ${stdout}: ${stderr}`,
        );
        assert.equal(duplicatesOf(collector), 0);
        assert.match(stderr, lines);
        assert.match(stderr, new RegExp(`were? lost \\([^\n]+: ${details}\\.|was lost[^\n]+: ${details}\\.`));
      } finally {
        await collector.stop();
      }
    });
});

test('a partial success with a warning alone is logged once, and nothing is lost', async () => {
  // ExportTraceServiceResponse { partial_success = 1 { error_message = 2 } }.
  const text = 'use the other endpoint';
  const warning = Buffer.concat([Buffer.from([0x0a, 2 + text.length, 0x12, text.length]), Buffer.from(text)]);
  const server = await startExportServer((_, respond) => respond(null, warning));
  try {
    const { stderr } = await runTo(server.port, ['1500', '0']);
    assert.match(
      stderr,
      /^milvus-otel: Collector accepted spans with a warning \(http:[^ ]+\): use the other endpoint\.\n$/,
    );
  } finally {
    server.stop();
  }
});

test('connections that the server closes after every second request lose and duplicate nothing', async () => {
  const seen = new Map<string, number>();
  let requests = 0;
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer().on('session', (session) => sessions.add(session.on('error', () => {})));
  server.on('stream', async (stream) => {
    stream.on('error', () => {});
    const body = Buffer.concat(await stream.toArray()).subarray(5);
    for (const { spanId } of exportedSpans(body)) seen.set(spanId, (seen.get(spanId) ?? 0) + 1);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.alloc(5));
    if (++requests % 2 === 0) stream.session?.goaway(0, stream.id);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { stdout, stderr } = await runTo((server.address() as AddressInfo).port, ['3000', '0']);
    assert.equal(stderr, '');
    assert.deepEqual([seen.size, Math.max(...seen.values())], [Number(stdout), 1]);
  } finally {
    for (const session of sessions) session.destroy();
    server.close();
  }
});

describe('requests that a GOAWAY with an error code has closed are sent again,', { concurrency: 2 }, () => {
  const { NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } = constants;
  for (const errorCode of [NGHTTP2_PROTOCOL_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_ENHANCE_YOUR_CALM])
    for (const [when, args, env] of [
      ['while the app runs', ['8000', '0'], {}],
      [
        'as the event loop drains',
        ['60000', '0', '100', 'at-once'],
        { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '10', OTEL_BSP_SCHEDULE_DELAY: '60000' },
      ],
    ] as const)
      test(`code ${errorCode}, ${when}`, async () => {
        const collector = await startGoingAway(3, errorCode);
        try {
          const { stdout, stderr } = await runTo(collector.port, [...args], env);
          assert.equal(collector.seen.size, Number(stdout));
          assert.doesNotMatch(stderr, /lost/);
        } finally {
          await collector.stop();
        }
      });
});
