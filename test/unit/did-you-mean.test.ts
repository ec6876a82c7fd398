import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { nearestName } from '../../src/config/did-you-mean.ts';
import { readSettings } from '../../src/config/settings.ts';
import { describeMisspelling } from '../../src/sdk/diagnostics.ts';

test('the nearest known name is suggested, with at most one typo per six characters', () => {
  const known = ['http', 'express', 'pg', 'generic-pool'];
  for (const [name, meant] of [
    ['exprss', 'express'],
    ['expresss', 'express'],
    ['exrpess', 'express'],
    ['htpp', 'http'],
    ['generic_pool', 'generic-pool'],
    ['express', 'express'],
    ['exps', undefined],
    ['pq', undefined],
    ['', undefined],
    ['redis', undefined],
  ] as const)
    assert.equal(nearestName(name, known), meant, name);
});

test('of several near names the nearest is suggested, and of equally near ones the first', () => {
  assert.equal(nearestName('generik', ['generics', 'generic']), 'generic');
  assert.equal(nearestName('generik', ['generip', 'generic']), 'generip');
});

const misspelled = (name: string, value = 'x') => readSettings({ [name]: value }).misspellings;

test('the report of a mistyped variable suggests the right name and hides the value', () => {
  for (const [variable, meant] of [
    ['OTEL_EXPORTER_OLTP_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'],
    ['OTEL_EXPORTER_OTLP_TRACE_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'],
    ['OTEL_EXPORTER_OTLP_HEADER', 'OTEL_EXPORTER_OTLP_HEADERS'],
    ['OTEL_SERVICENAME', 'OTEL_SERVICE_NAME'],
    ['OTEL_TRACE_SAMPLER', 'OTEL_TRACES_SAMPLER'],
    ['OTEL_TRACES_SAMPLER_ARGS', 'OTEL_TRACES_SAMPLER_ARG'],
    ['OTEL_LOGLEVEL', 'OTEL_LOG_LEVEL'],
    ['OTEL_SDK_DISABLE', 'OTEL_SDK_DISABLED'],
    ['OTEL_METRICS_EXPORT_INTERVAL', 'OTEL_METRIC_EXPORT_INTERVAL'],
    ['OTEL_RESOURCE_ATTRIBUTE', 'OTEL_RESOURCE_ATTRIBUTES'],
    ['OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTERS', 'OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER'],
  ] as const) {
    const found = misspelled(variable, 'hunter2');
    assert.deepEqual(found, [{ variable, meant }]);
    assert.match(
      describeMisspelling(found[0] as (typeof found)[0]),
      new RegExp(`^Unknown variable ${variable} .*${meant}\\?$`),
    );
    assert.doesNotMatch(describeMisspelling(found[0] as (typeof found)[0]), /hunter2|\n/);
  }
});

test('known names of other components, unlike names, empty values and other prefixes are not reported', () => {
  for (const variable of [
    'OTEL_BLRP_SCHEDULE_DELAY',
    'OTEL_EXPORTER_OTLP_LOGS_INSECURE',
    'OTEL_EXPORTER_OTLP_METRICS_HEADERS',
    'OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT',
    'OTEL_EXPORTER_JAEGER_ENDPOINT',
    'OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT',
    'OTEL_SERVICE_VERSION',
    'OTEL_PYTHON_LOG_LEVEL',
    'OTEL_METRICS_EXEMPLAR_FILTER',
    'OTEL_GO_AUTO_SERVICE_NAME',
    'OTEL_INSTRUMENTATION_JDBC_ENABLED',
    'OTEL_MY_OWN_THING',
    'OTEL_',
    'OTLE_SERVICE_NAME',
    'MY_OTEL_SERVICE_NAM',
  ])
    assert.deepEqual(misspelled(variable), [], variable);
  assert.deepEqual(misspelled('OTEL_SERVICENAME', ' '), []);
});

test('no name in the sources of the OpenTelemetry packages is taken for a mistyped one', async () => {
  const folder = path.join(import.meta.dirname, '../../node_modules/@opentelemetry');
  const names = new Set<string>();
  for (const file of await readdir(folder, { recursive: true })) {
    if (!/\.(mjs|js)$/.test(file)) continue;
    const text = await readFile(path.join(folder, file), 'utf8');
    for (const [name] of text.matchAll(/\bOTEL_[A-Z0-9_]*[A-Z0-9]\b/g)) names.add(name);
  }
  assert.ok(names.has('OTEL_BLRP_SCHEDULE_DELAY') && names.size > 50, `only ${names.size} names were found`);
  for (const name of names) assert.deepEqual(misspelled(name), [], name);
});
