/** The table of tried apps lists what tests run: each row is used by the test that it names. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { TRIED_APPS, type TriedApp } from '../../tools/docs/tried-apps.ts';

const tests = path.join(import.meta.dirname, '..');
const rows: readonly TriedApp[] = TRIED_APPS;

test('every row is in the test that it names, which takes packages and trace from the row', () => {
  for (const { app, test } of rows) {
    const source = readFileSync(path.join(tests, test), 'utf8');
    const isNamed = source.includes(`'${app}'`) || source.includes(app.replace(/^(Next\.js) \d+$/, '`$1 ${'));
    assert.ok(isNamed, `${test} has no '${app}'`);
    assert.match(source, /tried-apps?\.ts/, test);
  }
});

test('every test that names rows is the test of a row', () => {
  const users = globSync('{apps,ecosystem,frameworks}/*.test.ts', { cwd: tests }).filter((file) =>
    /from '.*\/tried-apps?\.ts'/.test(readFileSync(path.join(tests, file), 'utf8')),
  );
  const named = new Set(rows.map((row) => row.test));
  assert.deepEqual(
    users.filter((file) => !named.has(file)),
    [],
  );
});

test('no two rows have the same name', () => {
  const names = rows.map(({ app }) => app);
  assert.deepEqual(names, [...new Set(names)]);
});
