/** NODE_OPTIONS also reaches package managers and build tools that start the app: only the app is traced. */
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { nodeBinary } from '../../tools/processes/node-versions.ts';
import { type RunOptions, useRuns } from './runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');
const entryPoint = path.join(root, 'dist/register.cjs');

let app: string;
let tools: string;
before(async () => {
  tools = await installed({
    npm: '11',
    pnpm: '10',
    yarn: '1',
    '@yarnpkg/cli-dist': '4',
    typescript: '5',
    tsx: '4.23.15',
    'ts-node': '10.9.2',
    nodemon: '3.1.14',
    pm2: '7.0.4',
  });
  // Where an app or its workspace has them installed.
  app = await mkdtemp(path.join(tools, '.app-'));
  const scripts = { start: 'node app.js', install: 'node app.js' };
  await writeFile(
    path.join(app, 'package.json'),
    JSON.stringify({ name: 'my-shop', private: true, scripts }),
  );
  await writeFile(path.join(app, 'app.js'), 'console.log("app");\n');
  await writeFile(path.join(app, 'app.ts'), 'const text: string = "app";\nconsole.log(text);\n');
  await writeFile(path.join(app, 'tsconfig.json'), '{ "compilerOptions": { "module": "commonjs" } }\n');
  // Yarn as committed to a repository, and a command as npm links it.
  await mkdir(path.join(app, '.yarn/releases'), { recursive: true });
  await cp(inTools('@yarnpkg/cli-dist/bin/yarn.js'), path.join(app, '.yarn/releases/yarn-4.18.1.cjs'));
  await mkdir(path.join(app, 'node_modules/.bin'), { recursive: true });
  await symlink(inTools('typescript/bin/tsc'), path.join(app, 'node_modules/.bin/tsc'));
  const dependency = path.join(app, 'node_modules/dependency');
  await mkdir(dependency);
  await writeFile(
    path.join(dependency, 'package.json'),
    JSON.stringify({ name: 'dependency', version: '1.0.0', scripts: { install: 'node install.js' } }),
  );
  await writeFile(path.join(dependency, 'install.js'), 'console.log("installed");\n');
});
after(() => rm(app, { recursive: true, force: true }));

/**
 * Runs a command of a tool in the app's folder. Every thread that is traced logs a line; others log none.
 */
async function run(file: string, args: string[], options: Partial<RunOptions> = {}) {
  const { stdout, stderr, code } = await runs.run({
    file,
    args,
    preload: false,
    cwd: app,
    service: null,
    timeoutMs: 60_000,
    ...options,
    env: {
      NODE_OPTIONS: `--import ${entryPoint}`,
      OTEL_LOG_LEVEL: 'info',
      PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
      ...options.env,
    },
  });
  const output = `${stdout}${stderr}`.matchAll(/milvus-otel: (?:Started \S+: service (\S+),|[^\n]*)/g);
  return {
    stdout,
    stderr,
    code,
    traced: [...new Set([...output].map(([line, service]) => service ?? line))],
  };
}

const inTools = (file: string) => path.join(tools, 'node_modules', file);

/** Command → file and arguments. */
const ALONE: Record<string, () => [file: string, ...args: string[]]> = {
  'npm --version': () => [inTools('npm/bin/npm-cli.js'), '--version'],
  'npx --version': () => [inTools('npm/bin/npx-cli.js'), '--version'],
  'pnpm --version': () => [inTools('pnpm/bin/pnpm.cjs'), '--version'],
  'pnpx --help': () => [inTools('pnpm/bin/pnpx.cjs'), '--help'],
  'yarn 1 --version': () => [inTools('yarn/bin/yarn.js'), '--version'],
  'yarn 4 --version': () => [inTools('@yarnpkg/cli-dist/bin/yarn.js'), '--version'],
  "a repository's own yarn": () => [path.join(app, '.yarn/releases/yarn-4.18.1.cjs'), '--version'],
  'tsc --version': () => [inTools('typescript/bin/tsc'), '--version'],
  'tsc by its link': () => [path.join(app, 'node_modules/.bin/tsc'), '--version'],
  'milvus-otel --version': () => [path.join(import.meta.dirname, '../../bin/milvus-otel.cjs'), '--version'],
  "a dependency's install script": () => [inTools('npm/bin/npm-cli.js'), 'rebuild', 'dependency'],
};

describe('left alone, without a line', { concurrency: 2 }, () => {
  for (const [command, of] of Object.entries(ALONE)) {
    test(command, async () => {
      const [file, ...args] = of();
      const { traced, code } = await run(file, args);
      assert.deepEqual({ traced, code }, { traced: [], code: 0 });
    });
  }

  test('npm on a Node that is too old', async () => {
    const { traced, code } = await run(inTools('npm/bin/npm-cli.js'), ['--version'], {
      nodePath: await nodeBinary('20'),
    });
    assert.deepEqual({ traced, code }, { traced: [], code: 0 });
  });
});

const STARTERS: Record<string, () => [file: string, ...args: string[]]> = {
  'npm start': () => [inTools('npm/bin/npm-cli.js'), 'start'],
  'pnpm start': () => [inTools('pnpm/bin/pnpm.cjs'), 'start'],
  'yarn 1 start': () => [inTools('yarn/bin/yarn.js'), 'start'],
  "the app's own script of the name install": () => [inTools('npm/bin/npm-cli.js'), 'run', 'install'],
  'tsx app.ts': () => [inTools('tsx/dist/cli.mjs'), 'app.ts'],
  'ts-node app.ts': () => [inTools('ts-node/dist/bin.js'), '--transpile-only', 'app.ts'],
  'pm2-runtime app.js': () => [inTools('pm2/bin/pm2-runtime'), 'start', 'app.js', '--no-autorestart'],
};

describe('the app alone is traced, and named after itself, by', { concurrency: 2 }, () => {
  for (const [command, of] of Object.entries(STARTERS)) {
    test(command, async () => {
      const [file, ...args] = of();
      const { stdout, stderr, traced } = await run(file, args, {
        env: { PM2_HOME: path.join(app, '.pm2'), PM2_DISABLE_VERSION_CHECK: 'true' },
      });
      assert.match(stdout, /\bapp\n/, stderr);
      assert.deepEqual(traced, ['my-shop'], stderr);
    });
  }

  test('nodemon app.js', async () => {
    const fixture = runs.start({
      file: inTools('nodemon/bin/nodemon.js'),
      args: ['--delay', '60', 'app.js'],
      preload: false,
      cwd: app,
      service: null,
      env: {
        NODE_OPTIONS: `--import ${entryPoint}`,
        OTEL_LOG_LEVEL: 'info',
        PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
      },
    });
    await fixture.waitForStdout(/clean exit/);
    fixture.kill('SIGINT');
    const { stdout, stderr } = await fixture.ended;
    assert.match(stdout, /^app$/m);
    assert.deepEqual(
      [...stderr.matchAll(/: service (\S+),/g)].map(([, service]) => service),
      ['my-shop'],
    );
  });
});

test('a worker thread of a tool is left alone too', async () => {
  const tool = path.join(app, 'node_modules/eslint');
  await mkdir(tool, { recursive: true });
  await writeFile(path.join(tool, 'package.json'), '{ "name": "eslint" }');
  await writeFile(
    path.join(tool, 'eslint.js'),
    `const { Worker, isMainThread } = require('node:worker_threads');
if (isMainThread) new Worker(__filename); else console.log('in a thread');`,
  );
  const { stdout, stderr, traced } = await run(path.join(tool, 'eslint.js'), []);
  assert.deepEqual({ stdout, stderr, traced }, { stdout: 'in a thread\n', stderr: '', traced: [] });
});

test("an app's own file of a tool's name is traced", async () => {
  for (const name of ['yarn.js', 'cli.js', 'npm']) {
    await writeFile(path.join(app, name), 'console.log("app");\n');
    const { stdout, traced } = await run(path.join(app, name), []);
    assert.deepEqual({ stdout, traced }, { stdout: 'app\n', traced: ['my-shop'] }, name);
  }
});
