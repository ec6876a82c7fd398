/** Flags and environment that a sending process gets from the app. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionFlags, sendersEnvironment } from '../../src/shutdown/handed-over.ts';
import { isPlainNode } from '../../src/shutdown/plain-node.ts';

test('TLS trust flags of NODE_OPTIONS and of the command line are passed on, in Node’s order', () => {
  assert.deepEqual(connectionFlags(['--use-system-ca'], '--use-openssl-ca --tls-min-v1.3'), [
    '--use-openssl-ca',
    '--tls-min-v1.3',
    '--use-system-ca',
  ]);
});

test('a flag is passed on with its value, in either notation', () => {
  const expected = ['--tls-cipher-list=ECDHE-RSA-AES128-GCM-SHA256'];
  assert.deepEqual(connectionFlags(['--tls-cipher-list', 'ECDHE-RSA-AES128-GCM-SHA256']), expected);
  assert.deepEqual(connectionFlags(['--tls_cipher_list=ECDHE-RSA-AES128-GCM-SHA256']), expected);
  assert.deepEqual(connectionFlags([], '--openssl-config "/with blank/openssl.cnf"'), [
    '--openssl-config=/with blank/openssl.cnf',
  ]);
});

test('preloads, loaders and flags about the app itself are not passed on', () => {
  const flags = [
    '-r',
    './a.cjs',
    '--import',
    'milvus-otel/register',
    '--import=./b.mjs',
    '--loader',
    './c.mjs',
  ];
  assert.deepEqual(
    connectionFlags([...flags, '--inspect', '--test', '--env-file=.env', '-e', '1'], '--watch'),
    [],
  );
});

test('the whole environment is passed on except NODE_OPTIONS and the coverage folder', () => {
  const route = {
    NODE_EXTRA_CA_CERTS: '/ca.pem',
    Https_Proxy: 'http://proxy:3128',
    RES_OPTIONS: 'attempts:1',
  };
  assert.deepEqual(sendersEnvironment({ ...route, NODE_OPTIONS: '-r ./a.cjs', NODE_V8_COVERAGE: '/c' }), {
    ...route,
    MILVUS_OTEL_SENDING: '1',
  });
});

const node = { execPath: '/usr/bin/node', versions: { node: '24.21.0' }, isPackaged: false };

test('a plain Node is recognised by its usual names', () => {
  for (const name of [
    'node',
    'nodejs',
    'node24',
    'node-22',
    'node-v24.1.0',
    'node_g',
    'node.exe',
    'Node.EXE',
  ])
    assert.equal(isPlainNode({ ...node, execPath: `/opt/some app/${name}` }), true, name);
});

test('a packaged app, a program that embeds Node and a launcher of another name are not a plain Node', () => {
  assert.equal(isPlainNode({ ...node, isPackaged: true }), false);
  assert.equal(isPlainNode({ ...node, versions: { ...node.versions, electron: '40.0.0' } }), false);
  assert.equal(isPlainNode({ ...node, versions: { ...node.versions, nw: '0.100.0' } }), false);
  for (const name of ['electron', 'my-app', 'nodemon', 'node-app', 'qode', 'ld-linux-x86-64.so.2'])
    assert.equal(isPlainNode({ ...node, execPath: `/opt/${name}` }), false, name);
});
