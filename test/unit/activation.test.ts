/** When which instrumentation is created, with instrumentations and modules that exist for the test alone. */

import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import diagnosticsChannel from 'node:diagnostics_channel';
import { createRequire } from 'node:module';
import path from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { diag } from '@opentelemetry/api';
import { activateOnLoad, type Surroundings, type Watched } from '../../src/instrumentations/activation.ts';
import type { CatalogEntry } from '../../src/instrumentations/catalog.ts';
import { appFolder, writeFiles } from '../support/app-folder.ts';
import { collectDiagErrors } from '../support/diag-errors.ts';
import { stubPart } from '../support/source-parts.ts';

/** What the instrumentations of the stubs have done. */
const log: string[] = [];
Object.assign(globalThis, { activationLog: log });
afterEach(() => {
  log.length = 0;
  diag.disable();
});

const folder = appFolder({ 'app.cjs': '', 'app.mjs': '' });
const app = createRequire(path.join(folder, 'app.cjs'));
let modules = 0;

/** A new package of the app, in both module systems. */
function newModule(): string {
  const name = `module-${++modules}`;
  const exports = { require: './index.cjs', import: './index.mjs' };
  writeFiles(path.join(folder, 'node_modules', name), {
    'package.json': { name, version: '1.0.0', exports },
    'index.cjs': `activationLog.push('${name} runs');`,
    'index.mjs': `activationLog.push('${name} runs');`,
  });
  return name;
}

const importFromApp = (name: string) => {
  const file = path.join(folder, `import-${name}.mjs`);
  writeFiles(folder, { [`import-${name}.mjs`]: `import '${name}';` });
  return import(pathToFileURL(file).href);
};

/** An instrumentation that logs; `body` is added to its class. */
function newEntry(
  name: string,
  modulesOf: string[],
  more: Partial<CatalogEntry> = {},
  body = '',
): CatalogEntry {
  stubPart(
    `instrumentation-${name}`,
    `export class Instrumentation {
      constructor(config) {
        activationLog.push('${name} is created' + (Object.keys(config).length > 0 ? ' with ' + Object.keys(config) : ''));
        this.config = config;
      }
      init() { return { name: '${name}', supportedVersions: ['>=1 <2'] }; }
      disable() { activationLog.push('${name} is disabled'); }
      ${body}
    }`,
  );
  return { name, className: 'Instrumentation', modules: modulesOf, ...more };
}

type Stub = { config: Record<string, any>; init(): { supportedVersions: string[] }[] };

function start(entries: CatalogEntry[], surroundings: Partial<Surroundings> = {}, watched: Watched = {}) {
  const activated: Stub[] = [];
  const warnings: string[] = [];
  const giveWay = activateOnLoad(
    entries,
    {
      metricsOn: false,
      logsOn: false,
      lambda: undefined,
      warn: (line) => warnings.push(line),
      bundledApps: undefined,
      ...surroundings,
    },
    (instrumentation) => activated.push(instrumentation as never),
    watched,
  );
  return { activated, warnings, giveWay };
}

describe('an instrumentation is created', () => {
  test('by a require of its module, before the module runs, and once', () => {
    const name = newModule();
    const { activated } = start([newEntry('by-require', [name])]);
    assert.deepEqual(log, [], 'not at the start');
    app(name);
    app(name);
    assert.deepEqual(log, ['by-require is created', `${name} runs`]);
    assert.equal(activated.length, 1);
  });

  test('by an import of its module', async () => {
    const name = newModule();
    start([newEntry('by-import', [name])]);
    await importFromApp(name);
    assert.deepEqual(log, ['by-import is created', `${name} runs`]);
  });

  test('by the first of several modules, and several by one module', () => {
    const [first, second] = [newModule(), newModule()];
    start([newEntry('of-two', [first, second]), newEntry('of-second', [second])]);
    app(second);
    app(first);
    assert.deepEqual(log, ['of-two is created', 'of-second is created', `${second} runs`, `${first} runs`]);
  });

  test('by a file of its package and by node: names of a built-in module, but not by a path', () => {
    const name = newModule();
    writeFiles(path.join(folder, 'node_modules', name), {
      'package.json': { name, version: '1.0.0' },
      'inner.js': '',
    });
    start([newEntry('of-file', [name]), newEntry('of-builtin', ['string_decoder'])]);
    app(`./node_modules/${name}/inner.js`);
    assert.deepEqual(log, []);
    app(`${name}/inner.js`);
    app('node:string_decoder');
    assert.deepEqual(log, ['of-file is created', 'of-builtin is created']);
  });

  test('only when its module is loaded', () => {
    start([newEntry('unused', [newModule()])]);
    app(newModule());
    assert.equal(log.length, 1);
  });
});

test('an instrumentation that cannot be created fails alone, and the app loads its module', () => {
  const errors = collectDiagErrors();
  const [name, other] = [newModule(), newModule()];
  stubPart('instrumentation-broken', `throw new Error('broken');`);
  const broken = { name: 'broken', className: 'Broken', modules: [name, other] };
  start([broken, newEntry('sound', [name])]);
  app(name);
  app(other);
  assert.deepEqual(log, ['sound is created', `${name} runs`, `${other} runs`]);
  assert.deepEqual(errors, ['The instrumentation broken could not be activated'], 'tried once');
});

test("the app's own instrumentation replaces that of the preload, before and after it is created", () => {
  const [early, late] = [newModule(), newModule()];
  const { giveWay } = start([newEntry('early', [early]), newEntry('late', [late])]);
  app(early);
  giveWay('early');
  giveWay('late');
  giveWay('of-another');
  app(late);
  assert.deepEqual(log, ['early is created', `${early} runs`, 'early is disabled', `${late} runs`]);
});

test('other versions of a module are supported where the catalog says so', () => {
  const name = newModule();
  const { activated } = start([newEntry('of-newer', [name], { supportedVersions: ['>=1 <9'] })]);
  app(name);
  assert.deepEqual(activated[0]?.init(), [{ name: 'of-newer', supportedVersions: ['>=1 <9'] }]);
});

test('instrumentations of metrics are created at the start when metrics are on, never otherwise', () => {
  const entry = newEntry('of-metrics', [], { when: 'metrics' });
  start([entry]);
  assert.deepEqual(log, []);
  start([entry], { metricsOn: true });
  assert.deepEqual(log, ['of-metrics is created']);
});

test('the first request of fetch creates its instrumentation, which gets that request', () => {
  start([
    newEntry(
      'of-fetch',
      [],
      { when: 'fetch' },
      `onRequestCreated({ url }) { activationLog.push('gets ' + url); }`,
    ),
  ]);
  const channel = diagnosticsChannel.channel('undici:request:create');
  channel.publish({ url: 'first' });
  channel.publish({ url: 'second' });
  assert.deepEqual(log, ['of-fetch is created', 'gets first']);
});

describe('a logger', () => {
  test('sends no records unless logs are exported', () => {
    const [off, on, other] = [newModule(), newModule(), newModule()];
    start([newEntry('pino', [off]), newEntry('not-a-logger', [other])]);
    app(off);
    app(other);
    start([newEntry('bunyan', [on])], { logsOn: true });
    app(on);
    assert.deepEqual(
      log.filter((line) => !line.endsWith('runs')),
      ['pino is created with disableLogSending', 'not-a-logger is created', 'bunyan is created'],
    );
  });

  test('winston sends none without its transport, and a line reports it', () => {
    writeFiles(folder, { 'node_modules/winston/index.js': '' });
    const { warnings } = start([newEntry('winston', ['winston'])], { logsOn: true });
    app('winston');
    assert.deepEqual(log, ['winston is created with disableLogSending']);
    assert.deepEqual(warnings, [
      'OTEL_LOGS_EXPORTER exports no records of winston: run npm install @opentelemetry/winston-transport.',
    ]);
  });

  test("winston of the Milvus SDK gives no such line: it is not the app's", () => {
    writeFiles(folder, {
      'node_modules/@zilliz/milvus2-sdk-node/index.js': `require('winston');`,
      'node_modules/winston/index.js': '',
    });
    const { warnings } = start([newEntry('winston', ['winston'])], { logsOn: true });
    app('@zilliz/milvus2-sdk-node');
    assert.deepEqual(warnings, []);
  });
});

test("in AWS Lambda, the handler and its flush are configured, and the runtime client's requests are ignored", () => {
  const [http, other] = [newModule(), newModule()];
  const flush = async () => {};
  const entries = [
    newEntry('aws-lambda', [], { when: 'lambda' }),
    newEntry('http', [http]),
    newEntry('in-lambda', [other]),
  ];
  const { activated } = start(entries, {
    lambda: { handler: 'dist/ask.handler', runtimeApi: '127.0.0.1:9001', flush },
  });
  assert.deepEqual(log, ['aws-lambda is created with lambdaHandler,flush'], 'at once');
  for (const name of [http, other]) app(name);
  const [ofLambda, ofHttp, ofOther] = activated as [Stub, Stub, Stub];
  assert.deepEqual(ofLambda.config, { lambdaHandler: 'dist/ask.handler', flush });
  assert.equal(ofHttp.config.ignoreOutgoingRequestHook({ hostname: '127.0.0.1', port: 9001 }), true);
  assert.equal(ofHttp.config.ignoreOutgoingRequestHook({ hostname: '127.0.0.1', port: 9002 }), false);
  assert.deepEqual(ofOther.config, {});
});

test('the URL of a watched package is reported once, at its first load', async () => {
  const name = newModule();
  const urls: string[] = [];
  start([], {}, { [name]: (url) => urls.push(url) });
  assert.deepEqual(urls, []);
  app(name);
  await importFromApp(name);
  assert.deepEqual(urls, [pathToFileURL(path.join(folder, 'node_modules', name, 'index.cjs')).href]);
});

test('a bundled app is watched from the first load of http2 or gRPC on, with the file that loads it', () => {
  const loads: [name: string, parent: string | undefined][] = [];
  const bundledApps = { beforeLoading: (...load: [string, string | undefined]) => loads.push(load) };
  start([], { bundledApps: bundledApps as never });
  app('node:http2');
  app('node:http');
  app(newModule());
  assert.deepEqual(loads, [['http2', pathToFileURL(path.join(folder, 'app.cjs')).href]]);
});
