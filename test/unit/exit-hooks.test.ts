/**
 * When each kind of exit flushes and closes the telemetry. The test replaces `process` and emits its events.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { flushAtExit } from '../../src/shutdown/exit-hooks.ts';

const realProcess = process;
const LIMIT_MS = 1_000;

/** Actions of the process and the telemetry, in order. */
let log: string[] = [];

class StandIn extends EventEmitter {
  pid = 4711;
  resources: string[] = [];
  nowMs = 0;
  stdout = {};
  stderr = {};
  getActiveResourcesInfo = () => [...this.resources];
  uptime = () => this.nowMs / 1_000;
  kill = (_pid: number, signal: string) => log.push(`killed by ${signal}`);
  exit = () => log.push('process.exit()');
  reallyExit: ((code: number) => void) | undefined = (code) => log.push(`exited with ${code}`);
}

let app: StandIn;
beforeEach(() => {
  log = [];
  app = new StandIn();
  globalThis.process = app as unknown as NodeJS.Process;
});
afterEach(() => {
  globalThis.process = realProcess;
});

/** Telemetry whose flush takes `flushMs` on the stand-in's clock, and resolves to `isOver`. */
function install({ pending = true, flushMs = 0, isOver = true } = {}) {
  const telemetry = {
    hasPendingSpans: () => pending,
    send: async () => true,
    async flush(limitMs: number) {
      log.push(`flush ${limitMs}`);
      app.nowMs += flushMs;
      pending = false;
      return isOver;
    },
    close: (leftMs: number) => log.push(`close ${leftMs}`),
    adopt() {},
  };
  flushAtExit(telemetry as never, LIMIT_MS);
}

/** Emits beforeExit as Node does when the event loop has drained. */
async function drain(): Promise<void> {
  app.emit('beforeExit', 0);
  for (let turn = 0; turn < 7; turn++) await nextTurn();
}

describe('when the event loop drains', () => {
  test('pending spans are flushed, and the telemetry closes after the exit handlers of the app', async () => {
    install();
    app.on('exit', () => log.push("the app's exit"));
    await drain();
    await drain();
    app.emit('exit', 0);
    assert.deepEqual(log, ['flush 1000', "the app's exit", 'close 1000']);
  });

  test('the telemetry also closes after exit handlers that the app installs during beforeExit', async () => {
    install({ pending: false });
    app.on('beforeExit', () => app.on('exit', () => log.push("the app's exit")));
    await drain();
    app.emit('exit', 0);
    assert.deepEqual(log, ["the app's exit", 'close 1000']);
  });

  test('there is no flush without pending spans, and the app receives each beforeExit', async () => {
    install({ pending: false });
    app.on('beforeExit', () => log.push("the app's beforeExit"));
    await drain();
    await drain();
    assert.deepEqual(log, Array(2).fill("the app's beforeExit"));
  });

  test('the flush waits for work that a beforeExit handler has started', async () => {
    install();
    app.on('beforeExit', () => app.resources.push('TCPSocketWrap'));
    await drain();
    assert.deepEqual(log, []);
  });

  test('a request with spans that is in flight at beforeExit does not count as work of the app', async () => {
    install();
    app.on('beforeExit', () => {
      log.push("the app's beforeExit");
      app.resources.push('TCPSocketWrap');
      setImmediate(() => setImmediate(() => app.resources.pop()));
    });
    await drain();
    assert.deepEqual(log, ["the app's beforeExit", 'flush 1000']);
  });

  test('a failed flush causes no error in the app', async () => {
    install();
    app.rawListeners = () => {
      throw new TypeError('frozen');
    };
    await drain();
    assert.deepEqual(log, ['flush 1000']);
  });

  test('a new resource counts as work, an older one of the same type does not', async () => {
    install();
    app.resources = ['PipeWrap'];
    let started = ['PipeWrap', 'PipeWrap'];
    app.on('beforeExit', () => {
      app.resources = started;
    });
    await drain();
    assert.deepEqual(log, []);
    started = app.resources;
    await drain();
    assert.deepEqual(log, ['flush 1000']);
  });

  test('the app receives beforeExit once, although the flush makes Node emit it again', async () => {
    install();
    app.on('beforeExit', () => log.push("the app's beforeExit"));
    await drain();
    await drain();
    assert.deepEqual(log, ["the app's beforeExit", 'flush 1000']);
    await drain();
    assert.equal(log.at(-1), "the app's beforeExit", 'its handler is back after that');
  });

  test('a flush that exceeds its limit does not keep the process alive', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    install({ isOver: false });
    await drain();
    t.mock.timers.tick(1_000);
    assert.deepEqual(log, ['flush 1000', 'process.exit()']);
  });

  test('closing gets the remaining time of the limit, and none when the flush was incomplete', async () => {
    install({ flushMs: 700 });
    await drain();
    await drain();
    app.emit('exit', 0);
    assert.equal(log.at(-1), 'close 300');
  });

  test('closing gets no time when the flush took longer than the limit', async () => {
    install({ flushMs: 5_000 });
    await drain();
    await drain();
    app.emit('exit', 0);
    assert.equal(log.at(-1), 'close 0');
  });

  test('streams that the app has closed do not prevent the flush', async () => {
    install();
    Object.defineProperty(app, 'stdout', {
      get() {
        throw new Error('closed');
      },
    });
    await drain();
    assert.deepEqual(log, ['flush 1000']);
  });
});

describe('process.exit()', () => {
  test('closes after the exit handlers of the app, with the full limit, and keeps the code', () => {
    install();
    app.on('exit', () => log.push("the app's exit"));
    app.emit('exit', 3);
    app.reallyExit?.(3);
    assert.deepEqual(log, ["the app's exit", 'close 1000', 'exited with 3']);
  });

  test('closes once, even when an exit handler calls it again', () => {
    install();
    app.emit('exit', 0);
    app.reallyExit?.(0);
    app.reallyExit?.(0);
    assert.equal(log.filter((line) => line.startsWith('close')).length, 1);
  });

  test('closes in the exit event when Node has no process.reallyExit', () => {
    app.reallyExit = undefined;
    install();
    app.emit('exit', 0);
    assert.deepEqual(log, ['close 1000']);
  });
});

describe('an uncaught exception', () => {
  test('closes after the exit handlers of the app', () => {
    install();
    app.on('exit', () => log.push("the app's exit"));
    app.emit('uncaughtExceptionMonitor', new Error('of the app'));
    app.emit('exit', 1);
    assert.deepEqual(log, ["the app's exit", 'close 1000']);
  });

  test('in an exit handler closes at once, because Node calls no further handler', () => {
    install();
    app.emit('exit', 0);
    app.emit('uncaughtExceptionMonitor', new Error('of the app'));
    assert.deepEqual(log, ['close 1000']);
  });
});

describe('a signal', () => {
  const turns = async () => {
    for (let turn = 0; turn < 7; turn++) await nextTurn();
  };

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'])
    test(`${signal} flushes, closes and then ends the process by the same signal, once`, async () => {
      install();
      app.emit(signal, signal);
      app.emit(signal, signal);
      await turns();
      assert.deepEqual(log, ['flush 1000', 'close 1000', `killed by ${signal}`]);
      assert.equal(app.listenerCount(signal), 0, 'else the signal would not end the process');
    });

  test('that the app handles is left to the app', async () => {
    install();
    app.on('SIGTERM', () => log.push("the app's handler"));
    await turns();
    assert.equal(app.listenerCount('SIGTERM'), 1);
    app.emit('SIGTERM', 'SIGTERM');
    await turns();
    assert.deepEqual(log, ["the app's handler"]);
  });

  test('always has a handler while the app installs its own', () => {
    install();
    app.on('SIGTERM', () => {});
    assert.equal(app.listenerCount('SIGTERM'), 2);
  });

  test('with a handler from before the preload is left to that handler', () => {
    app.on('SIGTERM', () => {});
    install();
    assert.equal(app.listenerCount('SIGTERM'), 1);
  });

  test('has a handler again after the app has removed its own, by off() or removeAllListeners()', async () => {
    install();
    const handler = () => {};
    app.on('SIGTERM', handler);
    await turns();
    app.off('SIGTERM', handler);
    app.on('SIGINT', handler);
    await turns();
    app.removeAllListeners('SIGINT');
    for (const signal of ['SIGTERM', 'SIGINT']) {
      assert.equal(app.listenerCount(signal), 1);
      assert.notEqual(app.listeners(signal)[0], handler);
    }
  });

  test('ends the process without a flush when no span is pending', async () => {
    install({ pending: false });
    app.emit('SIGINT', 'SIGINT');
    await turns();
    assert.deepEqual(log, ['close 1000', 'killed by SIGINT']);
  });
});
