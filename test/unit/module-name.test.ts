import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beforeTurbopack, moduleName } from '../../src/instrumentations/module-name.ts';

test('a specifier names a package or a built-in module, a path or a URL does not', () => {
  assert.deepEqual(
    [
      'pg',
      'pg/lib/client',
      '@hapi/hapi',
      '@hapi/hapi/lib',
      'node:fs',
      'fs/promises',
      './pg',
      '/pg',
      '#pg',
      'file:///pg',
    ].map(moduleName),
    ['pg', 'pg', '@hapi/hapi', '@hapi/hapi', 'fs', 'fs/promises', undefined, undefined, undefined, undefined],
  );
});

test("a package that Turbopack has renamed is known by the app's name for it", () => {
  assert.deepEqual(
    [
      'ioredis-23a6225d8f1c0b74',
      '@hapi/hapi-23a6225d8f1c0b74',
      'openai-23a6225d8f1c0b74/azure',
      'redis-4',
      'a-0123456789abcdef0',
    ].map(moduleName),
    ['ioredis', '@hapi/hapi', 'openai', 'redis-4', 'a-0123456789abcdef0'],
  );
  assert.equal(beforeTurbopack('openai-23a6225d8f1c0b74/azure'), 'openai/azure');
  assert.equal(beforeTurbopack('./openai-23a6225d8f1c0b74.js'), './openai-23a6225d8f1c0b74.js');
});
