import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { diag } from '@opentelemetry/api';
import { readSettings, SETTINGS } from '../../src/config/settings.ts';
import { createDiagnostics, describeProblem, showOpenTelemetryMessages } from '../../src/sdk/diagnostics.ts';

type Level = ReturnType<typeof readSettings>['logLevel'];

/** The lines that are written at a level. */
function recorder(level: Level) {
  const lines: string[] = [];
  return { lines, diagnostics: createDiagnostics(level, (line) => lines.push(line)) };
}

afterEach(() => diag.disable());

test('a warning is one line with the prefix milvus-otel', () => {
  const { lines, diagnostics } = recorder(undefined);
  diagnostics.warn('the collector cannot be reached.');
  assert.deepEqual(lines, ['milvus-otel: the collector cannot be reached.\n']);
});

test('each text is logged once', () => {
  for (const say of ['warn', 'info'] as const) {
    const { lines, diagnostics } = recorder('info');
    for (const text of ['one', 'two', 'one', 'two', 'one']) diagnostics[say](text);
    assert.deepEqual(lines, ['milvus-otel: one\n', 'milvus-otel: two\n']);
  }
});

test('warnings are logged unless the level is none or error, facts from info on', () => {
  for (const [level, warns, informs] of [
    [undefined, true, false],
    ['none', false, false],
    ['error', false, false],
    ['warn', true, false],
    ['info', true, true],
    ['debug', true, true],
    ['verbose', true, true],
    ['all', true, true],
  ] as const) {
    const { lines, diagnostics } = recorder(level);
    diagnostics.warn('w');
    diagnostics.info('i');
    const expected = [...(warns ? ['milvus-otel: w\n'] : []), ...(informs ? ['milvus-otel: i\n'] : [])];
    assert.deepEqual(lines, expected, `at level ${level}`);
  }
});

test('a problem is described with variable, value, accepted values and the one used', () => {
  const { problems } = readSettings({ OTEL_BSP_SCHEDULE_DELAY: 'soon', OTEL_SERVICE_NAME: 'app' });
  assert.deepEqual(problems.map(describeProblem), [
    'OTEL_BSP_SCHEDULE_DELAY=soon cannot be used (expected a whole number of ms, 0 or more); 5000 is used.',
  ]);
});

test('a problem without a fallback reports that the value is ignored', () => {
  const { problems } = readSettings({ OTEL_RESOURCE_ATTRIBUTES: 'production' });
  assert.deepEqual(problems.map(describeProblem), [
    'OTEL_RESOURCE_ATTRIBUTES: pair 1 (no =) cannot be used (expected key=value pairs separated by commas, percent-encoded); it is ignored.',
  ]);
});

test('every bad value is described in one line', () => {
  const env = Object.fromEntries(Object.values(SETTINGS).map((row) => [row.env, ' neither this\nnor that ']));
  for (const problem of readSettings(env).problems) {
    const line = describeProblem(problem);
    assert.ok(line.startsWith(`${problem.variable}=`));
    assert.doesNotMatch(line, /\n/);
  }
});

test("OpenTelemetry's own messages are shown at the configured level and above", () => {
  const lines: string[] = [];
  showOpenTelemetryMessages('warn', (line) => lines.push(line));
  diag.error('broken', { port: 4317 }, 'twice');
  diag.warn('odd');
  diag.info('not asked for');
  diag.debug('not asked for');
  assert.deepEqual(lines, ['milvus-otel: [error] broken {"port":4317} twice\n', 'milvus-otel: [warn] odd\n']);
});

test("OpenTelemetry's own messages are hidden without a configured level", () => {
  for (const level of [undefined, 'none'] as const) {
    const lines: string[] = [];
    showOpenTelemetryMessages('error', () => {});
    showOpenTelemetryMessages(level, (line) => lines.push(line));
    diag.error('broken');
    assert.deepEqual(lines, []);
  }
});

test('details of any kind can be shown: errors by their message, values outside of JSON by their type', () => {
  const lines: string[] = [];
  showOpenTelemetryMessages('error', (line) => lines.push(line));
  const cyclic = Object.assign(Object.create(null), { self: undefined });
  cyclic.self = cyclic;
  const refusing = Object.defineProperty({}, 'toJSON', {
    get() {
      throw new Error('no');
    },
  });
  diag.error('m', new Error('why'), undefined, 12n, cyclic, refusing, null, ['a']);
  assert.deepEqual(lines, ['milvus-otel: [error] m why undefined (bigint) (object) (object) null ["a"]\n']);
});
