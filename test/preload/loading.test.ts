import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { outline, useRuns } from './runs.ts';

const runs = useRuns();
const entryPoint = path.join(import.meta.dirname, '../../dist/register.cjs');

/** The three ways to load the preload, and what each means for a run. */
const ways = {
  '--import': { preload: '--import' },
  '-r': { preload: '--require' },
  NODE_OPTIONS: { preload: false, env: { NODE_OPTIONS: `--import=${pathToFileURL(entryPoint).href}` } },
} as const;

const printed = 'has true, inserted 1, found 5, queried 5\n';

/** null: the Node that runs this test. */
for (const version of [null, '22.15.0', '26']) {
  describe(`on Node ${version ?? process.versions.node}`, { concurrency: 2 }, () => {
    for (const file of ['searches.mjs', 'searches.cjs']) {
      for (const [way, options] of Object.entries(ways)) {
        test(`${file} is traced by ${way}`, async () => {
          const { service, ...result } = await runs.run({
            file: `test/fixtures/${file}`,
            ...options,
            ...(version === null ? {} : { nodePath: await nodeBinary(version) }),
          });
          assert.deepEqual(result, { stdout: printed, stderr: '', code: 0, signal: null });

          // connect, hasCollection, insert, search, query: a trace each
          const spans = await runs.spans(service, 5);
          assert.deepEqual(outline(spans), [
            'connect default',
            'hasCollection quick_setup',
            'insert quick_setup',
            'search quick_setup',
            'query quick_setup',
          ]);
          assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 5);
          for (const span of spans) {
            assert.equal(span.kind, 'CLIENT');
            assert.equal(span.scope, 'milvus-otel');
            assert.equal(span.status.code, 'UNSET');
          }
        });
      }
    }
  });
}

describe('loaded twice', { concurrency: 2 }, () => {
  for (const preload of ['--import', '--require'] as const) {
    test(`by NODE_OPTIONS and ${preload}, an app has one set of spans`, async () => {
      const { service, ...result } = await runs.run({
        file: 'test/fixtures/searches.mjs',
        preload,
        env: ways.NODE_OPTIONS.env,
      });
      assert.deepEqual(result, { stdout: printed, stderr: '', code: 0, signal: null });
      assert.equal((await runs.spans(service, 5)).length, 5);
    });
  }
});

describe('threads', { concurrency: 2 }, () => {
  const { platform } = process;
  test('an app has no more of them than without the preload', { skip: platform !== 'linux' }, async () => {
    const file = 'test/fixtures/thread-count.mjs';
    const env = { OTEL_BSP_SCHEDULE_DELAY: '1' };
    const traced = await runs.run({ file, env });
    const untraced = await runs.run({ file, env, preload: false });
    assert.match(traced.stdout, /^\d+\n$/);
    assert.deepEqual({ ...traced, service: '' }, { ...untraced, service: '' });
    assert.equal((await runs.spans(traced.service, 2)).length, 2);
  });

  for (const preload of ['--import', '--require'] as const) {
    test(`searches in a worker thread are traced by ${preload}`, async () => {
      const { service, ...result } = await runs.run({ file: 'test/fixtures/worker.mjs', preload });
      assert.deepEqual(result, {
        stdout: `${printed}worker ended with 0\n`,
        stderr: '',
        code: 0,
        signal: null,
      });
      assert.equal((await runs.spans(service, 5)).length, 5);
    });

    test(`the thread of an app's own module hooks is left alone by ${preload}`, async () => {
      const { service, stdout, stderr } = await runs.run({
        file: 'test/fixtures/own-hooks.mjs',
        preload,
        env: { OTEL_LOG_LEVEL: 'info' },
      });
      assert.equal(stdout, printed);
      assert.equal(stderr.match(/: Started /g)?.length, 1, stderr);
      assert.equal((await runs.spans(service, 5)).length, 5);
    });
  }
});

describe('switched off', { concurrency: 2 }, () => {
  for (const value of ['true', 'TRUE']) {
    test(`by OTEL_SDK_DISABLED=${value}, nothing is loaded and nothing is logged`, async () => {
      const env = { OTEL_SDK_DISABLED: value, OTEL_TRACES_SAMPLER: 'nonsense', OTEL_LOG_LEVEL: 'debug' };
      const { stdout, stderr } = await runs.run({ file: 'test/fixtures/what-is-loaded.cjs', env });
      assert.equal(stderr, '');
      assert.deepEqual(JSON.parse(stdout), {
        globals: [],
        files: ['register.cjs'],
        listeners: JSON.parse(
          (await runs.run({ file: 'test/fixtures/what-is-loaded.cjs', preload: false })).stdout,
        ).listeners,
      });
    });
  }

  test('the program that looks for loaded modules finds them when they are loaded', async () => {
    const { stdout } = await runs.run({ file: 'test/fixtures/what-is-loaded.cjs' });
    const { globals, files } = JSON.parse(stdout);
    assert.ok(globals.includes('Symbol(opentelemetry.js.api.1)'), stdout);
    assert.ok(files.includes('preload.cjs'), stdout);
  });
});

const tooOld =
  /^milvus-otel: Node \d+\.\d+\.\d+ is not supported \(needs \^22\.15\.0 \|\| >=23\.5\.0\)\. The app runs untraced\.\n/;

describe('on a Node that is too old', { concurrency: 2 }, () => {
  for (const version of ['18', '20', '22.14.0', '23.4.0']) {
    for (const file of ['exit-code.cjs', 'exit-code.mjs']) {
      for (const [way, options] of Object.entries(ways)) {
        test(`${version}, ${file} runs untraced by ${way}, after one line that names the version needed`, async () => {
          const nodePath = await nodeBinary(version);
          const { stdout, stderr, code } = await runs.run({
            file: `test/fixtures/${file}`,
            ...options,
            nodePath,
          });
          assert.match(stderr, tooOld);
          assert.equal(stderr.replace(tooOld, ''), 'err\n');
          assert.equal(stdout, 'out\n');
          assert.equal(code, 4);
        });
      }
    }
  }

  for (const file of ['worker.mjs', 'own-hooks.mjs']) {
    for (const preload of ['--import', '--require'] as const) {
      test(`the line is logged once, whatever threads ${file} starts under ${preload}`, async () => {
        const nodePath = await nodeBinary('20');
        const { stdout, stderr, code } = await runs.run({ file: `test/fixtures/${file}`, preload, nodePath });
        assert.match(stderr, tooOld);
        assert.equal(stderr.replace(tooOld, ''), '');
        assert.ok(stdout.startsWith(printed), stdout);
        assert.equal(code, 0);
      });
    }
  }
});

describe('on another runtime', { concurrency: 2 }, () => {
  const fixture = path.join(import.meta.dirname, '../fixtures/other-runtime.mjs');
  const bun = async () =>
    path.join(await installed({ bun: '1' }, { scripts: true }), 'node_modules/.bin/bun');
  const deno = async () =>
    path.join(await installed({ deno: '2' }, { scripts: true }), 'node_modules/.bin/deno');
  for (const [command, of, name] of [
    ['bun --preload', async () => [await bun(), '--preload', entryPoint], 'Bun'],
    ['deno run --preload', async () => [await deno(), 'run', '--allow-all', '--preload', entryPoint], 'Deno'],
    [
      'deno run without permissions',
      async () => [await deno(), 'run', '--no-prompt', '--preload', entryPoint],
      'Deno',
    ],
    ['deno run --require', async () => [await deno(), 'run', '--allow-all', '--require', entryPoint], 'Deno'],
  ] as const) {
    test(`${command} runs the app untraced, after one line`, async () => {
      const [program = '', ...args] = await of();
      const { stdout, stderr } = await promisify(execFile)(program, [...args, fixture]);
      assert.match(
        stderr,
        new RegExp(
          `^milvus-otel: ${name} \\d+\\.\\d+\\.\\d+ is not supported \\(needs Node\\)\\. The app runs untraced\\.\\n$`,
        ),
      );
      assert.equal(stdout, `${name}\n`);
    });
  }
});
