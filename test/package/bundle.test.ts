/** The files of dist/, which users run: no duplicate modules, no tests, readable stacks, bounded size. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ensureDist } from '../support/dist.ts';

const root = path.join(import.meta.dirname, '../..');
const dist = path.join(root, 'dist');

/** In bytes. Each was set some tenths above the size at that time; raise it only with a reason. */
const BUDGET = {
  /**
   * Code that is read at the start of every app. Raised from 260,000 for names of Milvus' errors, hidden
   * values, limits of every signal, bounded retries and other SDKs in the process; docs/benchmarks.md has the
   * cost of a start.
   */
  atEveryStart: 310_000,
  /**
   * All code; an app loads only parts of it. Raised from 2,600,000 for the exporters of metrics and logs,
   * which are OpenTelemetry's only with a configuration file.
   */
  code: 2_620_000,
  /** With source maps and licences, the size on disk. */
  all: 9.8 * 2 ** 20,
};

/** Modules that the bundle was made of, by the file in dist/ that they are in. */
let modules: Map<string, string[]>;

before(async () => {
  await ensureDist();
  modules = new Map();
  for (const file of await readdir(dist)) {
    if (!file.endsWith('.cjs.map')) continue;
    const { sources } = JSON.parse(await readFile(path.join(dist, file), 'utf8')) as { sources: string[] };
    modules.set(file.replace(/\.map$/, ''), sources);
  }
  const all = [...modules.values()].flat();
  assert.ok(
    all.includes('../src/config/settings.ts') && all.length > 300,
    `only ${all.length} modules are named`,
  );
});

function node(args: string[], env: Record<string, string> = {}) {
  return promisify(execFile)(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env.PATH, ...env },
    timeout: 60_000,
  });
}

async function bytes(fits: RegExp): Promise<number> {
  const files = (await readdir(dist)).filter((file) => fits.test(file));
  const sizes = await Promise.all(files.map(async (file) => (await stat(path.join(dist, file))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe('a module', () => {
  // The preload, the doctor and the helper at the exit are separate bundles: none may load another's parts.
  const bundles: [name: string, isPart: (file: string) => boolean, has: string][] = [
    ['the preload', (file) => !/^(doctor|sender-process)/.test(file), '../src/config/settings.ts'],
    ['the doctor', (file) => file.startsWith('doctor'), '../src/config/settings.ts'],
    ['the helper at the exit', (file) => file.startsWith('sender-process'), '../src/otlp/grpc-sender.ts'],
  ];
  for (const [bundle, isPart, has] of bundles) {
    test(`is in one file of ${bundle} only`, () => {
      const places = new Map<string, string[]>();
      for (const [file, sources] of modules)
        for (const source of isPart(file) ? sources : [])
          places.set(source, [...(places.get(source) ?? []), file]);
      assert.ok(places.has(has), `the files of ${bundle} are not the expected ones`);
      assert.deepEqual(
        [...places].filter(([source, { length }]) => length > 1 && !source.startsWith('\0')),
        [],
      );
    });

    test(`of ${bundle} loads no file of the others`, async () => {
      const files = (await readdir(dist)).filter((file) => file.endsWith('.cjs'));
      for (const file of files.filter(isPart)) {
        const code = await readFile(path.join(dist, file), 'utf8');
        // All share the copy of grpc-js.
        for (const [, loaded = ''] of code.matchAll(/\b(?:require|import)\(["'`]\.\/([\w-]+\.cjs)["'`]\)/g))
          assert.ok(isPart(loaded) || loaded === 'grpc-js.cjs', `${file} loads ${loaded}`);
      }
    });
  }

  test('is not included both as an ES module and as CommonJS', () => {
    // Packages have the same module as dist/x.mjs and dist/x.cjs, or below build/esm/ and build/src/.
    const plain = (source: string) =>
      source
        .replace(/\/(esm|esnext|cjs|dist-es|dist-cjs|lib|src|dist|build)(?=\/)/g, '')
        .replace(/\.[cm]?js$/, '');
    const kinds = new Map<string, string[]>();
    for (const source of new Set([...modules.values()].flat()))
      if (source.includes('node_modules/'))
        kinds.set(plain(source), [...(kinds.get(plain(source)) ?? []), source]);
    assert.deepEqual(
      [...kinds.values()].filter(({ length }) => length > 1),
      [],
    );
  });

  test('comes from published code: no test, no fixture, no script, no bench', () => {
    const all = [...modules.values()].flat();
    assert.deepEqual(
      all.filter((source) =>
        /(^|\/)(tests?|__tests__|__mocks__|fixtures?|spec|bench|scripts|samples)\/|[.-](test|spec)\./.test(
          source.replace(/^.*\/node_modules\//, ''),
        ),
      ),
      [],
    );
  });
});

test('a stack of the preload names the file and the line in src/ when source maps are on', async () => {
  const program = `
    const { MilvusInstrumentation } = require('./dist/instrumentation.cjs');
    const planted = { get captureFilter() { throw new Error('planted'); } };
    try { new MilvusInstrumentation(planted); console.log('nothing was thrown'); }
    catch (error) { console.log(error.stack); }`;
  const { stdout } = await node(['--enable-source-maps', '-e', program]);
  assert.match(stdout, /^Error: planted$/m);
  const frames = [...stdout.matchAll(/\bat .*?\(?([^\s()]*\/src\/[\w/-]+\.ts):(\d+):\d+\)?$/gm)];
  assert.ok(frames.length > 0, `no frame is in src/:\n${stdout}`);
  const named = await Promise.all(
    frames.map(async ([, file = '', line]) => (await readFile(file, 'utf8')).split('\n')[Number(line) - 1]),
  );
  assert.ok(
    named.some((line) => /config/i.test(line ?? '')),
    `no line reads the configuration:\n${named.join('\n')}`,
  );
});

/** The files of dist/ that every app reads at its start. */
async function readAtEveryStart(): Promise<string[]> {
  const program = `
    const files = Object.keys(require.cache).filter((file) => file.startsWith(process.argv[1]));
    console.log(JSON.stringify(files));`;
  const { stdout } = await node(['-r', './dist/register.cjs', '-e', program, dist]);
  const files = JSON.parse(stdout) as string[];
  assert.ok(
    files.some((file) => file.endsWith('preload.cjs')),
    stdout,
  );
  return files;
}

test('code that every app reads at its start is ASCII: one other character makes V8 keep two bytes for each', async () => {
  for (const file of await readAtEveryStart()) {
    const code = await readFile(file, 'utf8');
    const [beyond] = /.{0,40}[^\0-\x7f].{0,40}/.exec(code) ?? [];
    assert.equal(beyond, undefined, path.basename(file));
  }
});

describe('its size is within the budget:', () => {
  test('code that every app reads at its start', async () => {
    const files = await readAtEveryStart();
    const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
    const sum = sizes.reduce((total, size) => total + size, 0);
    assert.ok(sum <= BUDGET.atEveryStart, `${sum} bytes: ${files.join(', ')}`);
  });

  test('all code', async () => {
    const sum = await bytes(/\.cjs$/);
    assert.ok(sum <= BUDGET.code, `${sum} bytes`);
  });

  test('all published files', async () => {
    const sum = await bytes(/./);
    assert.ok(sum <= BUDGET.all, `${sum} bytes`);
  });
});

test('no code in the process of an app reads clocks, timers, promises or random numbers from the globals', async () => {
  const names =
    'Date|Promise|performance|setTimeout|clearTimeout|setInterval|clearInterval|setImmediate|queueMicrotask';
  const globals = new RegExp(`(?<![\\w$.])(?:new (?:${names})\\b|(?:${names})[.(]|Math\\.random)`);
  const parts = [...modules].filter(([file]) => !/^(doctor|sender-process)/.test(file));
  const holder = parts.find(([, sources]) => sources.includes('../src/sdk/originals.ts'));
  assert.ok(holder !== undefined);
  for (const [file] of parts) {
    const code = (await readFile(path.join(dist, file), 'utf8'))
      // How the build writes import().
      .replaceAll('Promise.resolve().then(()=>', '');
    // The module of the originals, and the copy of grpc-js that gets them, use the same names as locals;
    // test/preload/replaced-globals.test.ts runs that file.
    if (file !== holder[0] && file !== 'grpc-js.cjs') assert.doesNotMatch(code, globals, file);
  }
});
