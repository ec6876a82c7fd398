import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CATALOG, MILVUS } from '../../src/instrumentations/catalog.ts';
import { describeSelection, selectInstrumentations } from '../../src/instrumentations/selection.ts';
import { RUNS } from '../support/arbitrary-values.ts';

const names = CATALOG.map(({ name }) => name);
const offByDefault = CATALOG.filter((entry) => entry.offByDefault === true).map(({ name }) => name);

function select(enabled: string[] | undefined, disabled: string[] = []) {
  const selection = selectInstrumentations({
    enabledInstrumentations: enabled,
    disabledInstrumentations: disabled,
  });
  return { ...selection, entries: selection.entries.map(({ name }) => name) };
}

test('without variables, all but the noisy ones are on', () => {
  const { milvus, entries, warnings } = select(undefined);
  assert.ok(milvus);
  assert.deepEqual(
    entries,
    names.filter((name) => !offByDefault.includes(name)),
  );
  assert.deepEqual(warnings, []);
});

test('a list of enabled ones selects only these, including noisy ones', () => {
  const { milvus, entries, warnings } = select(['milvus', 'fs', 'express']);
  assert.ok(milvus);
  assert.deepEqual(entries, ['express', 'fs']);
  assert.deepEqual(warnings, []);
});

test('a disabled one is off, whether it is enabled too or not', () => {
  assert.ok(!select(undefined, ['express']).entries.includes('express'));
  assert.deepEqual(select(['milvus', 'express', 'pg'], ['express']).entries, ['pg']);
});

test('milvus can be disabled by its name, without a line', () => {
  const { milvus, warnings } = select(undefined, ['milvus']);
  assert.ok(!milvus);
  assert.deepEqual(warnings, []);
});

test('a list of enabled ones that leaves milvus out gets a line with the fix', () => {
  const { milvus, warnings } = select(['http']);
  assert.ok(!milvus);
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0] ?? '',
    /OTEL_NODE_ENABLED_INSTRUMENTATIONS leaves milvus out.*Add milvus to it\.$/,
  );
});

test('unknown names are named with their variable and the known ones, and the others apply', () => {
  const { entries, warnings } = select(['milvus', 'htttp', 'pg'], ['expres', 'redisx']);
  assert.deepEqual(entries, ['pg']);
  assert.equal(warnings.length, 2);
  assert.match(
    warnings[0] ?? '',
    /^OTEL_NODE_ENABLED_INSTRUMENTATIONS has unknown names: htttp \(ignored\)\. Did you mean http\?$/,
  );
  assert.match(
    warnings[1] ?? '',
    /^OTEL_NODE_DISABLED_INSTRUMENTATIONS has unknown names: expres, redisx \(ignored\)/,
  );
  const [far] = select(['milvus', 'nothing-like-it'], []).warnings;
  for (const name of names) assert.ok(far?.includes(name));
});

test('whatever is enabled and disabled, an entry is on once, in the order of the catalogue, and never when disabled', () => {
  const someNames = fc.array(fc.oneof(fc.constantFrom(MILVUS, ...names), fc.string()), { maxLength: 8 });
  fc.assert(
    fc.property(fc.option(someNames, { nil: undefined }), someNames, (enabled, disabled) => {
      const { milvus, entries } = select(enabled, disabled);
      assert.deepEqual(
        entries,
        names.filter((name) => entries.includes(name)),
      );
      for (const name of [...entries, ...(milvus ? [MILVUS] : [])]) {
        assert.ok(!disabled.includes(name));
        assert.ok(enabled === undefined ? !offByDefault.includes(name) : enabled.includes(name));
      }
    }),
    RUNS,
  );
});

test('the description lists the enabled ones, or the disabled ones when that is shorter', () => {
  const described = (enabled?: string[], disabled: string[] = []) =>
    describeSelection(
      selectInstrumentations({ enabledInstrumentations: enabled, disabledInstrumentations: disabled }),
    );
  assert.equal(described(), `all but ${offByDefault.join(', ')}`);
  assert.equal(described(['milvus', 'http']), 'milvus, http');
  assert.equal(described(['milvus'], ['milvus']), 'none');
  assert.equal(described([MILVUS, ...names]), 'all');
});
