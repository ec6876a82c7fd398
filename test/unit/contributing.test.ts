import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const root = path.join(import.meta.dirname, '..', '..');
const page = readFileSync(path.join(root, 'CONTRIBUTING.md'), 'utf8');
const map = page.slice(page.indexOf('## Map of the code'), page.indexOf('## Style'));
const named = [...map.matchAll(/^\| (`.*?`) \| /gm)].flatMap(([, cell = '']) =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
);

/** Folders with code: two levels deep where a folder has only folders. */
function foldersWithCode(): string[] {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  const folders = files
    .split('\n')
    .filter((file) => /\.[cm]?[jt]s$/.test(file) && file.includes('/'))
    .map((file) => file.split('/'))
    .map(([top = '', second = '', third]) =>
      ['src', 'tools', 'test'].includes(top) && third !== undefined ? `${top}/${second}/` : `${top}/`,
    );
  return [...new Set(folders)].filter((folder) => !['src/', 'tools/', 'test/'].includes(folder));
}

test('the map names every folder with code, and none that does not exist', () => {
  assert.deepEqual(
    foldersWithCode().filter((folder) => !named.includes(folder)),
    [],
  );
  assert.deepEqual(
    named.filter((name) => !existsSync(path.join(root, name))),
    [],
  );
});

test('the map fits on a screen', () => {
  assert.ok(map.split('\n').length <= 40, `${map.split('\n').length} lines`);
});

test('tests import no command, and commands import no test', () => {
  const files = execFileSync('git', ['ls-files', '*.ts', '*.mjs'], { cwd: root, encoding: 'utf8' }).split(
    '\n',
  );
  const imports = (file: string) => readFileSync(path.join(root, file), 'utf8');
  const wrong = files.filter(
    (file) =>
      existsSync(path.join(root, file)) &&
      ((/^(test|bench|tools)\//.test(file) && /from '(\.\.\/)+scripts\//.test(imports(file))) ||
        (/^(scripts|tools|bench|src)\//.test(file) && /from '(\.\.\/)+test\//.test(imports(file)))),
  );
  assert.deepEqual(wrong, []);
});
