/** Faults of the collector: the app is unaffected, its exit is bounded, and one line reports lost spans. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { freePort } from '../../tools/processes/free-ports.ts';
import {
  startGate,
  startGrpcRefusing,
  startGrpcWithLimit,
  startHttpRefusing,
  startHttpWithLimit,
  startRejecting,
  startSilent,
} from '../../tools/reliability/collectors.ts';
import {
  environmentOf,
  FAULTS,
  type Fault,
  type FaultProtocol,
  type Keys,
  makeKeys,
} from '../../tools/reliability/faults.ts';
import { useRuns } from '../preload/runs.ts';

const runs = useRuns();
const file = 'test/fixtures/exits.mjs';

let keys: Keys;
before(async () => {
  keys = await makeKeys();
});
after(() => keys.remove());

/** Added to the bounds below for other programs on the machine. */
const slackMs = 4_000;
const boundMs = 2_000;

/** Runs the program against the fault. `endMs` is from its last output to its exit. */
async function run(fault: Fault, protocol: FaultProtocol, way: string) {
  const place = await fault.start(protocol, runs.receiver, keys);
  try {
    // A longer timeout for faults with an answer, so that a slow machine does not change the line.
    const env: Record<string, string> = fault.hangs ? {} : { OTEL_NODE_FLUSH_TIMEOUT: '10000' };
    const fixture = runs.start({ file, args: [way], env: { ...env, ...environmentOf(protocol, place) } });
    await fixture.waitForStdout(way === 'exit' ? /found/ : /ready/);
    const beganMs = performance.now();
    const result = await fixture.ended;
    return { ...result, service: fixture.service, endMs: performance.now() - beganMs };
  } finally {
    await place.stop?.();
  }
}

for (const protocol of ['grpc', 'http/protobuf'] as const) {
  describe(`${protocol}:`, { concurrency: 4 }, () => {
    for (const fault of FAULTS) {
      for (const [way, expected] of [
        ['drain', { stdout: 'found\nready\n', code: 0, signal: null }],
        ['exit', { stdout: 'found\n', code: 9, signal: null }],
      ] as const) {
        test(`${fault.what}, ${way}: ${fault.spans}`, async () => {
          const { service, stderr, endMs, stdout, code, signal } = await run(fault, protocol, way);
          assert.deepEqual({ stdout, code, signal }, expected);
          if (fault.spans === 'kept') {
            assert.equal(stderr, '');
            // connect and the searches. process.exit() cannot wait for an answer: a request in flight is
            // sent again, and its spans may arrive twice.
            await runs.spans(service, 21, { mayRepeat: way === 'exit' });
          } else {
            const lines = stderr.split('\n').filter((line) => line !== '');
            // A slow machine may need longer than the delay after which the first batch is tried.
            if (lines.length > 1)
              assert.match(
                lines.shift() ?? '',
                /^milvus-otel: (Spans cannot be sent|Collector rejected spans)/,
              );
            assert.equal(lines.length, 1, stderr);
            assert.match(lines[0] ?? '', /^milvus-otel: 21 spans were lost \(https?:\/\/[\w.]+:\d+\): /);
            assert.match(lines[0] ?? '', fault.reason?.[protocol] ?? /./);
            // The limit that the user has set, not the remaining time.
            assert.doesNotMatch(lines[0] ?? '', /no answer within (?!\d+000 ms)/);
            if (fault.hangs) assert.ok(endMs < boundMs + slackMs, `${endMs} ms`);
          }
        });
      }
    }
  });
}

describe('an app exits when it has nothing left to do, though spans in flight get no answer', () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json'])
    test(protocol, async () => {
      const collector = await startSilent();
      try {
        const fixture = runs.start({
          file,
          args: ['drain'],
          env: {
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
            OTEL_BSP_SCHEDULE_DELAY: '0',
          },
        });
        await fixture.waitForStdout(/ready/);
        const beganMs = performance.now();
        const { code, stderr } = await fixture.ended;
        const endMs = performance.now() - beganMs;
        assert.equal(code, 0);
        assert.match(stderr, /^milvus-otel: 21 spans were lost \([^\n]+\): no answer[^\n]+\n$/);
        assert.ok(endMs < boundMs + slackMs, `${endMs} ms`);
      } finally {
        await collector.stop();
      }
    });
});

/** The output of steady-searches.mjs at its exit. */
interface Searched {
  searches: number;
  medianMs: number;
  slowestTurnMs: number;
}

/** Starts a program that searches at a steady rate for `ms`, then drains. */
function startSearching(ms: number, env: Record<string, string>) {
  const fixture = runs.start({ file: 'test/fixtures/steady-searches.mjs', args: [String(ms)], env });
  return {
    ...fixture,
    async searched() {
      const { stdout, stderr, code } = await fixture.ended;
      assert.equal(code, 0);
      return { stderr, ...(JSON.parse(stdout.split('\n').at(-2) ?? '') as Searched) };
    },
  };
}

/** A short delay, so that attempts are made while the program runs, and enough time for a slow machine. */
const soon = { OTEL_BSP_SCHEDULE_DELAY: '200', OTEL_NODE_FLUSH_TIMEOUT: '10000' };

describe('queued spans arrive', { concurrency: 4 }, () => {
  for (const protocol of ['grpc', 'http/protobuf'] as const) {
    const portOf = () => (protocol === 'grpc' ? runs.receiver.grpcPort : runs.receiver.httpPort);

    /** All spans of the run are there: connect, and a search each. */
    const assertAllArrived = async (service: string, searches: number) => {
      const of = () => runs.receiver.spans().filter((span) => span.service === service);
      const ids = () => new Set(of().map(({ spanId }) => spanId));
      for (let waits = 0; ids().size < 1 + searches && waits < 100; waits++) await sleep(50);
      assert.equal(ids().size, 1 + searches);
    };

    test(`${protocol}: when the collector is unavailable twice and then healthy`, async () => {
      const times = 2;
      const collector =
        protocol === 'grpc'
          ? await startGrpcRefusing(portOf(), (attempt) =>
              attempt <= times ? { code: status.UNAVAILABLE, details: 'restarting' } : undefined,
            )
          : await startHttpRefusing(portOf(), (attempt) => (attempt <= times ? 503 : undefined));
      try {
        const app = startSearching(6_000, { ...environmentOf(protocol, collector), ...soon });
        const { searches, stderr } = await app.searched();
        assert.match(stderr, /^milvus-otel: Spans cannot be sent [^\n]+\n$/);
        await assertAllArrived(app.service, searches);
      } finally {
        await collector.stop();
      }
    });

    test(`${protocol}: when the collector is restarted while the app runs`, async () => {
      const gate = await startGate(portOf());
      try {
        const app = startSearching(6_000, { ...environmentOf(protocol, gate), ...soon });
        await app.waitForStdout(/started/);
        await sleep(1_500);
        await gate.stop();
        await sleep(2_000);
        await gate.reopen();
        const { searches } = await app.searched();
        await assertAllArrived(app.service, searches);
      } finally {
        await gate.stop();
      }
    });

    test(`${protocol}: when the connection goes dead silently, and a new one works`, async () => {
      const gate = await startGate(portOf());
      try {
        const app = startSearching(8_000, {
          ...environmentOf(protocol, gate),
          ...soon,
          OTEL_EXPORTER_OTLP_TIMEOUT: '2000',
        });
        await app.waitForStdout(/started/);
        await sleep(1_500);
        gate.forget();
        const { searches, stderr } = await app.searched();
        assert.match(
          stderr,
          /^milvus-otel: Spans cannot be sent [^\n]+no answer within 2000 ms \(OTEL_EXPORTER_OTLP_TIMEOUT\)[^\n]+\n$/,
        );
        await assertAllArrived(app.service, searches);
      } finally {
        await gate.stop();
      }
    });

    if (protocol === 'grpc')
      test('grpc: when the connection goes dead just before the app exits', async () => {
        const gate = await startGate(portOf());
        try {
          const app = startSearching(3_000, {
            ...environmentOf(protocol, gate),
            OTEL_BSP_SCHEDULE_DELAY: '1500',
            OTEL_NODE_FLUSH_TIMEOUT: '6000',
          });
          await app.waitForStdout(/started/);
          // The first batch was sent by then.
          await sleep(2_200);
          gate.forget();
          const { searches, stderr } = await app.searched();
          assert.equal(stderr, '');
          await assertAllArrived(app.service, searches);
        } finally {
          await gate.stop();
        }
      });

    test(`${protocol}: when the collector comes up 10 s after the app`, async () => {
      const gate = await startGate(portOf());
      await gate.stop();
      try {
        const app = startSearching(12_000, { ...environmentOf(protocol, gate), ...soon });
        await app.waitForStdout(/started/);
        await sleep(10_000);
        await gate.reopen();
        const { searches, stderr } = await app.searched();
        assert.match(stderr, /^milvus-otel: Spans cannot be sent [^\n]+ECONNREFUSED[^\n]+\n$/);
        await assertAllArrived(app.service, searches);
      } finally {
        await gate.stop();
      }
    });
  }
});

describe('a collector that accepts all spans but three', { concurrency: 4 }, () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json'] as const) {
    // Sent while the app runs, at its exit, and by the sending process.
    for (const [way, delayMs] of [
      ['drain', '0'],
      ['drain', '60000'],
      ['exit', '60000'],
    ] as const) {
      test(`${protocol}, ${way}, OTEL_BSP_SCHEDULE_DELAY=${delayMs}: the number of lost spans and the reason are logged`, async () => {
        const collector = await startRejecting(protocol, 3, 'over quota');
        try {
          const { stderr, code } = await runs.run({
            file,
            args: [way],
            env: {
              OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
              OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
              OTEL_BSP_SCHEDULE_DELAY: delayMs,
              OTEL_NODE_FLUSH_TIMEOUT: '10000',
            },
          });
          assert.equal(code, way === 'exit' ? 9 : 0);
          const lines = stderr.trimEnd().split('\n');
          const [, count = ''] =
            /^milvus-otel: (\d+) spans were lost \(http:[^ ]+\): over quota\.$/.exec(lines.at(-1) ?? '') ??
            [];
          if (delayMs === '0') {
            // Up to three of each request; the number of requests varies.
            assert.ok(Number(count) >= 3, stderr);
            assert.match(
              lines[0] ?? '',
              /^milvus-otel: Collector rejected spans \(http:[^ ]+\): over quota\.$/,
            );
          } else {
            assert.equal(count, '3', stderr);
          }
          assert.equal(lines.length, delayMs === '0' ? 2 : 1, stderr);
        } finally {
          await collector.stop();
        }
      });
    }
  }
});

describe('a collector takes no larger requests than', { concurrency: 2 }, () => {
  const limits = [
    ['4 MiB, as collectors do by default', 4_096],
    ['100 KiB', 100],
  ] as const;
  for (const protocol of ['grpc', 'http/protobuf', 'http/json'] as const) {
    for (const [what, maxKiB] of limits) {
      test(`${protocol}, ${what}: only a span that is larger by itself is lost, and the reason is logged`, async () => {
        const { grpcPort, httpPort } = runs.receiver;
        const collector =
          protocol === 'grpc'
            ? await startGrpcWithLimit(grpcPort, maxKiB * 1_024)
            : await startHttpWithLimit(httpPort, maxKiB * 1_024);
        try {
          // More than a batch, so that most are sent before the exit; only the last is beyond the limit.
          const { service, stdout, stderr, code } = await runs.run({
            file: 'test/fixtures/large-spans.mjs',
            args: ['800', '10', String(maxKiB + 1)],
            env: {
              OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
              OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
              OTEL_NODE_FLUSH_TIMEOUT: '20000',
            },
          });
          assert.deepEqual([stdout, code], ['made\n', 0]);
          assert.match(
            stderr,
            /^(milvus-otel: Collector rejected spans [^\n]+\n)?milvus-otel: 1 span was lost \([^\n]+(larger than max|Too Large|413)[^\n]*\n$/,
          );
          await runs.spans(service, 800);
        } finally {
          await collector.stop();
        }
      });
    }
  }
});

describe('the app is not held up', { concurrency: 1 }, () => {
  for (const [what, start] of [
    ['never answers', startSilent],
    ['is not there', async () => ({ port: await freePort(), stop: async () => {} })],
  ] as const) {
    test(`by a collector that ${what}: its searches take as long as with no exporter`, async () => {
      const collector = await start();
      try {
        const env = { ...environmentOf('grpc', collector), OTEL_BSP_SCHEDULE_DELAY: '100' };
        // At the same time, so that other load of the machine affects both.
        const [faulty, quiet] = await Promise.all([
          startSearching(4_000, env).searched(),
          startSearching(4_000, { OTEL_TRACES_EXPORTER: 'none' }).searched(),
        ]);
        assert.ok(
          faulty.medianMs < quiet.medianMs * 3 + 10,
          `a search takes ${faulty.medianMs} ms instead of ${quiet.medianMs}`,
        );
        assert.ok(
          faulty.slowestTurnMs < quiet.slowestTurnMs * 3 + 500,
          `the event loop stood still for ${faulty.slowestTurnMs} ms instead of ${quiet.slowestTurnMs}`,
        );
      } finally {
        await collector.stop();
      }
    });
  }
});

test('200,000 spans against a collector that never answers take no more memory than the queue may hold', async () => {
  const collector = await startSilent();
  try {
    const env = {
      ...environmentOf('grpc', collector),
      OTEL_NODE_FLUSH_TIMEOUT: '500',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    };
    const { stdout, stderr, code } = await runs.run({
      file: 'test/fixtures/many-spans.mjs',
      args: ['200000'],
      env,
    });
    assert.equal(code, 0);
    const { grownMiB } = JSON.parse(stdout) as { grownMiB: number };
    // 8,192 spans of the queue, and what one export of them holds; 200,000 would be ten times as much.
    assert.ok(grownMiB < 48, `${grownMiB} MiB`);
    assert.match(
      stderr,
      /^(milvus-otel: Spans cannot be sent [^\n]+\n)?milvus-otel: 200000 spans were lost [^\n]+\n$/,
    );
  } finally {
    await collector.stop();
  }
});
