/** A future SDK with unknown code: its calls are traced by their messages, and joined. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Stack, useStack } from '../support/stack.ts';
import { joinedSpans, runApp } from '../support/traced-app.ts';

const root = path.join(import.meta.dirname, '..', '..');
const SDK = '@zilliz/milvus2-sdk-node';

let stack: Stack;
let folder: string;

before(async () => {
  stack = await useStack();
  await mkdir(path.join(root, '.cache'), { recursive: true });
  // Inside the project, so that the SDK finds its dependencies in the project's node_modules.
  folder = await mkdtemp(path.join(root, '.cache', 'future-sdk-'));
  const sdk = path.join(folder, 'node_modules', SDK);
  await cp(path.join(root, 'node_modules', SDK), sdk, { recursive: true });
  const manifest = JSON.parse(await readFile(path.join(sdk, 'package.json'), 'utf8'));
  await writeFile(path.join(sdk, 'package.json'), JSON.stringify({ ...manifest, version: '4.0.0' }));
  await writeFile(
    path.join(folder, 'app.mjs'),
    `import { MilvusClient } from '${SDK}';
const client = new MilvusClient({ address: process.env.MILVUS_ADDRESS });
await client.connectPromise;
console.log((await client.hasCollection({ collection_name: 'of_the_future' })).value);
await client.closeConnection();
`,
  );
});

after(() => rm(folder, { recursive: true, force: true }));

// connect default └─ standalone: Connect
// describeCollection of_the_future └─ standalone: DescribeCollection
test('an SDK of an unknown version has spans made from its gRPC calls, joined, and one line reports it', async () => {
  const service = 'future-sdk';
  const run = await runApp({ program: path.join(folder, 'app.mjs'), stack, service });
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.stdout, 'false\n');
  assert.match(
    run.stderr,
    /^milvus-otel: @zilliz\/milvus2-sdk-node 4\.0\.0 is not supported[^\n]*each of its gRPC calls gets a span[^\n]*\n$/,
  );
  const isCall = (name: string) => /^(connect|describeCollection) /.test(name);
  const joined = await joinedSpans(
    stack,
    service,
    3,
    ({ span, rpcs }) => !isCall(span.name) || rpcs.length === 1,
  );
  const calls = joined.filter(({ span }) => isCall(span.name));
  assert.deepEqual(
    calls.map(({ span, rpcs }) => [span.name, span.kind, span.attributes['error.type'], rpcs]),
    [
      ['connect default', 'CLIENT', undefined, ['Connect']],
      ['describeCollection of_the_future', 'CLIENT', 'CollectionNotFound', ['DescribeCollection']],
    ],
  );
});
