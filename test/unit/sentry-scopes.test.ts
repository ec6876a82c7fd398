/** What is known of Sentry's SDK from its global and from the registered context manager. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { context, createContextKey } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { areScopesShared, isSentryMixedIn, isSentryWithoutTraces } from '../../src/sdk/sentry-scopes.ts';

class SentryContextManager extends AsyncLocalStorageContextManager {
  override with: AsyncLocalStorageContextManager['with'] = (active, ...rest) =>
    super.with(active.setValue(createContextKey('sentry_scopes'), {}), ...rest);
}

afterEach(() => {
  Reflect.deleteProperty(globalThis, '__SENTRY__');
  context.disable();
});

/** Sentry's global after Sentry.init with these options. */
const start = (options: object) =>
  Reflect.set(globalThis, '__SENTRY__', {
    version: '10.0.0',
    '10.0.0': { defaultCurrentScope: { getClient: () => ({ getOptions: () => options }) } },
  });

const known = () => ({
  withoutTraces: isSentryWithoutTraces(),
  shared: areScopesShared(),
  mixedIn: isSentryMixedIn(),
});
const NONE = { withoutTraces: false, shared: false, mixedIn: false };

test('without Sentry, and before Sentry.init, nothing is reported', () => {
  assert.deepEqual(known(), NONE);
  for (const carrier of [undefined, {}, { version: '10.0.0', '10.0.0': {} }, { '10.0.0': undefined }]) {
    Reflect.set(globalThis, '__SENTRY__', carrier);
    assert.deepEqual(known(), NONE);
  }
});

test('its tracing is off without a rate and a sampler, when its own contexts are registered', () => {
  context.setGlobalContextManager(new SentryContextManager());
  start({});
  assert.deepEqual(known(), { ...NONE, withoutTraces: true });
  for (const options of [
    { tracesSampleRate: 0.1 },
    { tracesSampler: () => 1 },
    { skipOpenTelemetrySetup: true },
  ]) {
    start(options);
    assert.deepEqual(known(), NONE);
  }
});

test('with the contexts of another SDK, its scopes are shared, except in Sentry 11 by default', () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager());
  start({});
  assert.deepEqual(known(), { ...NONE, shared: true });
  start({ enableOpenTelemetrySetup: false });
  assert.deepEqual(known(), NONE);
});

test('Sentry 11 with its setup of OpenTelemetry puts its spans into the contexts', () => {
  context.setGlobalContextManager(new SentryContextManager());
  start({ enableOpenTelemetrySetup: true, tracesSampleRate: 1 });
  assert.deepEqual(known(), { ...NONE, mixedIn: true });
});
