/** Telemetry of a configuration file, whose providers exist for the test alone. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { logs, metrics, trace } from '@opentelemetry/api';
import { startFromFile } from '../../src/sdk/declarative-config.ts';
import { appFolder } from '../support/app-folder.ts';
import { stubPart } from '../support/source-parts.ts';

stubPart('declarative-configuration', 'export const startNodeSDK = () => globalThis.startOfTest();');
const configFile = path.join(appFolder({ 'otel.yaml': '' }), 'otel.yaml');
afterEach(() => {
  for (const api of [trace, metrics, logs]) api.disable();
});

/** Starts with providers whose flush is this, in the order of traces, metrics, logs. */
function start(...flushes: (() => Promise<void>)[]) {
  const [ofTraces, ofMetrics, ofLogs] = flushes.map((forceFlush) => ({ forceFlush }));
  const startOfTest = () => {
    trace.setGlobalTracerProvider(ofTraces as never);
    if (ofMetrics !== undefined) metrics.setGlobalMeterProvider(ofMetrics as never);
    if (ofLogs !== undefined) logs.setGlobalLoggerProvider(ofLogs as never);
  };
  Object.assign(globalThis, { startOfTest });
  return startFromFile(configFile);
}

test('a file that cannot be read is named', () => {
  assert.throws(() => startFromFile('/no-such-file.yaml'), {
    message: 'OTEL_CONFIG_FILE=/no-such-file.yaml cannot be read',
  });
});

test('all signals that the file turns on are sent, and are pending until they are flushed at exit', async () => {
  const flushed: string[] = [];
  const telemetry = start(
    ...['traces', 'metrics', 'logs'].map((signal) => async () => void flushed.push(signal)),
  );
  assert.equal(telemetry.hasPendingSpans(), true);
  assert.equal(await telemetry.send(1_000), true);
  assert.deepEqual([flushed, telemetry.hasPendingSpans()], [['traces', 'metrics', 'logs'], true]);
  assert.equal(await telemetry.flush(1_000), true);
  assert.deepEqual([flushed.length, telemetry.hasPendingSpans()], [6, false]);
});

test('a flush that hangs is not awaited longer than the limit, and one that fails is over', async () => {
  const hangs = () => new Promise<void>(() => {});
  const fails = () => Promise.reject(new Error('unreachable'));
  assert.equal(await start(fails, hangs).flush(20), false);
  for (const api of [trace, metrics]) api.disable();
  assert.equal(await start(fails).flush(1_000), true);
});
