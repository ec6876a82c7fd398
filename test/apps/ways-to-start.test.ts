/** Searches are traced in any language and with any start of an app, with no flag but the preload's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { placeProgram } from '../support/traced-app.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const entryPoint = pathToFileURL(path.join(root, 'dist/register.cjs')).href;
const ways = 'test/fixtures/apps/ways';

const ranOnce = { stdout: 'found 5\n', stderr: '', code: 0, signal: null };
const searched = ['connect default', 'search docs'];

/** null: the Node that runs this test. */
const versions = [null, '22.15.0', '22', '26'];
const nodeOf = async (version: string | null) =>
  version === null ? {} : { nodePath: await nodeBinary(version) };

for (const version of versions) {
  describe(`on Node ${version ?? process.versions.node}`, { concurrency: 2 }, () => {
    const programs: Record<string, string> = {
      'esm-with-cjs.mjs': 'an ES module that has its search from CommonJS',
      'cjs-with-esm.cjs': 'CommonJS that has its search from an ES module',
      'late-import.mjs': 'an ES module that imports the SDK later on',
      'late-import.cjs': 'CommonJS that imports the SDK later on',
      'typed.ts': 'TypeScript by type stripping',
      'typed.cts': 'TypeScript as CommonJS by type stripping',
      'forks.mjs': 'a child process by fork',
    };
    for (const [file, what] of Object.entries(programs)) {
      test(`${what} is traced (${file})`, async () => {
        const { service, ...result } = await runs.run({
          file: `${ways}/${file}`,
          // With any --import, Node 22 cannot load it: CommonJS in TypeScript that requires an ES module.
          ...(version?.startsWith('22') && file === 'typed.cts' ? { preload: '--require' as const } : {}),
          // The one version that strips types only with a flag, and prints a warning.
          ...(version === '22.15.0' && file.startsWith('typed')
            ? { nodeArgs: ['--experimental-strip-types', '--no-warnings'] }
            : {}),
          // It warns of required ES modules.
          ...(version === '22.15.0' && file === 'cjs-with-esm.cjs' ? { nodeArgs: ['--no-warnings'] } : {}),
          ...(await nodeOf(version)),
        });
        assert.deepEqual(result, ranOnce);
        assert.deepEqual(outline(await runs.spans(service, 2)), searched);
      });
    }

    test("a worker's search is traced under the context that is passed to it", async () => {
      const { service, ...result } = await runs.run({
        file: `${ways}/worker-with-context.mjs`,
        ...(await nodeOf(version)),
      });
      assert.deepEqual(result, ranOnce);
      // request ├─ connect
      //         └─ search docs
      const spans = await runs.spans(service, 3);
      assert.deepEqual(outline(spans), ['request', '  connect default', '  search docs']);
    });

    test('each worker of a cluster is traced', async () => {
      const { service, ...result } = await runs.run({
        file: `${ways}/cluster.mjs`,
        ...(await nodeOf(version)),
      });
      assert.deepEqual(result, { ...ranOnce, stdout: 'found 5\nfound 5\n' });
      assert.deepEqual(outline(await runs.spans(service, 4)).sort(), [...searched, ...searched].sort());
    });
  });
}

describe('by another start', { concurrency: 2 }, () => {
  test('node --test is traced, in the process of the test file', async () => {
    const { service, stdout, stderr, code } = await runs.run({
      file: `${ways}/searching.test.mjs`,
      nodeArgs: ['--test', '--test-reporter=tap'],
    });
    assert.deepEqual([stderr, code], ['', 0]);
    assert.match(stdout, /^# pass 1$/m);
    assert.deepEqual(outline(await runs.spans(service, 2)), searched);
  });

  test('node --watch is traced, and again after a change', async () => {
    const folder = await mkdtemp(path.join(root, ways, '.watched-'));
    watched.push(folder);
    const file = path.join(folder, 'app.mjs');
    const source = await readFile(path.join(root, ways, 'find.mjs'), 'utf8');
    await writeFile(file, `${source}\nawait find();\n`);
    const running = runs.start({ file, nodeArgs: ['--watch'] });
    await running.waitForStdout(/found 5\n[\s\S]*Completed running/);
    await runs.spans(running.service, 2);
    await writeFile(file, `${source}\nawait find();\n// Changed.\n`);
    await running.waitForStdout(/(found 5\n[\s\S]*){2}Completed running/);
    assert.deepEqual(outline(await runs.spans(running.service, 4)), [...searched, ...searched]);
    running.kill('SIGTERM');
    await running.ended;
  });

  test('a REPL is traced', async () => {
    const service = 'ways-repl';
    const child = spawn(process.execPath, ['--import', entryPoint, '-i'], {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        MILVUS_ADDRESS: runs.milvus.address,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${runs.receiver.grpcPort}`,
        OTEL_SERVICE_NAME: service,
        NODE_REPL_HISTORY: '',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.stdin.end(`await import('./${ways}/find.mjs').then(({ find }) => find());\n`);
    const [code] = await once(child, 'close');
    assert.equal(code, 0, output);
    assert.match(output, /found 5/);
    assert.deepEqual(outline(await runs.spans(service, 2)), searched);
  });

  const compilers = {
    '@swc-node/core': '1.15.0',
    '@swc-node/register': '1.12.1',
    '@swc/core': '1',
    '@swc/helpers': '0.5',
    tsx: '4.23.15',
    typescript: '5',
  };
  const loaders: Record<string, string[]> = {
    tsx: ['--import', 'tsx'],
    'swc-node': ['--import', '@swc-node/register/esm-register'],
  };
  for (const [name, nodeArgs] of Object.entries(loaders)) {
    for (const version of versions) {
      test(`TypeScript that has to be compiled is traced with ${name} on Node ${version ?? process.versions.node}`, async () => {
        const folder = await installed(compilers);
        const { service, stdout, stderr, code } = await runs.run({
          file: await placeProgram('apps/ways/enum.ts', folder),
          // Has the compiler.
          cwd: folder,
          nodeArgs,
          ...(await nodeOf(version)),
        });
        assert.deepEqual([stdout, code], ['found 5\n', 0], stderr);
        assert.doesNotMatch(stderr, /milvus-otel/);
        assert.deepEqual(outline(await runs.spans(service, 2)), searched);
      });
    }
  }
});

const watched: string[] = [];
after(async () => {
  for (const folder of watched) await rm(folder, { recursive: true, force: true });
});
