/** The published package, packed and installed as a user does it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type StubMilvus, startStubMilvus } from '../../bench/stub-milvus.ts';
import { installInto, packInto } from '../../tools/processes/published.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { outline } from '../preload/runs.ts';
import { ensureDist } from '../support/dist.ts';

const root = path.join(import.meta.dirname, '../..');
const dist = path.join(root, 'dist');
const programs = ['searches.mjs', 'searches.cjs', 'root-spans.mjs', 'web-app.mjs'];

let folder: string;
/** The user's app, in which the package is installed. */
let app: string;
let packed: string[];
let receiver: Receiver;
let milvus: StubMilvus;

before(async () => {
  await ensureDist();
  // With a space, as in users' folders.
  folder = await mkdtemp(path.join(await realpath(os.tmpdir()), 'milvus otel package-'));
  app = path.join(folder, 'app');
  const { tarball, files } = await packInto(folder);
  packed = files;
  await cp(path.join(root, 'test/fixtures'), app, {
    recursive: true,
    filter: (file) => file.endsWith('fixtures') || programs.includes(path.basename(file)),
  });
  await writeFile(path.join(app, 'package.json'), '{ "name": "my-shop", "private": true }');
  console.error('Installing the package into a separate app …');
  await installInto(app, tarball);
  [receiver, milvus] = await Promise.all([startReceiver(), startStubMilvus()]);
});

after(async () => {
  await receiver?.stop();
  await milvus?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Runs Node in the app's folder. Rejects when the exit code is not 0. */
function node(args: string[], env: Record<string, string> = {}) {
  return promisify(execFile)(process.execPath, args, {
    cwd: app,
    env: {
      PATH: process.env.PATH,
      MILVUS_ADDRESS: milvus.address,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
      ...env,
    },
    timeout: 60_000,
  });
}

async function filesOfDist(fits: RegExp): Promise<Map<string, string>> {
  const names = (await readdir(dist)).filter((name) => fits.test(name));
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, await readFile(path.join(dist, name), 'utf8')] as const),
    ),
  );
}

describe('the tarball', () => {
  test('has the files that users need and no others', () => {
    assert.deepEqual(
      packed.filter((file) => !/^(dist|docs|samples|compose)\//.test(file)),
      [
        'CHANGELOG.md',
        'CONTRIBUTING.md',
        'LICENSE',
        'README.md',
        'SECURITY.md',
        'bin/milvus-otel.cjs',
        'env.example',
        'package.json',
      ],
    );
    assert.deepEqual(
      packed.filter((file) => /node_modules|certificates\/|\.(key|crt|tgz)$/.test(file)),
      [],
    );
    const inDist = packed.filter((file) => file.startsWith('dist/'));
    for (const file of inDist) assert.match(file, /^dist\/(LICENSES|[\w.-]+\.(cjs(\.map)?|d\.cts))$/);
    for (const file of ['LICENSES', 'register.cjs', 'preload.cjs', 'instrumentation-http.cjs'])
      assert.ok(inDist.includes(`dist/${file}`), `${file} is missing`);
  });

  test('names in package.json only files that exist', async () => {
    const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    const exported = Object.values(manifest.exports as Record<string, string | Record<string, string>>);
    for (const file of [
      ...manifest.files.filter((entry: string) => !entry.startsWith('!')),
      ...exported.flatMap((target) => (typeof target === 'string' ? target : Object.values(target))),
    ]) {
      const name = file.replace('./', '');
      assert.ok(
        packed.some((one) => one === name || one.startsWith(`${name}/`)),
        `${file} is not in the tarball`,
      );
    }
  });
});

describe('the bundle', () => {
  /** The packages that code in dist/ comes from, by the source maps. */
  const bundledPackages = async () => {
    const names = new Set<string>();
    for (const map of (await filesOfDist(/\.cjs\.map$/)).values()) {
      for (const source of JSON.parse(map).sources as string[]) {
        const name = /^\.\.\/node_modules\/(?:.*\/node_modules\/)?((?:@[^/]+\/)?[^/]+)\//.exec(source)?.[1];
        if (name !== undefined) names.add(name);
      }
    }
    assert.ok(names.has('@opentelemetry/sdk-node'), 'no module is named in the source maps');
    return names;
  };
  /** Sections of dist/LICENSES, each beginning with `name version (licence)`. */
  const licences = async () => {
    const [, ...sections] = (await readFile(path.join(dist, 'LICENSES'), 'utf8')).split(/\n-{80}\n/);
    return sections.map((section) => {
      const [, name, version, licence, text] = /^(\S+) (\S+) \((.+)\)\n([\s\S]*)$/.exec(section) ?? [];
      assert.ok(name && version && licence && text !== undefined, `not a section: ${section.slice(0, 80)}`);
      return { name, version, licence, text };
    });
  };

  test('comes with the licence text of every package in it', async () => {
    const sections = await licences();
    const named = new Set(sections.map(({ name }) => name));
    assert.deepEqual(
      [...(await bundledPackages())].filter((name) => !named.has(name)),
      [],
    );
    assert.deepEqual(
      sections
        .filter(({ text }) => text.trim().length < 200)
        .map(({ name, licence }) => `${name} (${licence})`),
      [],
    );
  });

  test('has each package in one version', async () => {
    const names = (await licences()).map(({ name, version }) => `${name} ${version}`);
    const repeated = names.filter((name) =>
      names.some((other) => other !== name && other.split(' ')[0] === name.split(' ')[0]),
    );
    assert.deepEqual(repeated, []);
  });

  test('does not contain the API, which it shares with the app', async () => {
    const names = await bundledPackages();
    assert.ok(!names.has('@opentelemetry/api'));
  });

  test('contains no path of the machine that built it', async () => {
    for (const [name, text] of await filesOfDist(/./)) {
      assert.ok(!text.includes(root), `${name} has ${root} in it`);
      if (!name.endsWith('.map')) continue;
      for (const source of JSON.parse(text).sources as string[])
        assert.match(
          source,
          /^(\.\.\/(src\/|register\.ts|package\.json|node_modules\/)|\0|part:|lazy:)/,
          name,
        );
    }
  });
});

describe('an app that has installed it', () => {
  test('has one copy of each OpenTelemetry package and of gRPC', async () => {
    const { packages } = JSON.parse(await readFile(path.join(app, 'package-lock.json'), 'utf8'));
    const names = Object.keys(packages).flatMap(
      (key) =>
        /node_modules\/(@opentelemetry\/[^/]+|@grpc\/grpc-js|import-in-the-middle)$/.exec(key)?.[1] ?? [],
    );
    assert.deepEqual(names.sort(), ['@grpc/grpc-js', '@opentelemetry/api', 'import-in-the-middle']);
  });

  test('can load every part of it with the installed dependencies', async () => {
    const own = new Set(['register.cjs', 'preload.cjs', 'sender-process.cjs', 'doctor-probe.cjs']);
    const parts = [...(await filesOfDist(/\.cjs$/)).keys()].filter((name) => !own.has(name));
    const program = `
      const failed = {};
      for (const part of ${JSON.stringify(parts)}) {
        try { require('./node_modules/milvus-otel/dist/' + part); }
        catch (error) { failed[part] = error.message.split('\\n')[0]; }
      }
      console.log(JSON.stringify(failed));`;
    const { stdout } = await node(['-e', program]);
    assert.deepEqual(JSON.parse(stdout), {});
  });

  test('has the doctor as a command, which finds the installed packages', async () => {
    const bin = path.join(app, 'node_modules/.bin/milvus-otel');
    const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    assert.equal((await node([bin, '--version'])).stdout, `${version}\n`);
    assert.match((await node([bin, 'doctor', '--help'])).stdout, /^npx milvus-otel doctor /);
    // A port without a server: at the guessed address, a Jaeger of another test may answer.
    const query = ['--jaeger', 'http://127.0.0.1:9'];
    const { stdout, code } = await node([bin, 'doctor', '--json', ...query]).catch((error) => error);
    const report = JSON.parse(stdout);
    assert.equal(code, 1, stdout);
    assert.deepEqual(
      report.stages.map(({ stage, status }: { stage: string; status: string }) => [stage, status]),
      [
        ['runtime', 'warning'],
        ['settings', 'ok'],
        ['collector', 'ok'],
        ['milvus', 'ok'],
        ['join', 'failure'],
      ],
      stdout,
    );
  });

  test('resolves the exports of package.json and no other paths', async () => {
    const program = `
      const resolve = (name) => { try { return require.resolve(name); } catch (error) { return error.code; } };
      console.log(JSON.stringify(process.argv.slice(1).map(resolve)));`;
    const names = ['register', 'instrumentation', 'package.json', 'dist/preload.cjs'].map(
      (name) => `milvus-otel/${name}`,
    );
    const { stdout } = await node(['-e', program, ...names, 'milvus-otel']);
    const installed = path.join(app, 'node_modules/milvus-otel');
    assert.deepEqual(JSON.parse(stdout), [
      path.join(installed, 'dist/register.cjs'),
      path.join(installed, 'dist/instrumentation.cjs'),
      path.join(installed, 'package.json'),
      'ERR_PACKAGE_PATH_NOT_EXPORTED',
      'ERR_PACKAGE_PATH_NOT_EXPORTED',
    ]);
  });

  test('can import the instrumentation alone without starting anything', async () => {
    const program = `
      import { MilvusInstrumentation } from 'milvus-otel/instrumentation';
      const global = Symbol.for('opentelemetry.js.api.1') in globalThis;
      const preloaded = Symbol.for('milvus-otel.loaded') in globalThis;
      console.log(JSON.stringify({ name: new MilvusInstrumentation().instrumentationName, global, preloaded }));`;
    const { stdout, stderr } = await node(['--input-type=module', '-e', program]);
    assert.deepEqual(
      { ...JSON.parse(stdout), stderr },
      { name: 'milvus-otel', global: false, preloaded: false, stderr: '' },
    );
  });

  test('can import its package.json without starting anything', async () => {
    const program = `
      import manifest from 'milvus-otel/package.json' with { type: 'json' };
      const global = Symbol.for('opentelemetry.js.api.1') in globalThis;
      console.log(JSON.stringify({ name: manifest.name, global }));`;
    const { stdout } = await node(['--input-type=module', '-e', program]);
    assert.deepEqual(JSON.parse(stdout), { name: 'milvus-otel', global: false });
  });

  const ways: Record<string, { flags: string[]; env: Record<string, string> }> = {
    '--import': { flags: ['--import', 'milvus-otel/register'], env: {} },
    '-r': { flags: ['-r', 'milvus-otel/register'], env: {} },
    NODE_OPTIONS: { flags: [], env: { NODE_OPTIONS: '--import=milvus-otel/register' } },
  };
  for (const [way, { flags, env }] of Object.entries(ways)) {
    for (const program of ['searches.mjs', 'searches.cjs']) {
      test(`is traced by ${way}: ${program}`, async () => {
        receiver.clear();
        const { stdout, stderr } = await node([...flags, program], env);
        assert.equal(stdout, 'has true, inserted 1, found 5, queried 5\n');
        assert.equal(stderr, '');
        const spans = await receiver.waitForSpans(({ length }) => length >= 5, 5_000);
        // connect, hasCollection, insert, search, query: a trace each
        assert.deepEqual(outline(spans), [
          'connect default',
          'hasCollection quick_setup',
          'insert quick_setup',
          'search quick_setup',
          'query quick_setup',
        ]);
        for (const { service } of spans) assert.equal(service, 'my-shop');
      });
    }
  }

  test('has its web requests traced, and in them its searches', async () => {
    receiver.clear();
    await node(['--import', 'milvus-otel/register', 'web-app.mjs']);
    const spans = await receiver.waitForSpans(({ length }) => length >= 7, 5_000);
    // GET (fetch) └─ GET (server) ├─ connect        GET (fetch) └─ GET (server) └─ search
    //                             └─ search
    assert.deepEqual(outline(spans), [
      'GET',
      '  GET',
      '    connect default',
      '    search quick_setup',
      'GET',
      '  GET',
      '    search quick_setup',
    ]);
  });

  test('shares the API with it: operations are children of the app’s own spans', async () => {
    receiver.clear();
    await node(['--import', 'milvus-otel/register', 'root-spans.mjs']);
    const spans = await receiver.waitForSpans(({ length }) => length >= 64, 5_000);
    // start ├─ connect        request n ├─ search        query
    //       └─ hasCollection            └─ render n
    const tree = outline(spans);
    assert.deepEqual(tree.slice(0, 5), [
      'start',
      '  connect default',
      '  hasCollection quick_setup',
      'request 0',
      '  search quick_setup',
    ]);
    assert.equal(tree.at(-1), 'query quick_setup');
  });
});
