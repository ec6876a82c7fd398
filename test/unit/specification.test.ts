/** The table of variables compared with OpenTelemetry's specification; each difference has a reason. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SETTINGS, shownFallback } from '../../src/config/settings.ts';
import specification from '../../tools/docs/specification-variables.json' with { type: 'json' };
import { UNSUPPORTED_VALUES, UNSUPPORTED_VARIABLES } from '../../tools/docs/unsupported-variables.ts';

interface Row {
  env: string;
  fallback: unknown;
  shownFallback?: string;
  ownDefault?: boolean;
  known?: readonly string[];
}

const rows = new Map((Object.values(SETTINGS) as Row[]).map((row) => [row.env, row]));
const variables = specification.variables as Record<string, { default?: string; status?: string }>;

test('each variable of the specification has a row, or a reason why not', () => {
  for (const name of Object.keys(variables))
    assert.ok(rows.has(name) !== name in UNSUPPORTED_VARIABLES, `${name}: a row, or else a reason`);
  for (const name of Object.keys(UNSUPPORTED_VARIABLES)) assert.ok(name in variables, `${name} is specified`);
});

test("a default is the specification's, or is marked as ours", () => {
  for (const [name, { default: specified }] of Object.entries(variables)) {
    const row = rows.get(name);
    if (row === undefined || specified === undefined) continue;
    const fallback = shownFallback(row);
    // A limit for spans or log records falls back to the one for all attributes, which has the same default.
    const own = rows.get(fallback) === undefined ? fallback : shownFallback(rows.get(fallback) as Row);
    if (row.ownDefault) assert.notEqual(own, specified, `${name} has the specification's default`);
    else assert.equal(own, specified, name);
  }
});

test('each value of the specification is known, or has a reason why not', () => {
  for (const [name, values] of Object.entries(specification.values)) {
    if (name in UNSUPPORTED_VARIABLES) continue;
    const known = rows.get(name)?.known ?? [];
    for (const value of values)
      assert.ok(
        known.includes(value) !== value in (UNSUPPORTED_VALUES[name] ?? {}),
        `${name}=${value}: known, or else a reason`,
      );
  }
  for (const [name, values] of Object.entries(UNSUPPORTED_VALUES)) {
    const specified: string[] = (specification.values as Record<string, string[]>)[name] ?? [];
    for (const value of Object.keys(values))
      assert.ok(specified.includes(value), `${name}=${value} is specified`);
  }
});

test('every other row is of a variable of this package or of OpenTelemetry for JavaScript', () => {
  for (const name of rows.keys())
    if (!(name in variables)) assert.match(name, /^OTEL_(NODE|INSTRUMENTATION_MILVUS)_/);
});
