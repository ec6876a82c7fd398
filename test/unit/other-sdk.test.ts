import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { afterEach, test } from 'node:test';
import * as api from '@opentelemetry/api';
import { watchRegistration } from '../../src/sdk/other-sdk.ts';

/** The copy of the API that a CommonJS module has. */
const otherCopy = createRequire(import.meta.url)('@opentelemetry/api') as typeof api;

const provider = (): api.TracerProvider => ({ getTracer: () => api.createNoopMeter() as never });

const GLOBAL = Symbol.for('opentelemetry.js.api.1');
afterEach(() => {
  Reflect.deleteProperty(globalThis, GLOBAL);
});

/** Number of attempts that were noticed so far. */
function watching(): () => number {
  let attempts = 0;
  api.trace.setGlobalTracerProvider(provider());
  watchRegistration(() => {
    attempts++;
  });
  return () => attempts;
}

for (const [whose, { trace }] of [
  ['the same copy', api],
  ['another copy', otherCopy],
] as const) {
  test(`a second tracer provider, by ${whose} of the API, is noticed once`, () => {
    const attempts = watching();
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
  const attempts = watching();
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
  const attempts = watching();
  api.trace.disable();
  const next = provider();
  assert.ok(api.trace.setGlobalTracerProvider(next));
  assert.equal((api.trace.getTracerProvider() as api.ProxyTracerProvider).getDelegate(), next);
  assert.equal(attempts(), 0);
});
