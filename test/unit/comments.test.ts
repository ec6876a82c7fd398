/** Comments stay within the line width of the formatter, which leaves them alone. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const root = path.join(import.meta.dirname, '../..');
const { formatter } = JSON.parse(readFileSync(path.join(root, 'biome.json'), 'utf8'));
const COMMENT = /^\s*(\/\/|\/?\*\*? )/;

test('no comment is wider than the line width', () => {
  const files = execFileSync('git', ['ls-files', '*.ts', '*.mts', '*.cts', '*.mjs', '*.cjs'], {
    cwd: root,
    encoding: 'utf8',
  });
  const names = files.trim().split('\n');
  assert.ok(names.length > 300, `${names.length} files`);
  const wide = names.flatMap((name) =>
    readFileSync(path.join(root, name), 'utf8')
      .split('\n')
      .flatMap((line, at) =>
        COMMENT.test(line) && line.length > formatter.lineWidth && !/biome-ignore/.test(line)
          ? [`${name}:${at + 1}`]
          : [],
      ),
  );
  assert.deepEqual(wide, []);
});
