import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { afterEach, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { keepRegistration } from '../../src/sdk/kept-registration.ts';

/** The copy of the API that a CommonJS module has. */
const otherCopy = createRequire(import.meta.url)('@opentelemetry/api') as typeof api;

const GLOBAL = Symbol.for('opentelemetry.js.api.1');
afterEach(() => {
  Reflect.deleteProperty(globalThis, GLOBAL);
});

const provider = (): api.TracerProvider => ({ getTracer: () => ({ mine: true }) as never });
const meters = (): api.MeterProvider => ({ getMeter: () => api.createNoopMeter() });

/** Registers all parts. Returns how often they were registered again, and how often another SDK was. */
function registered() {
  let again = 0;
  let others = 0;
  api.trace.setGlobalTracerProvider(provider());
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  api.metrics.setGlobalMeterProvider(meters());
  keepRegistration(
    () => {
      again++;
    },
    () => {
      others++;
    },
  );
  return { again: () => again, others: () => others };
}

const turnOff = ({ trace, context, metrics }: typeof api) => {
  for (const part of [trace, context, metrics]) part.disable();
};

for (const [whose, copy] of [
  ['the same copy', api],
  ['another copy', otherCopy],
] as const) {
  test(`all parts are registered again after ${whose} of the API has removed them`, async () => {
    const { again, others } = registered();
    const before = { ...(globalThis as Record<symbol, object>)[GLOBAL] };
    for (const times of [1, 2]) {
      turnOff(copy);
      await turn();
      assert.deepEqual((globalThis as Record<symbol, unknown>)[GLOBAL], before);
      assert.deepEqual([again(), others()], [times, 0]);
    }
  });
}

test('a context that is active meanwhile stays active', async () => {
  registered();
  const key = api.createContextKey('key');
  await api.context.with(api.ROOT_CONTEXT.setValue(key, 'kept'), async () => {
    turnOff(api);
    await turn();
    assert.equal(api.context.active().getValue(key), 'kept');
  });
});

test('what the app registers instead stays, alone when it is another SDK', async () => {
  const { again, others } = registered();
  turnOff(api);
  const own = meters();
  api.metrics.setGlobalMeterProvider(own);
  await turn();
  assert.equal(api.metrics.getMeterProvider(), own);
  assert.deepEqual([again(), others()], [1, 0]);

  turnOff(api);
  const next = provider();
  api.trace.setGlobalTracerProvider(next);
  await turn();
  assert.equal((api.trace.getTracerProvider() as api.ProxyTracerProvider).getDelegate(), next);
  api.context.with(api.ROOT_CONTEXT.setValue(api.createContextKey('key'), 1), () =>
    assert.equal(api.context.active(), api.ROOT_CONTEXT),
  );
  assert.deepEqual([again(), others()], [1, 1]);
});
