/** How the doctor finds the ways by which a preload gets into an app, on folders without a process. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { Finding } from '../../src/doctor/finding.ts';
import { readCommand } from '../../src/doctor/node-options.ts';
import { checkRuntime, entryFile, isNextApp, waysIn } from '../../src/doctor/runtime.ts';
import { appFolder, type Files } from '../support/app-folder.ts';

const OURS = 'milvus-otel/register';

const PACKAGE = (version: string): Files => ({
  'node_modules/milvus-otel/package.json': {
    name: 'milvus-otel',
    version,
    exports: { './register': './dist/register.cjs' },
  },
  'node_modules/milvus-otel/dist/register.cjs': '',
  'node_modules/milvus-otel/dist/preload.cjs': '',
});

const api = (version: string): Files => ({
  'node_modules/@opentelemetry/api/package.json': { name: '@opentelemetry/api', version, main: 'index.js' },
  'node_modules/@opentelemetry/api/index.js': '',
});

/** This doctor's own package, of version 1.0.0 and with API 1.9.0. */
const own = appFolder({ ...PACKAGE('1.0.0'), ...api('1.9.0') });
const ownPreload = path.join(own, 'node_modules/milvus-otel/dist/register.cjs');

function findings(files: Files, { env = {}, command = [] as string[] } = {}): Record<string, Finding[]> {
  const all = checkRuntime({
    appFolder: appFolder(files),
    env,
    command: command.length === 0 ? undefined : readCommand(command),
    ownPreload,
    version: '1.0.0',
  });
  return Object.groupBy(all, ({ id }) => id.replace('runtime.', '')) as Record<string, Finding[]>;
}

/** Status and text of the only finding of its kind. */
function finding(id: string, ...given: Parameters<typeof findings>): string {
  const [first, ...others] = findings(...given)[id] ?? [];
  assert.deepEqual(others, []);
  return `${first?.status}: ${first?.found}`;
}

describe("the app's main file", () => {
  const files = { 'main.js': '', 'start.mjs': '', 'other.js': '' };
  const entry = (manifest: object, command?: string[]) => {
    const at = appFolder({ ...files, 'package.json': manifest });
    const found = entryFile({ appFolder: at, command: command && readCommand(command) });
    return found && path.relative(at, found);
  };

  test('is that of the command, else of the script start, else main', () => {
    const scripts = { start: `NODE_ENV=production node --import ${OURS} --no-warnings start.mjs --port 1` };
    assert.equal(entry({ main: 'main.js', scripts }, ['node', 'other.js']), 'other.js');
    assert.equal(entry({ main: 'main.js', scripts }), 'start.mjs');
    assert.equal(entry({ main: 'main.js' }), 'main.js');
  });

  test('is unknown for a command without one, for a file that does not exist, and without any name', () => {
    assert.equal(entry({ main: 'main.js' }, ['npm', 'start']), undefined);
    assert.equal(entry({ main: 'no-such-file.js' }), undefined);
    assert.equal(entry({}), undefined);
  });
});

describe('the preload', () => {
  const app = { 'app.js': '', 'setup.cjs': '', 'wrapper.cjs': `require('${OURS}');` };
  const preload = (...given: Parameters<typeof findings>) => finding('preload', ...given);

  test('is loaded by the command, by NODE_OPTIONS or by a script', () => {
    assert.match(
      preload(app, { command: ['node', '--import', OURS, 'app.js'] }),
      /^ok: the command loads it/,
    );
    assert.match(preload(app, { env: { NODE_OPTIONS: `-r ${OURS}` } }), /^ok: NODE_OPTIONS loads it/);
    const scripts = { dev: `node --import ${OURS} app.js` };
    assert.match(
      preload({ ...app, 'package.json': { scripts } }),
      /^ok: the script "dev" of package\.json loads it/,
    );
  });

  test('is loaded by a wrapper, by its path', () => {
    assert.match(preload(app, { command: ['node', '-r', './wrapper.cjs', 'app.js'] }), /^ok: the command/);
    assert.match(
      preload(app, { command: ['node', '-r', './setup.cjs', 'app.js'] }),
      /^warning: neither the command/,
    );
  });

  test('that follows others gives a warning, in the order in which Node loads them', () => {
    const NODE_OPTIONS = `--import ${OURS}`;
    assert.match(
      preload(app, { env: { NODE_OPTIONS }, command: ['node', '-r', './setup.cjs', 'app.js'] }),
      /^warning: NODE_OPTIONS loads it, but after --require \.\/setup\.cjs;/,
    );
    assert.match(
      preload(app, { env: { NODE_OPTIONS }, command: ['node', '--import', './setup.cjs', 'app.js'] }),
      /^ok/,
    );
    assert.match(
      preload(app, { env: { NODE_OPTIONS: `--import dd-trace/register.js --import ${OURS}` } }),
      /^warning: .* after --import dd-trace\/register\.js, which has its own OpenTelemetry/,
    );
  });

  test('that is written wrongly is a failure', () => {
    assert.match(
      preload(app, { env: { NODE_OPTIONS: '--import milvus-otel' } }),
      /^failure: .* is not what the package exports/,
    );
    assert.match(
      preload(app, { env: { NODE_OPTIONS: `“--import ${OURS}”` } }),
      /^failure: NODE_OPTIONS is .*typographic quote/,
    );
    const scripts = { start: `NODE_OPTIONS=--import ${OURS} node app.js` };
    assert.match(
      preload({ ...app, 'package.json': { scripts } }),
      /^failure: NODE_OPTIONS in the script "start"/,
    );
  });

  test('that the source loads gives a warning when it comes first, else a failure', () => {
    const source = (text: string) => preload({ 'package.json': { main: 'app.mjs' }, 'app.mjs': text });
    assert.match(source(`import '${OURS}';\nimport 'express';`), /^warning: the app's own source loads/);
    assert.match(source(`import 'express';\nimport '${OURS}';`), /^failure: the app's own source loads/);
    assert.match(source(`import 'express';`), /^warning: neither NODE_OPTIONS nor a script/);
  });

  test('in a script counts only while no command is given', () => {
    const at = appFolder({ 'package.json': { scripts: { start: `node --import ${OURS} app.js` } } });
    const order = { appFolder: at, env: {}, ownPreload, version: '1.0.0' };
    assert.match(waysIn({ ...order, command: undefined }, undefined).where ?? '', /script "start"/);
    assert.equal(waysIn({ ...order, command: readCommand(['node', 'app.js']) }, undefined).where, undefined);
  });
});

describe('the installed package', () => {
  const status = (files: Files) => finding('package', files).split(':')[0];

  test('is sound in the version of the doctor, and gives a warning in another', () => {
    assert.deepEqual([status(PACKAGE('1.0.0')), status(PACKAGE('2.0.0'))], ['ok', 'warning']);
  });

  test('is a failure when it is missing, or when a folder of its name is another package', () => {
    assert.match(finding('package', {}), /^failure: milvus-otel cannot be resolved/);
    const { 'node_modules/milvus-otel/dist/preload.cjs': _, ...incomplete } = PACKAGE('1.0.0');
    assert.match(finding('package', incomplete), /^failure: milvus-otel is shadowed: .* is not this package/);
    assert.match(
      finding('package', { 'node_modules/milvus-otel/index.js': '' }),
      /^failure: milvus-otel is shadowed: .* has no \.\/register/,
    );
  });
});

describe("the app's API", () => {
  test('works with that of the preload when it is of the same major version and not newer', () => {
    const status = (version: string) => finding('api', api(version)).split(':')[0];
    assert.deepEqual(['1.9.5', '1.4.0', '1.10.0', '2.0.0', '0.9.0'].map(status), [
      'ok',
      'ok',
      'warning',
      'warning',
      'warning',
    ]);
  });

  test('works, but a newer copy of another package does not', () => {
    const found = finding('api', {
      ...api('1.4.0'),
      'node_modules/x/node_modules/@opentelemetry/api/package.json': {
        name: '@opentelemetry/api',
        version: '1.99.0',
      },
    });
    assert.match(found, /^warning: @opentelemetry\/api 1\.99\.0 in .*x.node_modules.* cannot use/);
  });

  test('is not checked when the app has none', () => {
    assert.equal(findings({}).api, undefined);
  });
});

describe('the SDK', () => {
  const SDK = 'node_modules/@zilliz/milvus2-sdk-node';
  const sdk = (version: string) => ({
    [`${SDK}/package.json`]: { name: '@zilliz/milvus2-sdk-node', version, main: 'index.js' },
    [`${SDK}/index.js`]: '',
  });

  test('is sound in a supported version, and gives a warning in another and when it is missing', () => {
    assert.match(finding('sdk', sdk('3.0.6')), /^ok: @zilliz\/milvus2-sdk-node 3\.0\.6$/);
    assert.match(finding('sdk', sdk('2.1.0')), /^warning: .* 2\.1\.0 is not supported/);
    assert.match(finding('sdk', {}), /^warning: .* is not installed/);
  });

  const INLINED = `${' '.repeat(100_001)}"milvus.proto.milvus"`;

  test('inside a bundle gives a warning: of the main file, or of what a framework has built', () => {
    const bundle = (files: Files) => finding('bundle', files);
    const main = { 'package.json': { main: 'app.js' } };
    assert.match(
      bundle({ ...main, 'app.js': INLINED }),
      /^warning: .*app\.js is a bundle with the SDK inside/,
    );
    assert.match(
      bundle({ ...main, 'app.js': '"milvus.proto.milvus"' }),
      /^ok: .*app\.js does not contain the SDK/,
    );
    assert.match(bundle({ '.next/server/chunks/1.js': INLINED }), /^warning: .*1\.js/);
    assert.equal(findings({ '.next/server/node_modules/x/1.js': INLINED }).bundle, undefined);
  });
});

test('several copies are listed, and give a warning when they are of this package', () => {
  const second = {
    'node_modules/x/node_modules/@opentelemetry/api/package.json': {
      name: '@opentelemetry/api',
      version: '1.0.0',
    },
  };
  assert.match(
    finding('copies', { ...api('1.9.0'), ...second }),
    /^ok: several copies, .*: @opentelemetry\/api 1\.0\.0 and 1\.9\.0/,
  );
  const ours = {
    'node_modules/x/node_modules/milvus-otel/package.json': { name: 'milvus-otel', version: '0.9.0' },
  };
  assert.match(
    finding('copies', { ...PACKAGE('1.0.0'), ...ours }),
    /^warning: several copies: milvus-otel 0\.9\.0 and 1\.0\.0/,
  );
});

test('of many copies, those that matter most are shown, each version once', () => {
  const copy = (name: string, version: string, below = '') => ({
    [`node_modules/${below}${name}/package.json`]: { name, version },
  });
  const names = ['resources', 'core', 'context-async-hooks', 'sdk-logs', 'sdk-metrics'];
  const copies = names.map((name) => ({
    ...copy(`@opentelemetry/${name}`, '2.10.0'),
    ...copy(`@opentelemetry/${name}`, '2.10.0', 'x/node_modules/'),
    ...copy(`@opentelemetry/${name}`, '2.9.0', 'y/node_modules/'),
  }));
  const folder = Object.assign(
    {},
    ...copies,
    copy('@opentelemetry/api', '1.9.1', 'x/node_modules/'),
    copy('@grpc/grpc-js', '1.14.7'),
    copy('@grpc/grpc-js', '1.14.0', 'x/node_modules/'),
  );
  assert.equal(
    finding('copies', { ...api('1.10.0'), ...folder }),
    'ok: several copies, without an effect on tracing: @grpc/grpc-js 1.14.0 and 1.14.7; @opentelemetry/api 1.9.1 and 1.10.0; @opentelemetry/context-async-hooks 2.9.0 and 2.10.0 (2 copies); and 4 more packages',
  );
});

test('an app of Next.js is known by the package', () => {
  assert.equal(isNextApp(appFolder({})), false);
  assert.equal(
    isNextApp(appFolder({ 'node_modules/next/package.json': { name: 'next', version: '16.0.0' } })),
    true,
  );
});
