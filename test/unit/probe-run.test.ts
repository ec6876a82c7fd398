import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSettings } from '../../src/config/settings.ts';
import { probeEnvironment } from '../../src/doctor/probe-run.ts';

test('the probe is traced and sends at once, whatever the settings of the app are', () => {
  const environment = probeEnvironment({
    NODE_OPTIONS: '--import milvus-otel/register',
    OTEL_SDK_DISABLED: 'true',
    OTEL_TRACES_EXPORTER: 'console',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: 'a half',
    OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'http',
    OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'milvus',
    OTEL_PROPAGATORS: 'none',
    OTEL_METRICS_EXPORTER: 'otlp',
    OTEL_LOGS_EXPORTER: 'otlp',
    OTEL_LOG_LEVEL: 'none',
  });
  assert.equal(environment.NODE_OPTIONS, undefined);
  const settings = readSettings(environment as Record<string, string>);
  assert.deepEqual(
    [settings.sdkDisabled, settings.tracesExporter, settings.sampler, settings.scheduleDelayMs],
    [false, ['otlp'], 'always_on', 0],
  );
  assert.deepEqual(settings.problems, []);
  const fallbacks = readSettings({});
  for (const key of [
    'enabledInstrumentations',
    'disabledInstrumentations',
    'propagators',
    'metricsExporter',
    'logsExporter',
    'logLevel',
  ] as const)
    assert.deepEqual(settings[key], fallbacks[key], key);
});

test("the probe has the app's collector, credentials and service name, or else the name of the doctor", () => {
  const app = {
    PATH: '/bin',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4317',
    OTEL_EXPORTER_OTLP_HEADERS: 'a=b',
    OTEL_SERVICE_NAME: 'shop',
  };
  const { PATH, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME } =
    probeEnvironment(app);
  assert.deepEqual({ PATH, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME }, app);
  assert.equal(probeEnvironment({}).OTEL_SERVICE_NAME, 'milvus-otel doctor');
  assert.equal(probeEnvironment({ OTEL_SERVICE_NAME: '' }).OTEL_SERVICE_NAME, 'milvus-otel doctor');
});
