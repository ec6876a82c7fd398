/** The hook of the modules that a require loads, on packages that exist for the test alone. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import Module, { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { diag } from '@opentelemetry/api';
import { Hook, patchLinked } from '../../src/instrumentations/require-hook.ts';
import { appFolder } from '../support/app-folder.ts';
import { collectDiagErrors } from '../support/diag-errors.ts';

const manifest = (name: string) => ({ name, version: '1.2.3', main: 'index.js' });

// pg, koa, express and so on are in the catalog, left-pad is not.
const folder = appFolder({
  'app.js': '',
  'local.js': `exports.name = 'local';`,
  'node_modules/left-pad/package.json': manifest('left-pad'),
  'node_modules/left-pad/index.js': `exports.name = 'left-pad';`,
  'node_modules/pg/package.json': manifest('pg'),
  'node_modules/pg/index.js': `exports.name = 'pg'; exports.client = require('./lib/client');`,
  'node_modules/pg/lib/client.js': `exports.name = 'client';`,
  'node_modules/koa/package.json': manifest('koa'),
  'node_modules/koa/index.js': `exports.name = 'koa'; exports.seen = require('./circle').seen;`,
  'node_modules/koa/circle.js': `exports.seen = require('koa').patched === undefined;`,
  'node_modules/express/package.json': manifest('express'),
  'node_modules/express/index.js': `exports.name = 'express';`,
  'node_modules/ioredis/package.json': manifest('ioredis'),
  'node_modules/ioredis/index.js': `throw new Error('of the module itself');`,
  'linked/sdk/package.json': manifest('@zilliz/milvus2-sdk-node'),
  'linked/sdk/index.js': `exports.client = require('./lib/client'); exports.pad = require('left-pad');`,
  'linked/sdk/lib/client.js': `exports.name = 'client';`,
  'linked/sdk/node_modules/left-pad/package.json': manifest('left-pad'),
  'linked/sdk/node_modules/left-pad/index.js': `exports.name = 'left-pad';`,
});
const app = createRequire(path.join(folder, 'app.js'));

/** Names under which the hook has got modules of the test. */
let seen: string[] = [];
let fails = false;

const original = Module.prototype.require;
before(() => {
  new Hook(null, { internals: true }, (exports, name, base) => {
    if (base?.startsWith(folder) !== true) return exports;
    seen.push(`${name} in ${path.relative(folder, base)}`);
    if (fails) throw new Error('of the instrumentation');
    return Object.assign(exports as never, { patched: true });
  });
});
after(() => {
  Module.prototype.require = original;
});
beforeEach(() => {
  seen = [];
  fails = false;
});

test('a listed package and its files are patched, each once', () => {
  const pg = app('pg');
  assert.equal(app('pg'), pg);
  assert.deepEqual([pg.patched, pg.client.patched], [true, true]);
  assert.deepEqual(seen, ['pg/lib/client.js in node_modules/pg', 'pg in node_modules/pg']);
});

test('other packages, and files of the app, are ignored', () => {
  assert.deepEqual([app('left-pad').patched, app('./local.js').patched], [undefined, undefined]);
  assert.deepEqual(seen, []);
});

test('in a circle of requires, a module is patched when it is complete', () => {
  const koa = app('koa');
  assert.deepEqual([koa.patched, koa.seen], [true, true]);
});

test("an error of an instrumentation leaves the module as it is, and is not the app's", () => {
  const errors = collectDiagErrors();
  fails = true;
  assert.deepEqual({ ...app('express') }, { name: 'express' });
  diag.disable();
  assert.deepEqual(errors, ['express could not be patched']);
});

test('errors of the app keep their messages', () => {
  assert.throws(() => app('ioredis'), /of the module itself/);
  assert.throws(() => app('pg-native'), /Cannot find module 'pg-native'/);
  assert.throws(() => app(''), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.throws(() => app(undefined as never), { code: 'ERR_INVALID_ARG_TYPE' });
});

describe('a package that is linked from elsewhere', () => {
  test('is patched under the names of an installed one, but for the packages in it', () => {
    patchLinked('@zilliz/milvus2-sdk-node', path.join(folder, 'linked/sdk'));
    const sdk = app('./linked/sdk');
    assert.equal(sdk.client.patched, true);
    assert.deepEqual(seen, ['@zilliz/milvus2-sdk-node/lib/client.js in linked/sdk']);
    assert.equal(sdk.pad.patched, undefined);
  });
});

test('a hook for named modules is that of the original, with errors kept from the app', () => {
  const names: string[] = [];
  const hook = new Hook(['left-pad'], {}, (exports, name) => {
    names.push(name);
    throw exports;
  });
  const { cache } = app;
  delete cache[app.resolve('left-pad')];
  assert.equal(app('left-pad').name, 'left-pad');
  assert.deepEqual(names, ['left-pad']);
  (hook as unknown as { unhook(): void }).unhook();
});
