import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { chooseTests } from '../../tools/processes/test-files.ts';

const root = path.join(import.meta.dirname, '..', '..');
const usual = ['test/doctor/app.test.ts', 'test/unit/clock.test.ts', 'test/unit/metrics.test.ts'];
const byPath = ['test/jaeger/doctor.test.ts'];
const filesFor = (...args: string[]) => chooseTests(args, usual, byPath).files;

describe('the arguments of commands that run tests', () => {
  test('choose all usual files when they name none', () => {
    assert.deepEqual(filesFor('--test-only'), usual);
  });

  test('choose a file by its path, also with ./, and an absolute one', () => {
    for (const name of [usual[1], `./${usual[1]}`, path.join(root, usual[1] as string)])
      assert.deepEqual(filesFor(name as string), [usual[1]]);
  });

  test('choose files by a part of the path and by a glob, each file once', () => {
    assert.deepEqual(filesFor('unit'), usual.slice(1));
    assert.deepEqual(filesFor('test/unit/m*.test.ts'), [usual[2]]);
    assert.deepEqual(filesFor('metrics', 'unit'), [usual[2], usual[1]]);
  });

  test('choose a file of another command by its path only', () => {
    assert.deepEqual(filesFor(byPath[0] as string), byPath);
    assert.deepEqual(filesFor('doctor'), [usual[0]]);
  });

  test('pass options on and take none of them as a file', () => {
    const options = ['--test-name-pattern=app', '--test-only'];
    assert.deepEqual(chooseTests([...options, 'clock'], usual), { options, files: [usual[1]] });
  });

  test('fail with the list of files when one fits no file', () => {
    assert.throws(() => filesFor('clock', 'nonsense'), /No test file for "nonsense"[\s\S]*metrics\.test\.ts/);
  });
});

const COMMANDS = {
  test: 'npm test',
  'test-jaeger': 'npm run test:jaeger',
  'test-frameworks': 'npm run test:frameworks',
};

for (const [script, command] of Object.entries(COMMANDS)) {
  const file = path.join(root, 'scripts', `${script}.ts`);

  test(`${command} describes the same arguments by --help`, () => {
    const help = execFileSync(process.execPath, [file, '--help'], { encoding: 'utf8' });
    const usages = [command, `${command} -- FILE …`, `${command} -- --OPTION=VALUE …`];
    const lines = help.split('\n');
    for (const usage of usages)
      assert.ok(
        lines.some((line) => line.startsWith(`${usage}  `)),
        `${usage} in ${help}`,
      );
    assert.ok(
      lines.every((line) => line.length <= 126),
      help,
    );
  });

  test(`${command} fails before it builds or starts anything when no test file fits`, () => {
    const { status, stderr } = spawnSync(process.execPath, [file, 'nonsense'], { encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /^No test file for "nonsense".*There are:\n {2}test\/\S+\.test\.ts\n/);
  });
}
