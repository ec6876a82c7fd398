import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { readSettings, SETTINGS } from '../../src/config/settings.ts';
import { packageName, resourceDetectors, serviceNameOf } from '../../src/sdk/resource.ts';
import { RUNS } from '../support/arbitrary-values.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'milvus-otel-resource-'));
after(() => rm(folder, { recursive: true }));

/** Writes files under a separate folder; gives the path in it. */
async function app(files: Record<string, string>): Promise<(file: string) => string> {
  const at = await mkdtemp(path.join(folder, 'app-'));
  for (const [file, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(at, file)), { recursive: true });
    await writeFile(path.join(at, file), content);
  }
  return (file) => path.join(at, file);
}

test("the app's name is that of the package.json next to its main file", async () => {
  const at = await app({ 'package.json': '{"name":"shop"}', 'package/package.json': '{"name":"other"}' });
  assert.equal(packageName(at('main.js')), 'shop');
});

test("the app's name is that of the nearest package.json above that has one", async () => {
  const at = await app({
    'package.json': '{"name":"@acme/shop"}',
    'packages/api/package.json': '{"type":"module"}',
    'packages/api/dist/package.json': 'not JSON',
  });
  assert.equal(packageName(at('packages/api/dist/src/main.js')), '@acme/shop');
});

test('invalid names are skipped', async () => {
  const at = await app({
    'package.json': '{"name":"shop"}',
    'a/package.json': '{"name":""}',
    'b/package.json': '{"name":5}',
    'c/package.json': 'null',
    'd/package.json/a-folder': '',
  });
  for (const inner of ['a', 'b', 'c', 'd']) assert.equal(packageName(at(`${inner}/main.js`)), 'shop');
});

test('an app without a main file has no name', () => {
  assert.equal(packageName(undefined), undefined);
});

test('a main file outside of any package has no name', () => {
  assert.equal(packageName('/no-such-folder/at-all/main.js'), undefined);
});

const serviceName = (env: Record<string, string>) => serviceNameOf(readSettings(env));

test('the service name is OTEL_SERVICE_NAME, else service.name of the resource attributes', () => {
  const both = { OTEL_SERVICE_NAME: 'shop', OTEL_RESOURCE_ATTRIBUTES: 'service.name=other' };
  assert.equal(serviceName(both), 'shop');
  assert.equal(serviceName({ OTEL_RESOURCE_ATTRIBUTES: 'a=b, service.name=shop,c=d' }), 'shop');
});

test('service.name in the resource attributes is decoded, and ignored when that fails', () => {
  assert.equal(serviceName({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=my%20shop' }), 'my shop');
  assert.equal(serviceName({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=100%' }), undefined);
});

test('without a name in the variables, none is given', () => {
  assert.equal(serviceName({}), undefined);
  assert.equal(serviceName({ OTEL_RESOURCE_ATTRIBUTES: 'service.namespace=shop' }), undefined);
  assert.equal(serviceName({ OTEL_RESOURCE_ATTRIBUTES: 'service.name=' }), undefined);
});

test('any resource attributes can be asked for the service name', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      const name = serviceName({ OTEL_RESOURCE_ATTRIBUTES: `service.name=${value}` });
      assert.ok(name === undefined || (typeof name === 'string' && name !== ''));
    }),
    RUNS,
  );
});

const detectors = (names: readonly string[]) =>
  resourceDetectors(readSettings({ OTEL_NODE_RESOURCE_DETECTORS: names.join() }));

/** Their detection sends requests, which take seconds where there is no cloud. */
const ofClouds = new Set(
  detectors(['alibaba', 'aws', 'azure', 'gcp']).map((detector) => detector.constructor),
);

/** The keys that the detectors of these names find on the host. */
const found = (names: readonly string[]): string[] =>
  detectors(names)
    .filter((detector) => !ofClouds.has(detector.constructor))
    .flatMap((detector) => Object.keys(detector.detect().attributes ?? {}));

test('detectors are the named ones, in their order', () => {
  const names = (list: string[]) => detectors(list).map((detector) => detector.constructor.name);
  assert.deepEqual(names(['os', 'host']), ['OSDetector', 'HostDetector']);
  assert.deepEqual(names(['host', 'serviceinstance']), ['HostDetector', 'ServiceInstanceIdDetector']);
});

test('none means no detector, whatever else is named', () => {
  assert.deepEqual(detectors(['env', 'none']), []);
});

test('every detector that the setting knows is there, those of clouds from the parts of the bundle', () => {
  const known = SETTINGS.resourceDetectors.known ?? [];
  const single = known.filter((name) => !['all', 'none', 'processargs'].includes(name));
  const counts = new Map(single.map((name) => [name, detectors([name]).length]));
  for (const [name, count] of counts) assert.ok(count > 0, `${name} has a detector`);
  for (const detector of detectors(['all'])) assert.equal(typeof detector.detect, 'function');
  const sum = [...counts.values()].reduce((total, count) => total + count, 0);
  assert.equal(detectors(['all']).length, sum);
});

test('the default finds the host and the process, but not its arguments', () => {
  const keys = found(SETTINGS.resourceDetectors.fallback);
  for (const key of ['host.name', 'process.pid', 'process.command', 'process.runtime.version'])
    assert.ok(keys.includes(key), key);
  assert.ok(!keys.includes('process.command_args'));
});

test('arguments of the process are found by processargs alone', () => {
  assert.deepEqual(found(['processargs']), ['process.command_args']);
  assert.ok(found(['all', 'processargs']).includes('process.command_args'));
  for (const names of [['process'], ['env', 'host', 'process'], ['all']])
    assert.ok(!found(names).includes('process.command_args'), names.join());
});

test('env finds the attributes of the variables, each independently of the others', () => {
  const settings = readSettings({
    OTEL_NODE_RESOURCE_DETECTORS: 'env',
    OTEL_SERVICE_NAME: 'shop',
    OTEL_RESOURCE_ATTRIBUTES: `team=search%20team,bad=%,service.name=other,long=${'x'.repeat(300)}`,
  });
  assert.deepEqual(
    resourceDetectors(settings).map((detector) => detector.detect().attributes),
    [{ team: 'search team', 'service.name': 'shop', long: 'x'.repeat(300) }],
  );
});
