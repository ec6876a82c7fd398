/** An SDK linked from outside node_modules, by `npm link` or a workspace, is traced as an installed one. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { outline, useRuns } from '../preload/runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '..', '..');
const SDK = '@zilliz/milvus2-sdk-node';

let folder: string;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'linked-sdk-'));
  const linked = path.join(folder, 'workspace', 'sdk');
  await cp(path.join(root, 'node_modules', SDK), linked, { recursive: true });
  await symlink(path.join(root, 'node_modules'), path.join(folder, 'workspace', 'node_modules'));
  const app = path.join(folder, 'app');
  await mkdir(path.join(app, 'node_modules', '@zilliz'), { recursive: true });
  await symlink(linked, path.join(app, 'node_modules', SDK));
  await writeFile(
    path.join(app, 'app.cjs'),
    `const { MilvusClient } = require('${SDK}');
const { search } = require('./search.cjs');
search(new MilvusClient({ address: process.env.MILVUS_ADDRESS }));
`,
  );
  await writeFile(
    path.join(app, 'app.mjs'),
    `import { MilvusClient } from '${SDK}';
import { search } from './search.cjs';
await search(new MilvusClient({ address: process.env.MILVUS_ADDRESS }));
`,
  );
  await writeFile(
    path.join(app, 'search.cjs'),
    `exports.search = async (client) => {
  await client.connectPromise;
  await client.search({ collection_name: 'docs', data: [1, 0, 0, 0, 0], limit: 5 });
  await client.closeConnection();
};
`,
  );
});
after(() => rm(folder, { recursive: true, force: true }));

describe('an SDK that is linked from outside node_modules', () => {
  for (const [file, version] of [
    ['app.cjs', undefined],
    ['app.mjs', undefined],
    ['app.cjs', '22.15.0'],
    ['app.mjs', '22.15.0'],
  ] as const) {
    test(`is traced as an installed one in ${file} on Node ${version ?? process.versions.node}`, async () => {
      const nodePath = version === undefined ? {} : { nodePath: await nodeBinary(version) };
      const { service, code, stderr } = await runs.run({ file: path.join(folder, 'app', file), ...nodePath });
      assert.deepEqual([code, stderr], [0, '']);
      const spans = await runs.spans(service, 2);
      assert.deepEqual(outline(spans), ['connect default', 'search docs']);
      assert.equal(spans[1]?.attributes['db.response.returned_rows'], 5);
    });
  }
});
