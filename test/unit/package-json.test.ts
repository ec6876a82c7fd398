import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { installedSdk, SDK } from '../../src/milvus/sdk-version.ts';
import { isNamed, packageJsonAbove, packageJsonIn } from '../../src/package-json.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-package-json-'));
  for (const [file, content] of Object.entries({
    'package.json': '{"name":"root","version":"1.0.0"}',
    'inner/package.json': '{"type":"module"}',
    'inner/broken/package.json': '{"name":',
    'inner/null/package.json': 'null',
    [`node_modules/${SDK}/package.json`]: `{"name":"${SDK}","version":"3.0.6"}`,
    [`node_modules/${SDK}/dist/package.json`]: '{"type":"commonjs"}',
    'linked/package.json': `{"name":"${SDK}","version":"2.6.0"}`,
    'linked/node_modules/other/package.json': '{"name":"other"}',
  })) {
    await mkdir(path.dirname(path.join(folder, file)), { recursive: true });
    await writeFile(path.join(folder, file), content);
  }
});
after(() => rm(folder, { recursive: true }));

test('a package.json that is missing, broken or not an object is ignored', () => {
  for (const inner of ['inner/missing', 'inner/broken', 'inner/null'])
    assert.equal(packageJsonIn(path.join(folder, inner)), undefined);
});

test('the nearest wanted package.json is found above those that are not', () => {
  for (const inner of ['inner/broken', 'inner/null', 'inner'])
    assert.deepEqual(packageJsonAbove(path.join(folder, inner, 'a.js'), isNamed), {
      folder,
      found: { name: 'root', version: '1.0.0' },
    });
  assert.equal(
    packageJsonAbove(path.join(folder, 'a.js'), (found): found is { name: 'x' } => found.name === 'x'),
    undefined,
  );
});

test('an SDK has its version and whether it is linked, and another package is no SDK', () => {
  const sdkOf = (file: string) => installedSdk(`file://${path.join(folder, file)}`);
  const installed = path.join(folder, 'node_modules', SDK);
  assert.deepEqual(sdkOf(`node_modules/${SDK}/dist/milvus/index.js`), {
    folder: installed,
    version: '3.0.6',
    isLinked: false,
  });
  assert.deepEqual(sdkOf('linked/dist/index.js'), {
    folder: path.join(folder, 'linked'),
    version: '2.6.0',
    isLinked: true,
  });
  assert.equal(sdkOf('linked/node_modules/other/index.js'), undefined);
  assert.equal(installedSdk('node:fs'), undefined);
});
