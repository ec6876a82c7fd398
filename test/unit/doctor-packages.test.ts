/** What the doctor reads of an app's folder: its packages, and the files that load the preload. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { isPreload, loadsPreload, specifiersIn } from '../../src/doctor/loading-files.ts';
import { installedCopies, packageOf, readPackage, sdkVersionAt } from '../../src/doctor/packages.ts';
import { appFolder } from '../support/app-folder.ts';

const manifest = (name: string, version: string) => ({ name, version });

describe('a package', () => {
  const folder = appFolder({
    'node_modules/a/package.json': manifest('a', '1.2.3'),
    'node_modules/a/dist/package.json': { name: 'inner', type: 'module' },
    'node_modules/a/dist/index.js': '',
    'node_modules/b/package.json': 'not JSON',
  });

  test('of a file is the nearest one with a name and a version', () => {
    const file = path.join(folder, 'node_modules/a/dist/index.js');
    assert.deepEqual(packageOf(file), {
      name: 'a',
      version: '1.2.3',
      folder: path.join(folder, 'node_modules/a'),
    });
    assert.equal(sdkVersionAt(file), '1.2.3');
    assert.equal(sdkVersionAt('/no-such-folder/index.js'), 'of an unknown version');
  });

  test('in a folder is that of the package.json in it', () => {
    assert.equal(readPackage(path.join(folder, 'node_modules/a'))?.version, '1.2.3');
    for (const inner of ['a/dist', 'b', 'c'])
      assert.equal(readPackage(path.join(folder, 'node_modules', inner)), undefined);
  });
});

describe('copies of packages', () => {
  const found = (appAt: string) =>
    installedCopies(appAt)
      .map(({ name, version }) => `${name} ${version}`)
      .filter((copy) => copy.endsWith('-test'))
      .sort();

  test('are found above, inside other packages and in the folders of pnpm; others are not listed', () => {
    const folder = appFolder({
      'node_modules/@opentelemetry/api/package.json': manifest('@opentelemetry/api', '1.0.0-test'),
      'node_modules/express/package.json': manifest('express', '5.0.0-test'),
      'app/node_modules/@grpc/grpc-js/package.json': manifest('@grpc/grpc-js', '1.1.0-test'),
      'app/node_modules/x/node_modules/@opentelemetry/api/package.json': manifest(
        '@opentelemetry/api',
        '1.2.0-test',
      ),
      'app/node_modules/.pnpm/m@3/node_modules/milvus-otel/package.json': manifest(
        'milvus-otel',
        '3.0.0-test',
      ),
      'app/node_modules/.cache/node_modules/milvus-otel/package.json': manifest('milvus-otel', '4.0.0-test'),
      'app/node_modules/@zilliz/milvus2-sdk-node/package.json': 'not JSON',
    });
    assert.deepEqual(found(path.join(folder, 'app')), [
      '@grpc/grpc-js 1.1.0-test',
      '@opentelemetry/api 1.0.0-test',
      '@opentelemetry/api 1.2.0-test',
      'milvus-otel 3.0.0-test',
    ]);
  });

  test('are counted once, whatever links lead to them, also in circles', () => {
    const folder = appFolder({
      'node_modules/milvus-otel/package.json': manifest('milvus-otel', '1.0.0-test'),
    });
    const own = path.join(folder, 'node_modules/milvus-otel');
    mkdirSync(path.join(own, 'node_modules'));
    symlinkSync(own, path.join(own, 'node_modules/milvus-otel'));
    symlinkSync(own, path.join(folder, 'node_modules/linked'));
    symlinkSync('/no-such-folder', path.join(folder, 'node_modules/broken'));
    assert.deepEqual(found(folder), ['milvus-otel 1.0.0-test']);
  });
});

describe('a source file', () => {
  test('loads what it imports and requires, in its order, but for comments', () => {
    assert.deepEqual(
      specifiersIn(`
        import 'a'; // import 'no';
        import b from "b"; /* require('no')
        import 'no' */ export * from 'c';
        const d = require('d'), url = 'http://host/path', f = require('f');
        await import( 'e' );`),
      ['a', 'b', 'c', 'd', 'f', 'e'],
    );
  });

  const folder = appFolder({
    'first.mjs': `import 'milvus-otel/register';\nimport 'express';`,
    'later.mjs': `import 'express';\nimport 'milvus-otel/register';`,
    'never.mjs': `import 'express';\n// import 'milvus-otel/register'`,
    'by-path.cjs': `require('/opt/milvus-otel/dist/register.cjs');`,
    'in-file.mjs': `import './first.mjs';\nimport 'express';`,
    'in-later-file.mjs': `import 'express';\nimport './first.mjs';`,
    'deep.mjs': `import './in-file.mjs';`,
    'too-deep.mjs': `import './deep.mjs';`,
    'circle.mjs': `import './circle.mjs';`,
    'bundle.mjs': `import 'milvus-otel/register';${' '.repeat(200_000)}`,
  });
  const orders: Record<string, 'first' | 'later' | undefined> = {
    'first.mjs': 'first',
    'later.mjs': 'later',
    'never.mjs': undefined,
    'by-path.cjs': 'first',
    'in-file.mjs': 'first',
    'in-later-file.mjs': 'later',
    'deep.mjs': 'first',
    'too-deep.mjs': undefined,
    'circle.mjs': undefined,
    'bundle.mjs': undefined,
    'no-such-file.mjs': undefined,
  };
  for (const [file, order] of Object.entries(orders))
    test(`${file} loads the preload ${order ?? 'not, as far as its text shows'}`, () => {
      assert.equal(loadsPreload(path.join(folder, file)), order);
    });

  test('is a preload by the name of ours, or by a path to a file that loads ours', () => {
    const file = path.join(folder, 'first.mjs');
    for (const specifier of [
      'milvus-otel/register',
      './first.mjs',
      file,
      pathToFileURL(file).href,
      './later.mjs',
    ])
      assert.equal(isPreload(specifier, folder), true, specifier);
    for (const specifier of ['dotenv/config', './never.mjs', './no-such-file.mjs', 'first.mjs'])
      assert.equal(isPreload(specifier, folder), false, specifier);
  });
});
