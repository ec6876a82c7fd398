/** Every exit of a process: its spans are sent, and its exit stays the same. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { useRuns } from './runs.ts';

const runs = useRuns();
const file = 'test/fixtures/search-then-exit.mjs';

/** Accepts connections and never answers. */
let blackHole: string;
/** A port without a listener. */
let unreachable: string;
const hole = net.createServer((socket) => sockets.add(socket.on('error', () => {})));
const sockets = new Set<net.Socket>();
before(async () => {
  const closed = net.createServer();
  for (const server of [hole, closed]) await once(server.listen(0, '127.0.0.1'), 'listening');
  blackHole = `http://127.0.0.1:${(hole.address() as AddressInfo).port}`;
  unreachable = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`;
  closed.close();
});
after(() => {
  for (const socket of sockets) socket.destroy();
  hole.close();
});

/**
 * Starts search-then-exit.mjs; measures the time from its last line to its exit; sends it `signals`
 * meanwhile.
 */
async function end(way: string[], env: Record<string, string>, signals: NodeJS.Signals[] = []) {
  const fixture = runs.start({ file, args: way, env });
  await fixture.waitForStdout(way[0] === 'exit' ? /found/ : /ready/);
  const beganMs = performance.now();
  for (const [index, signal] of signals.entries()) {
    // Signals merge if they come before the program has handled the first.
    if (index > 0) await fixture.waitForStdout(/ignored/);
    fixture.kill(signal);
  }
  const result = await fixture.ended;
  return { ...result, service: fixture.service, endMs: performance.now() - beganMs };
}

describe('the exit of an app stays the same, and all of its spans arrive:', { concurrency: 2 }, () => {
  /** Way → number of its searches. */
  const ways: Record<string, number> = {
    drain: 1,
    closed: 1,
    'exit-code': 1,
    'exit-event': 1,
    'before-exit': 1,
    exit: 1,
    throw: 1,
    'throw-later': 1,
    reject: 1,
    'never-settle': 1,
    'work-before-exit search': 2,
    'work-before-exit read-file': 1,
    'work-before-exit hash-password': 1,
    'work-before-exit command': 1,
    'work-before-exit worker': 1,
  };
  for (const [way, searches] of Object.entries(ways)) {
    test(way, async () => {
      const args = way.split(' ');
      const [untraced, { service, ...traced }] = await Promise.all([
        runs.run({ file, args, preload: false, service: null }),
        runs.run({ file, args }),
      ]);
      // All of stdout, stderr, exit code and signal.
      assert.deepEqual({ ...traced, service: '' }, untraced);

      // connect, then a search each
      const spans = await runs.spans(service, 1 + searches);
      const names = spans.map(({ name }) => name);
      assert.deepEqual(names, ['connect default', ...Array(searches).fill('search quick_setup')]);
    });
  }
});

describe('a handler of beforeExit that writes the first output of the app runs once', {
  concurrency: 2,
}, () => {
  for (const stream of ['log', 'error']) {
    for (const exporter of ['none', 'otlp']) {
      test(`by console.${stream}, metrics: ${exporter}`, async () => {
        const { service, ...result } = await runs.run({
          file: 'test/fixtures/silent-until-before-exit.mjs',
          args: [stream],
          env: { OTEL_METRICS_EXPORTER: exporter },
        });
        const [stdout, stderr] = stream === 'log' ? ['beforeExit 1\n', ''] : ['', 'beforeExit 1\n'];
        assert.deepEqual(result, { stdout, stderr, code: 0, signal: null });
        await runs.spans(service, 1);
      });
    }
  }
});

test('a handler of beforeExit runs once while a batch of spans is in flight', async () => {
  const { service, ...result } = await runs.run({
    file: 'test/fixtures/silent-until-before-exit.mjs',
    args: ['log', '2000'],
  });
  assert.deepEqual(result, { stdout: 'beforeExit 1\n', stderr: '', code: 0, signal: null });
  await runs.spans(service, 2_000);
});

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  describe(`at ${signal}`, { concurrency: 2 }, () => {
    test('an app without a handler exits by it, after its spans are sent', async () => {
      const { service, stdout, stderr, code, signal: by } = await end(['wait'], {}, [signal]);
      assert.deepEqual(
        { stdout, stderr, code, by },
        { stdout: 'found 5\nready\n', stderr: '', code: null, by: signal },
      );
      await runs.spans(service, 2);
    });

    test('a handler that closes down for 300 ms and calls process.exit(7) has its time and its code', async () => {
      const { service, stdout, stderr, code, endMs } = await end(['handler-exits'], {}, [signal]);
      assert.deepEqual(
        { stdout, stderr, code },
        { stdout: `found 5\nready\n${signal}, closing\nclosed\n`, stderr: '', code: 7 },
      );
      assert.ok(endMs >= 290, `${endMs} ms`);
      await runs.spans(service, 2);
    });

    test('a handler that lets the event loop drain exits with 0', async () => {
      const { service, stdout, stderr, code } = await end(['handler-drains'], {}, [signal]);
      assert.deepEqual(
        { stdout, stderr, code },
        { stdout: `found 5\nready\n${signal}\n`, stderr: '', code: 0 },
      );
      await runs.spans(service, 2);
    });

    test('a once handler is called once, and the second signal ends the app', async () => {
      const { service, stdout, stderr, signal: by } = await end(['handler-ignores'], {}, [signal, signal]);
      assert.deepEqual(
        { stdout, stderr, by },
        { stdout: `found 5\nready\n${signal} ignored\n`, stderr: '', by: signal },
      );
      await runs.spans(service, 2);
    });
  });
}

// Added to the bounds below for a busy machine.
const slackMs = 1_500;

describe('without a collector that listens', { concurrency: 2 }, () => {
  for (const protocol of ['grpc', 'http/protobuf', 'http/json']) {
    const env = () => ({ OTEL_EXPORTER_OTLP_ENDPOINT: unreachable, OTEL_EXPORTER_OTLP_PROTOCOL: protocol });

    test(`an app that uses ${protocol} exits within the bound, with its code and one line`, async () => {
      const { stdout, stderr, code, endMs } = await end(['exit-code'], env());
      assert.deepEqual({ stdout, code }, { stdout: 'found 5\nready\n', code: 3 });
      assert.match(stderr, /^milvus-otel: [^\n]+\n$/);
      assert.ok(stderr.includes(unreachable), stderr);
      assert.ok(endMs < 2_000 + slackMs, `${endMs} ms`);
    });
  }

  for (const [way, code] of [
    ['exit', 9],
    ['throw', 1],
  ] as const) {
    test(`${way} keeps its code, with one line`, async () => {
      const fixture = await runs.run({
        file,
        args: [way],
        env: { OTEL_EXPORTER_OTLP_ENDPOINT: unreachable },
      });
      assert.equal(fixture.code, code);
      assert.equal(fixture.stderr.match(/^milvus-otel: .*$/gm)?.length, 1, fixture.stderr);
    });
  }

  test('a signal ends the app as that signal, with one line', async () => {
    const { stderr, signal } = await end(['wait'], { OTEL_EXPORTER_OTLP_ENDPOINT: unreachable }, ['SIGTERM']);
    assert.equal(signal, 'SIGTERM');
    assert.match(stderr, /^milvus-otel: [^\n]+ECONNREFUSED[^\n]+\n$/);
  });
});

describe('with a collector that never answers', { concurrency: 2 }, () => {
  for (const protocol of ['grpc', 'http/protobuf']) {
    test(`the exit of an app that uses ${protocol} takes OTEL_NODE_FLUSH_TIMEOUT`, async () => {
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: blackHole,
        OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
        OTEL_NODE_FLUSH_TIMEOUT: '700',
      };
      const { stdout, stderr, code, endMs } = await end(['exit-code'], env);
      assert.deepEqual({ stdout, code }, { stdout: 'found 5\nready\n', code: 3 });
      assert.match(stderr, /^milvus-otel: 2 spans [^\n]+\n$/);
      assert.ok(endMs >= 600 && endMs < 700 + slackMs, `${endMs} ms`);
    });
  }

  test('the exit takes 2 s by default', async () => {
    const { stderr, code, endMs } = await end(['exit-code'], { OTEL_EXPORTER_OTLP_ENDPOINT: blackHole });
    assert.equal(code, 3);
    assert.match(stderr, /^milvus-otel: 2 spans [^\n]+\n$/);
    assert.ok(endMs >= 1_900 && endMs < 2_000 + slackMs, `${endMs} ms`);
  });

  test('process.exit() takes OTEL_NODE_FLUSH_TIMEOUT', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: blackHole, OTEL_NODE_FLUSH_TIMEOUT: '700' };
    const { stderr, code, endMs } = await end(['exit'], env);
    assert.equal(code, 9);
    assert.match(stderr, /^milvus-otel: 2 spans [^\n]+\n$/);
    assert.ok(endMs >= 600 && endMs < 700 + slackMs, `${endMs} ms`);
  });

  test('a signal ends the app as that signal after OTEL_NODE_FLUSH_TIMEOUT', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: blackHole, OTEL_NODE_FLUSH_TIMEOUT: '700' };
    const { stderr, signal, endMs } = await end(['wait'], env, ['SIGINT']);
    assert.equal(signal, 'SIGINT');
    assert.match(stderr, /^milvus-otel: 2 spans [^\n]+\n$/);
    assert.ok(endMs >= 600 && endMs < 700 + slackMs, `${endMs} ms`);
  });

  test('OTEL_NODE_FLUSH_TIMEOUT=0 does not delay the exit', async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: blackHole, OTEL_NODE_FLUSH_TIMEOUT: '0' };
    const { code, endMs } = await end(['exit-code'], env);
    assert.equal(code, 3);
    // Well below the default of 2 s.
    assert.ok(endMs < slackMs, `${endMs} ms`);
  });
});
