import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { entriesOf, obstacles, packedFiles, withRelease } from '../../tools/release/release.ts';

const root = path.join(import.meta.dirname, '..', '..');
const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));

const CHANGELOG = `# Changelog

## [Unreleased]

### Fixed

- A fault.

## [0.1.0] - 2026-01-02

- The first.
`;

test('a release moves the unreleased entries under its own heading', () => {
  const released = withRelease(CHANGELOG, '0.2.0', '2026-02-03');
  assert.equal(entriesOf(released, 'Unreleased'), '');
  assert.match(released, /^## \[0\.2\.0\] - 2026-02-03$/m);
  assert.equal(entriesOf(released, '0.2.0'), '### Fixed\n\n- A fault.');
  assert.equal(entriesOf(released, '0.1.0'), '- The first.');
});

test('a version that is invalid, exists already, or has no entries is refused', () => {
  assert.throws(() => withRelease(CHANGELOG, 'next', '2026-02-03'), /next is not a version/);
  assert.throws(() => withRelease(CHANGELOG, '0.1.0', '2026-02-03'), /already has a section 0\.1\.0/);
  const empty = withRelease(CHANGELOG, '0.2.0', '2026-02-03');
  assert.throws(() => withRelease(empty, '0.3.0', '2026-02-04'), /no entries under Unreleased/);
});

test('a tag of another version, a missing entry and a missing or foreign file are named', () => {
  assert.deepEqual(obstacles('v0.2.0', '0.1.0', CHANGELOG, ['dist/register.cjs', 'test/a.ts']).slice(0, 2), [
    'the tag is v0.2.0, but package.json has version 0.1.0',
    'the package lacks package.json',
  ]);
  assert.deepEqual(
    obstacles('v0.2.0', '0.2.0', CHANGELOG, []).at(0),
    'CHANGELOG.md has no entries for 0.2.0',
  );
  assert.ok(
    obstacles('v0.1.0', '0.1.0', CHANGELOG, ['test/a.ts']).includes('the package contains test/a.ts'),
  );
});

test('the package that npm would pack now has no sources and no tests', async () => {
  const files = await packedFiles(root);
  assert.ok(files.includes('bin/milvus-otel.cjs'), files.join('\n'));
  const foreign = obstacles(`v${manifest.version}`, manifest.version, CHANGELOG, files).filter((line) =>
    line.includes('contains'),
  );
  assert.deepEqual(foreign, []);
});

test('a command without a version prints the usage and exits with code 2', () => {
  const { status, stderr } = spawnSync(process.execPath, [path.join(root, 'scripts/release.ts')], {
    encoding: 'utf8',
  });
  assert.equal(status, 2);
  assert.match(stderr, /^npm run release -- 1\.2\.3/);
});

test('the workflows run commands that exist, on every supported Node line', async () => {
  const read = async (name: string) =>
    parse(await readFile(path.join(root, '.github', 'workflows', name), 'utf8'));
  const [ci, release] = await Promise.all([read('ci.yml'), read('release.yml')]);
  const { matrix } = ci.jobs.check.strategy;
  assert.deepEqual(matrix.node, [22, 24, 26]);
  const runs = (job: { steps: { run?: string }[] }) => job.steps.flatMap(({ run }) => run ?? []);
  assert.deepEqual(runs(ci.jobs.check), ['bash .ci/run']);
  assert.deepEqual(runs(release.jobs.publish), [
    'npm ci',
    'node scripts/run.mjs release --check "$GITHUB_REF_NAME"',
    'npm publish --provenance --access public',
  ]);
  assert.equal(release.jobs.publish.needs, 'ci');
  assert.equal(release.jobs.publish.permissions['id-token'], 'write');
});
