import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { watchRegistration } from '../../src/sdk/other-sdk.ts';

/** The copy of the API that a CommonJS module has. */
const otherCopy = createRequire(import.meta.url)('@opentelemetry/api') as typeof api;

const provider = (): api.TracerProvider => ({ getTracer: () => api.createNoopMeter() as never });

const GLOBAL = Symbol.for('opentelemetry.js.api.1');
afterEach(() => {
  Reflect.deleteProperty(globalThis, GLOBAL);
});

/** Numbers of what was noticed so far. */
function watching() {
  let attempts = 0;
  let replacements = 0;
  api.trace.setGlobalTracerProvider(provider());
  watchRegistration(
    () => {
      attempts++;
    },
    () => {
      replacements++;
    },
  );
  return { attempts: () => attempts, replacements: () => replacements };
}

for (const [whose, { trace }] of [
  ['the same copy', api],
  ['another copy', otherCopy],
] as const) {
  test(`a second tracer provider, by ${whose} of the API, is noticed once`, () => {
    const { attempts } = watching();
    trace.setGlobalTracerProvider(provider());
    assert.equal(attempts(), 1);
    trace.setGlobalTracerProvider(provider());
    assert.equal(attempts(), 1);
  });
}

test('the registered provider stays', () => {
  watching();
  const registered = api.trace.getTracerProvider();
  otherCopy.trace.setGlobalTracerProvider(provider());
  assert.equal(api.trace.getTracerProvider(), registered);
  assert.equal(otherCopy.trace.getTracerProvider(), registered);
});

test('uses of the API and other registrations are not noticed', () => {
  const { attempts } = watching();
  for (const { context, diag, metrics, propagation, trace } of [api, otherCopy]) {
    trace.getTracer('app');
    diag.setLogger({ error() {}, warn() {}, info() {}, debug() {}, verbose() {} });
    trace.getTracer('app');
    context.setGlobalContextManager({
      active: () => api.ROOT_CONTEXT,
      with: (_context, run, that, ...args) => run.call(that as never, ...args),
      bind: (_context, target) => target,
      enable() {
        return this;
      },
      disable() {
        return this;
      },
    });
    context.active();
    propagation.fields();
    trace.getTracerProvider();
    metrics.setGlobalMeterProvider({ getMeter: () => api.createNoopMeter() });
    metrics.getMeter('app');
    trace.getActiveSpan();
    diag.disable();
  }
  assert.equal(attempts(), 0);
});

test('after the first one was removed, another one is registered and not noticed', () => {
  const { attempts } = watching();
  api.trace.disable();
  const next = provider();
  assert.ok(api.trace.setGlobalTracerProvider(next));
  assert.equal((api.trace.getTracerProvider() as api.ProxyTracerProvider).getDelegate(), next);
  assert.equal(attempts(), 0);
});

describe('in a process with Sentry', () => {
  beforeEach(() => {
    Reflect.set(globalThis, '__SENTRY__', {});
  });
  afterEach(() => {
    Reflect.deleteProperty(globalThis, '__SENTRY__');
  });

  const scopes = api.createContextKey('sentry_scopes');
  class SentryContextManager extends AsyncLocalStorageContextManager {
    override with: AsyncLocalStorageContextManager['with'] = (context, ...rest) =>
      super.with(context.setValue(scopes, {}), ...rest);
  }

  for (const [whose, copy] of [
    ['the same copy', api],
    ['another copy', otherCopy],
  ] as const) {
    for (const isFirst of [true, false])
      test(`by ${whose} of the API, its context manager is registered ${isFirst ? 'before' : 'after'} its provider`, async () => {
        const plain = new AsyncLocalStorageContextManager();
        api.context.setGlobalContextManager(plain);
        const { attempts, replacements } = watching();
        const registered = (api.trace.getTracerProvider() as api.ProxyTracerProvider).getDelegate();
        const registerProvider = () => assert.ok(copy.trace.setGlobalTracerProvider(provider()));
        if (!isFirst) registerProvider();
        assert.ok(copy.context.setGlobalContextManager(new SentryContextManager()));
        if (isFirst) registerProvider();
        api.context.with(api.ROOT_CONTEXT, () =>
          assert.ok(otherCopy.context.active().getValue(scopes) !== undefined),
        );
        assert.equal(
          (otherCopy.trace.getTracerProvider() as api.ProxyTracerProvider).getDelegate(),
          registered,
        );
        assert.equal(copy.context.setGlobalContextManager(plain), false);
        await turn();
        assert.deepEqual([attempts(), replacements()], [1, 1]);
      });

    test(`another context manager, by ${whose} of the API, does not replace the registered one`, async () => {
      const key = api.createContextKey('key');
      api.context.setGlobalContextManager(new AsyncLocalStorageContextManager());
      const { replacements } = watching();
      await api.context.with(api.ROOT_CONTEXT.setValue(key, 'active'), async () => {
        copy.context.setGlobalContextManager(new AsyncLocalStorageContextManager());
        assert.equal(api.context.active().getValue(key), 'active');
        await turn();
      });
      assert.equal(replacements(), 0);
    });
  }
});
