import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire, findPackageJSON } from 'node:module';
import { test } from 'node:test';
import type { Instrumentation } from '@opentelemetry/instrumentation';
import { SETTINGS } from '../../src/config/settings.ts';
import { CATALOG, type CatalogEntry, MILVUS } from '../../src/instrumentations/catalog.ts';

const require = createRequire(import.meta.url);
const PREFIX = '@opentelemetry/instrumentation-';

function construct({ name, className }: CatalogEntry): Instrumentation {
  const exported = require(`${PREFIX}${name}`);
  assert.equal(typeof exported[className], 'function', `${PREFIX}${name} exports ${className}`);
  // Disabled, so that it hooks nothing in this process.
  return new exported[className]({ enabled: false });
}

/** The modules that an instrumentation hooks, including those of nested instrumentations. */
function hookedModules(instrumentation: Instrumentation): string[] {
  const { getModuleDefinitions } = instrumentation as { getModuleDefinitions?(): { name: string }[] };
  const definitions = getModuleDefinitions?.call(instrumentation) ?? [];
  return [...new Set(definitions.map(({ name }) => name))].sort();
}

test('the catalogue holds every instrumentation that auto-instrumentations-node has, and no other', () => {
  const file = findPackageJSON('@opentelemetry/auto-instrumentations-node', import.meta.url);
  assert.ok(file !== undefined);
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  const upstream = Object.keys(manifest.dependencies)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length));
  assert.ok(upstream.length > 0);
  assert.deepEqual(CATALOG.map(({ name }) => name).sort(), upstream.sort());
});

test('no instrumentation is in the catalogue twice, and none is called milvus', () => {
  const names = CATALOG.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
  assert.ok(!names.includes(MILVUS));
});

for (const entry of CATALOG) {
  test(`${entry.className} waits for exactly the modules that it instruments`, () => {
    assert.deepEqual([...entry.modules].sort(), hookedModules(construct(entry)));
  });
}

test('only an instrumentation that hooks no module waits for something else', () => {
  const waiting = CATALOG.filter((entry) => entry.when !== undefined);
  assert.deepEqual(
    waiting.map(({ name, when }) => [name, when]),
    [
      ['aws-lambda', 'lambda'],
      ['host-metrics', 'metrics'],
      ['runtime-node', 'metrics'],
      ['undici', 'fetch'],
    ],
  );
  for (const entry of CATALOG) assert.equal(entry.modules.length === 0, entry.when !== undefined, entry.name);
});

test('the first fetch of an app can be handed to the instrumentation of fetch', () => {
  const undici = CATALOG.find(({ when }) => when === 'fetch');
  assert.ok(undici !== undefined);
  const { onRequestCreated } = construct(undici) as { onRequestCreated?: unknown };
  assert.equal(typeof onRequestCreated, 'function');
});

test('the documentation lists the instrumentations that are off by default', () => {
  const off = CATALOG.filter((entry) => entry.offByDefault === true).map(({ name }) => name);
  assert.deepEqual(off, ['dns', 'fs', 'generic-pool', 'host-metrics', 'net']);
  assert.equal(SETTINGS.enabledInstrumentations.shownFallback, `all but ${off.join(', ')}`);
});

test('the page on frameworks gives the versions of openai that its instrumentation supports', () => {
  const page = readFileSync(new URL('../../docs/frameworks.md', import.meta.url), 'utf8');
  const entry = CATALOG.find(({ name }) => name === 'openai') as CatalogEntry;
  const instrumentation = construct(entry) as unknown as {
    getModuleDefinitions(): { supportedVersions: string[] }[];
  };
  const supported = instrumentation.getModuleDefinitions().map(({ supportedVersions }) => supportedVersions);
  const sentence = /`openai` is instrumented from\s([\d.]+)\sto\s6;\sof\sversion\s(\d+),\sonly/;
  const [, first, below] = sentence.exec(page) ?? [];
  assert.deepEqual(supported, [[`>=${first}.0 <${below}`]]);
});
