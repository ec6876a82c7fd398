/** Members of OpenTelemetry's classes that are not public are used only where they exist. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { isSdkSpan, withoutLogs } from '../../src/sdk/sdk-internals.ts';

test('NodeSDK without logs reads no variable about them', () => {
  const sdk = withoutLogs(NodeSDK, {});
  assert.ok(Object.hasOwn(sdk, 'configureLoggerProviderFromEnv'), 'this NodeSDK has another method');
});

test('a NodeSDK without that method gets an empty list of processors', () => {
  const given: unknown[] = [];
  class Another {
    constructor(options: Partial<NodeSDKConfiguration>) {
      given.push(options);
    }
  }
  const sdk = withoutLogs(Another as unknown as typeof NodeSDK, { autoDetectResources: false });
  assert.ok(sdk instanceof Another);
  assert.deepEqual(given, [{ autoDetectResources: false, logRecordProcessors: [] }]);
});

test('a span of another class is not taken for one of the SDK', () => {
  assert.equal(isSdkSpan({}), false);
  assert.equal(isSdkSpan({ _performanceStartTime: 1 }), false);
  assert.equal(isSdkSpan({ _performanceStartTime: 1, _startTimeProvided: false }), true);
});
