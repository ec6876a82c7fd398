/** Also on a real Milvus, the app gets exactly the same as without the preload. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { useStack } from '../support/stack.ts';
import { assertAlike } from './differences.ts';
import { outsideOf, PLAIN, runProgram, VARIANTS } from './runs.ts';

test('a usual app sees the same values, errors, arguments and output with the preload as without it', async () => {
  const { milvusAddress, receiver } = await useStack();
  const [without, withIt] = await Promise.all(
    // One letter each: a longer name would make a longer message.
    Object.entries({ a: PLAIN, b: VARIANTS['as it is by default'] }).map(([letter, variant]) =>
      runProgram('usual-app.mjs', variant, {
        collector: `127.0.0.1:${receiver.grpcPort}`,
        env: {
          MILVUS_ADDRESS: milvusAddress,
          MILVUS_DATABASE: `differential_${letter}_${randomBytes(4).toString('hex')}`,
          OTEL_SERVICE_NAME: 'differential',
        },
      }),
    ),
  );
  assert.ok(without !== undefined && withIt !== undefined);
  assert.equal(without.code, 0, without.stderr);
  const { records } = without.report;
  for (const name of ['createCollection', 'insert', 'search', 'query', 'delete', 'dropDatabase'])
    assert.ok('resolved' in records[name], `${name}: ${JSON.stringify(records[name])}`);
  assertAlike(
    { ...records, 'the process': outsideOf(without) },
    { ...withIt.report.records, 'the process': outsideOf(withIt) },
  );
});
