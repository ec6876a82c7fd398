/** Frameworks that build a server: the build and the development server, with and without the preload. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { AppName } from '../../tools/docs/tried-apps.ts';
import { freePort } from '../../tools/processes/free-ports.ts';
import type { Packages } from '../../tools/processes/installed.ts';
import { type FixtureResult, startFixture } from '../../tools/processes/run-fixture.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { assertSameRun, assertSeen, installTried } from '../support/tried-app.ts';
import { createDocs } from './docs-collection.ts';

const database = 'frameworks_ssr_apps';
const fixtures = path.join(import.meta.dirname, '../fixtures');
const register = pathToFileURL(path.join(import.meta.dirname, '../../dist/register.cjs')).href;
const SDK = '@zilliz/milvus2-sdk-node';
const buildTimeoutMs = 240_000;
const serverTimeoutMs = 120_000;

const quiet = { NUXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1', CI: '1' };
const preload = { NODE_OPTIONS: `--import ${register}` };

interface SsrApp {
  /** Row of its built server. */
  app: AppName;
  /** Row of its development server, when that is another. */
  dev?: AppName;
  /** In test/fixtures/ssr. */
  fixture: string;
  /** The file of the app that searches. */
  milvus: string;
  /** Peer dependencies of the packages. */
  others: Packages;
  build: string[];
  start: string[];
  develop: string[];
  /** The app's own code in the build. */
  output: string;
  /** The server has started when it has printed this. */
  ready: RegExp;
}

const APPS: SsrApp[] = [
  {
    app: 'Nuxt',
    dev: 'Nuxt, `nuxt dev`',
    fixture: 'nuxt',
    milvus: 'server/utils/milvus.ts',
    others: { vue: '3', 'vue-router': '5' },
    build: ['node_modules/.bin/nuxt', 'build'],
    output: '.output/server/chunks',
    start: ['.output/server/index.mjs'],
    develop: ['node_modules/.bin/nuxt', 'dev'],
    ready: /Listening on|server warmed up/,
  },
  {
    app: 'SvelteKit',
    fixture: 'sveltekit',
    milvus: 'src/milvus.server.ts',
    others: { '@sveltejs/vite-plugin-svelte': '7', svelte: '5', typescript: '6', vite: '8' },
    build: ['node_modules/.bin/vite', 'build'],
    output: 'build/server',
    start: ['build/index.js'],
    develop: ['node_modules/.bin/vite', 'dev'],
    ready: /Listening on|Local:/,
  },
  {
    app: 'React Router',
    dev: 'React Router, `react-router dev`',
    fixture: 'react-router',
    milvus: 'app/milvus.server.ts',
    others: {
      '@react-router/dev': '8',
      react: '19',
      'react-dom': '19',
      isbot: '5',
      typescript: '5',
      vite: '8',
    },
    build: ['node_modules/.bin/react-router', 'build'],
    output: 'build/server',
    start: ['node_modules/.bin/react-router-serve', 'build/server/index.js'],
    develop: ['node_modules/.bin/react-router', 'dev'],
    ready: /\[react-router-serve\]|Local:/,
  },
];

let stack: Stack;
let removeDocs: () => Promise<void>;

before(async () => {
  stack = await useStack();
  removeDocs = await createDocs(stack.milvusAddress, database);
});

/**
 * A copy of the fixture with its packages in it: some bundlers treat packages outside the app differently.
 */
async function place(fixture: string, milvus: string, installation: string): Promise<string> {
  const folder = await mkdtemp(path.join(installation, 'app-'));
  await cp(path.join(fixtures, 'ssr', fixture), folder, { recursive: true });
  await cp(path.join(fixtures, 'next/lib/milvus.ts'), path.join(folder, milvus));
  const hardLinks = ['-RPl', path.join(installation, 'node_modules'), path.join(folder, 'node_modules')];
  await promisify(execFile)('cp', hardLinks);
  return folder;
}

async function build(
  folder: string,
  [file, ...args]: string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { stdout, stderr, code } = await startFixture({
    file: path.join(folder, file as string),
    args,
    cwd: folder,
    timeoutMs: buildTimeoutMs,
    env: { ...quiet, NODE_ENV: 'production', ...env },
  }).ended;
  assert.equal(code, 0, stdout + stderr);
  return stdout + stderr;
}

/** Starts a server, requests each path, and stops it. */
async function visit(
  folder: string,
  [file, ...args]: string[],
  ready: RegExp,
  paths: string[],
  env: Record<string, string> = {},
): Promise<FixtureResult & { answers: string[] }> {
  const port = String(await freePort());
  const isDev = args[0] === 'dev';
  const server = startFixture({
    file: path.join(folder, file as string),
    args: isDev ? [...args, '--port', port, '--host', '127.0.0.1'] : args,
    cwd: folder,
    timeoutMs: serverTimeoutMs,
    env: {
      ...quiet,
      PORT: port,
      HOST: '127.0.0.1',
      NODE_ENV: isDev ? 'development' : 'production',
      MILVUS_ADDRESS: stack.milvusAddress,
      MILVUS_DATABASE: database,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
      ...env,
    },
  });
  const answers: string[] = [];
  try {
    await server.waitForStdout(ready);
    for (const path of paths) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      answers.push(`${response.status} ${await response.text()}`);
    }
  } finally {
    server.kill('SIGTERM');
  }
  return { ...(await server.ended), answers };
}

/** Output without values that differ at each start. */
const lasting = (text: string): string => text.replace(/:\d{4,5}\b|\d+(\.\d+)? ms/g, '…');

const paths = ['/api/search/a', '/docs'];
const serviceOf = (app: AppName): string => `ssr-${app.replace(/\W+/g, '-')}`;

function assertFound([answer = '']: string[]): void {
  const { id, results } = JSON.parse(answer.replace(/^200 /, ''));
  assert.deepEqual([id, results.length], ['a', 3]);
}

/** Whether the built app imports the SDK, or has it inside. */
async function importsSdk(folder: string): Promise<boolean> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const texts = await Promise.all(
    files
      .filter(({ name }) => /\.m?js$/.test(name))
      .map(({ parentPath, name }) => readFile(path.join(parentPath, name), 'utf8')),
  );
  const isExternal = texts.some((text) => text.includes(`from "${SDK}"`) || text.includes(`from '${SDK}'`));
  assert.equal(
    texts.some((text) => text.includes('MilvusService/')) ||
      texts.some((text) => text.includes('proto.milvus')),
    !isExternal,
  );
  return isExternal;
}

for (const { app, dev = app, fixture, milvus, others, output, ready, ...commands } of APPS) {
  describe(app, () => {
    let folder: string;

    before(async () => {
      const installation = await installTried([app], { ...others, [SDK]: '3.0.6' });
      folder = await place(fixture, milvus, installation);
    });
    after(() => rm(folder, { recursive: true, force: true }));

    test('a request that searches is one trace, and nothing else differs; the build has no spans', async () => {
      const service = serviceOf(app);
      const report = await build(folder, commands.build, {
        ...preload,
        OTEL_SERVICE_NAME: `${service}-build`,
      });
      assert.doesNotMatch(report, /milvus-otel/);
      assert.equal(await importsSdk(path.join(folder, output)), true);
      const bare = await visit(folder, commands.start, ready, paths);
      const env = { ...preload, OTEL_SERVICE_NAME: service };
      const traced = await visit(folder, commands.start, ready, paths, env);
      assertFound(traced.answers);
      assert.deepEqual(traced.answers, bare.answers);
      assertSameRun(traced, bare, lasting);
      // Nuxt, SvelteKit: GET └─ search docs └─ standalone
      // React Router: GET / └─ request handler └─ search docs └─ standalone
      const search = await assertSeen(stack, app, service);
      assert.equal(search.attributes['db.response.returned_rows'], 3);
      assert.deepEqual(await stack.receiver.spans({ service: `${service}-build` }), []);
    });

    test('the same holds for its development server', async () => {
      const service = `${serviceOf(app)}-dev`;
      const env = { ...preload, OTEL_SERVICE_NAME: service };
      const traced = await visit(folder, commands.develop, ready, ['/api/search/a'], env);
      assertFound(traced.answers);
      assert.doesNotMatch(traced.stdout + traced.stderr, /milvus-otel/);
      // Nuxt: GET └─ GET └─ GET └─ search docs └─ standalone
      // SvelteKit, React Router: GET └─ search docs └─ standalone
      await assertSeen(stack, dev, service);
    });
  });
}

describe('the SDK is in the bundle of', () => {
  const { app, fixture, milvus, others, output, ready, ...commands } = APPS.find(
    (one) => one.app === 'SvelteKit',
  ) as SsrApp;
  let installation: string;

  before(async () => {
    installation = await installTried([app], { ...others, [SDK]: '3.0.6' });
  });

  test('SvelteKit as one of devDependencies, and the line names the fix', async () => {
    const folder = await place(fixture, milvus, installation);
    const manifest = path.join(folder, 'package.json');
    const { dependencies, ...others } = JSON.parse(await readFile(manifest, 'utf8'));
    await writeFile(manifest, JSON.stringify({ ...others, devDependencies: dependencies }));
    await build(folder, commands.build);
    assert.equal(await importsSdk(path.join(folder, output)), false);
    const service = `${serviceOf(app)}-bundled`;
    const env = { ...preload, OTEL_SERVICE_NAME: service };
    const { answers, stderr } = await visit(folder, commands.start, ready, paths, env);
    assertFound(answers);
    assert.match(stderr, /^milvus-otel: Milvus is bundled into [^\n]*SvelteKit, dependencies[^\n]*\n$/);
    // GET └─ search docs └─ standalone
    await assertSeen(stack, app, service);
    await rm(folder, { recursive: true });
  });

  test('Vite with ssr.noExternal, unless ssr.external names it', async () => {
    const folder = await place('vite', 'milvus.ts', installation);
    const config = path.join(folder, 'vite.config.ts');
    const text = await readFile(config, 'utf8');
    const external = `external: ['${SDK}', '@grpc/grpc-js']`;
    for (const [ssr, isExternal] of [
      ['', true],
      ['ssr: { noExternal: true },', false],
      [`ssr: { noExternal: true, ${external} },`, true],
    ] as const) {
      await writeFile(config, text.replace('({', `({ ${ssr}`));
      await rm(path.join(folder, 'dist'), { recursive: true, force: true });
      await build(folder, ['node_modules/.bin/vite', 'build']);
      assert.equal(await importsSdk(path.join(folder, 'dist')), isExternal, ssr);
      const service = `ssr-vite-${ssr.length}`;
      const env = { ...preload, OTEL_SERVICE_NAME: service };
      const { answers, stderr } = await visit(
        folder,
        ['dist/server.js'],
        /Listening/,
        paths.slice(0, 1),
        env,
      );
      assertFound(answers);
      assert.equal(stderr.startsWith('milvus-otel: Milvus is bundled into '), !isExternal, stderr);
      // GET └─ search docs └─ standalone
      await assertSeen(stack, 'Vite, `vite build --ssr`', service);
    }
    await rm(folder, { recursive: true });
  });
});

after(() => removeDocs());
