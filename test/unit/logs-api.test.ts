/** The logs API that stands in where @opentelemetry/api has none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as api from '@opentelemetry/api';
import * as present from '../../src/sdk/logs-api.ts';

const standIn = () => present.withoutLogsApi();

test('an API with logs is used as it is', () => {
  assert.equal(present.logs, api.logs);
  assert.equal(present.SeverityNumber, api.SeverityNumber);
});

test('the stand-in has the members and the severities of the API', () => {
  const { logs, SeverityNumber, createNoopLogger } = standIn();
  assert.deepEqual(SeverityNumber, api.SeverityNumber);
  const members = (object: object) => Object.getOwnPropertyNames(Object.getPrototypeOf(object)).sort();
  assert.deepEqual(members(logs), members(api.logs));
  assert.equal(createNoopLogger().enabled(), false);
});

test('its provider is the first that was set, and loggers of no provider drop their records', () => {
  const { logs } = standIn();
  const emitted: unknown[] = [];
  logs.getLogger('app').emit({ body: 'dropped' });
  const provider = {
    getLogger: () => ({ emit: (record: unknown) => emitted.push(record), enabled: () => true }),
  };
  assert.ok(logs.setGlobalLoggerProvider(provider));
  assert.ok(!logs.setGlobalLoggerProvider({ getLogger: () => api.createNoopLogger() }));
  assert.equal(logs.getLoggerProvider(), provider);
  logs.getLogger('app').emit({ body: 'kept' });
  assert.deepEqual(emitted, [{ body: 'kept' }]);
  logs.disable();
  logs.getLogger('app').emit({ body: 'dropped' });
  assert.equal(emitted.length, 1);
});
