/** The first two stages on folders of apps: loading of the preload, installed packages, variables. */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { assertBroken, findingOf, runDoctor, useSurroundings } from './runs.ts';

const root = join(import.meta.dirname, '../..');
const around = useSurroundings();
let count = 0;

/** A folder with these files, and with links to installed packages in its node_modules. */
async function app(files: Record<string, string> = {}, links = ['milvus-otel', '@zilliz/milvus2-sdk-node']) {
  const at = join(around.folder, `app-${++count}`);
  for (const [name, text] of Object.entries({ 'package.json': '{ "name": "app" }', ...files })) {
    await mkdir(dirname(join(at, name)), { recursive: true });
    await writeFile(join(at, name), text);
  }
  for (const name of links) {
    const target = name === 'milvus-otel' ? root : join(root, 'node_modules', name);
    await mkdir(dirname(join(at, 'node_modules', name)), { recursive: true });
    await symlink(target, join(at, 'node_modules', name));
  }
  return at;
}

const doctor = (cwd: string, options: { env?: Record<string, string>; args?: string[] } = {}) =>
  runDoctor({
    args: ['--milvus', around.milvus.address, ...(options.args ?? [])],
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${around.receiver.grpcPort}`, ...options.env },
    cwd,
  });

describe('the runtime', { concurrency: 2 }, () => {
  test('of an app that has everything and loads the preload by its script is sound', async () => {
    const start = 'node --import milvus-otel/register app.mjs';
    const cwd = await app({
      'package.json': JSON.stringify({ name: 'app', scripts: { start } }),
      'app.mjs': '',
    });
    const { report } = await doctor(cwd);
    assert.equal(report.stages[0]?.status, 'ok', JSON.stringify(report.stages[0], null, 1));
    assert.match(
      findingOf(report, 'runtime.preload')?.found ?? '',
      /the script "start" of package\.json loads it/,
    );
    assert.match(findingOf(report, 'runtime.bundle')?.found ?? '', /app\.mjs does not contain the SDK/);
  });

  test('of an app whose NODE_OPTIONS also load the preload into the doctor is sound, and the doctor is untraced', async () => {
    const cwd = await app();
    const service = 'a-traced-doctor';
    const { report, stderr } = await doctor(cwd, {
      env: { NODE_OPTIONS: '--import milvus-otel/register', OTEL_SERVICE_NAME: service },
    });
    assert.match(
      findingOf(report, 'runtime.preload')?.found ?? '',
      /NODE_OPTIONS loads it, before anything else/,
    );
    assert.equal(stderr, '');
    // milvus-otel doctor ├─ connect
    //                    └─ getVersion
    assert.deepEqual(
      around.receiver
        .spans()
        .filter((span) => span.service === service)
        .map(({ name }) => name)
        .sort(),
      ['connect default', 'getVersion default', 'milvus-otel doctor'],
    );
  });

  const files: Record<string, [options: string, text: RegExp]> = {
    'kept quotes of an env file': [
      `"--import milvus-otel/register"`,
      /takes "--import milvus-otel\/register" for one option/,
    ],
    'single quotes inside': [`--import 'milvus-otel/register'`, /single quotes are part of the value/],
    'typographic quotes': ['--import “milvus-otel/register”', /the typographic quote “/],
    'a quote that is not closed': ['--import "milvus-otel/register', /opened and not closed/],
    'an option without its value': ['--import', /nothing follows --import/],
  };
  for (const [what, [value, text]] of Object.entries(files)) {
    test(`with ${what} in NODE_OPTIONS is the broken stage`, async () => {
      const cwd = await app({ 'docker.env': `NODE_OPTIONS=${value}\n` });
      const run = await doctor(cwd, { args: ['--env', 'docker.env'] });
      assertBroken(run, 'runtime.preload', text);
      assert.match(run.report.verdict.fix ?? '', /NODE_OPTIONS="--import milvus-otel\/register"/);
    });
  }

  test('with a script without the needed quotes is the broken stage', async () => {
    const start = 'NODE_OPTIONS=--import milvus-otel/register node app.js';
    const cwd = await app({ 'package.json': JSON.stringify({ name: 'app', scripts: { start } }) });
    assertBroken(await doctor(cwd), 'runtime.preload', /the script "start" .*: nothing follows --import/);
  });

  test('with a name that the package does not export is the broken stage', async () => {
    const cwd = await app({ 'app.env': 'NODE_OPTIONS=--import milvus-otel\n' });
    assertBroken(
      await doctor(cwd, { args: ['--env', 'app.env'] }),
      'runtime.preload',
      /--import milvus-otel is not what the package exports/,
    );
  });

  const ways: Record<string, (folder: string) => string> = {
    'as an image layer names it': (folder) =>
      `--require ${folder}/layer/node_modules/milvus-otel/dist/register.cjs`,
    'as the Operator and the Kubernetes sample name it': (folder) =>
      `--require ${folder}/layer/autoinstrumentation.js`,
    'as a URL': (folder) =>
      `--import ${pathToFileURL(`${folder}/layer/node_modules/milvus-otel/dist/register.cjs`)}`,
  };
  for (const [what, nodeOptions] of Object.entries(ways)) {
    test(`with the preload by its path, ${what}, is sound without a copy in the app`, async () => {
      const wrapper = await readFile(join(root, 'samples/operator/autoinstrumentation.js'), 'utf8');
      const cwd = await app({ 'layer/autoinstrumentation.js': wrapper }, ['@zilliz/milvus2-sdk-node']);
      await mkdir(join(cwd, 'layer/node_modules'));
      await symlink(root, join(cwd, 'layer/node_modules/milvus-otel'));
      const { report } = await doctor(cwd, { env: { NODE_OPTIONS: nodeOptions(cwd) } });
      assert.equal(report.stages[0]?.status, 'ok', JSON.stringify(report.stages[0], null, 1));
      assert.match(findingOf(report, 'runtime.preload')?.found ?? '', /NODE_OPTIONS loads it/);
      assert.match(findingOf(report, 'runtime.package')?.found ?? '', /milvus-otel \d.* by its path/);
    });
  }

  test('with a path that does not exist is the broken stage', async () => {
    const cwd = await app({ 'app.env': 'NODE_OPTIONS=--require /nowhere/milvus-otel/dist/register.cjs\n' });
    assertBroken(
      await doctor(cwd, { args: ['--env', 'app.env'] }),
      'runtime.package',
      /\/nowhere\/milvus-otel\/dist\/register\.cjs does not exist/,
    );
  });

  test('with the preload as the first import of the source gives a warning, no failure', async () => {
    const cwd = await app({
      'package.json': JSON.stringify({ name: 'app', type: 'module', main: 'main.js' }),
      'main.js': "import './tracing.js';\nimport '@zilliz/milvus2-sdk-node';\n",
      'tracing.js': "// import 'something-else'\nimport 'milvus-otel/register';\n",
    });
    const found = findingOf((await doctor(cwd)).report, 'runtime.preload');
    assert.equal(found?.status, 'warning');
    assert.match(found.found, /the app's own source loads milvus-otel\/register first/);
  });

  test('with another tracer before ours gives a warning', async () => {
    const cwd = await app({
      'app.env': 'NODE_OPTIONS=--require dd-trace/init --import milvus-otel/register\n',
    });
    const { report } = await doctor(cwd, { args: ['--env', 'app.env'] });
    const found = findingOf(report, 'runtime.preload');
    assert.equal(found?.status, 'warning');
    assert.match(found.found, /after --require dd-trace\/init, which has its own OpenTelemetry/);
  });

  test('without an installed preload is the broken stage', async () => {
    const cwd = await app({}, ['@zilliz/milvus2-sdk-node']);
    assertBroken(await doctor(cwd), 'runtime.package', /milvus-otel cannot be resolved from/);
  });

  test('where another package of the same name is found first is the broken stage', async () => {
    const shadow = {
      'node_modules/milvus-otel/package.json':
        '{ "name": "milvus-otel", "version": "9.0.0", "main": "index.js" }',
      'node_modules/milvus-otel/index.js': '',
    };
    const cwd = await app(shadow, ['@zilliz/milvus2-sdk-node']);
    assertBroken(
      await doctor(cwd),
      'runtime.package',
      /milvus-otel is shadowed: .*node_modules\/milvus-otel comes first/,
    );

    const register = {
      'node_modules/milvus-otel/package.json':
        '{ "name": "milvus-otel", "version": "9.0.0", "exports": { "./register": "./register.js" } }',
      'node_modules/milvus-otel/register.js': '',
    };
    const other = await app(register, ['@zilliz/milvus2-sdk-node']);
    assertBroken(await doctor(other), 'runtime.package', /is shadowed: .* is not this package/);
  });

  test('with another version installed gives a warning', async () => {
    const cwd = await app({}, ['@zilliz/milvus2-sdk-node']);
    const installed = join(cwd, 'node_modules/milvus-otel');
    await cp(join(root, 'dist'), join(installed, 'dist'), { recursive: true });
    await writeFile(
      join(installed, 'package.json'),
      '{ "name": "milvus-otel", "version": "0.0.1", "exports": { "./register": "./dist/register.cjs" } }',
    );
    const { report } = await doctor(cwd);
    const found = findingOf(report, 'runtime.package');
    assert.equal(found?.status, 'warning', JSON.stringify(report, null, 1));
    assert.match(found.found, /the app has milvus-otel 0\.0\.1 in /);
  });

  test('with an API newer than that of the preload gives a warning, which names the copies', async () => {
    const version = '1.99.0';
    const cwd = await app({
      'node_modules/@opentelemetry/api/package.json': JSON.stringify({
        name: '@opentelemetry/api',
        version,
        main: 'index.js',
      }),
      'node_modules/@opentelemetry/api/index.js': '',
      'node_modules/other/node_modules/@opentelemetry/api/package.json':
        '{ "name": "@opentelemetry/api", "version": "1.4.0" }',
    });
    const { report } = await doctor(cwd);
    const found = findingOf(report, 'runtime.api');
    assert.equal(found?.status, 'warning', JSON.stringify(report, null, 1));
    assert.match(found.found, /@opentelemetry\/api 1\.99\.0 .* cannot use/);
    assert.match(
      findingOf(report, 'runtime.copies')?.found ?? '',
      /@opentelemetry\/api 1\.4\.0 and .*1\.99\.0/,
    );
  });

  test('with the SDK inside a bundle is traced, with fewer attributes of its calls', async () => {
    const bundle = `// ${' '.repeat(120_000)}\nconst proto = { package: "milvus.proto.milvus" };\n`;
    const cwd = await app({
      'package.json': '{ "name": "app", "main": "bundle.js" }',
      'bundle.js': bundle,
    });
    const { report } = await doctor(cwd);
    const found = findingOf(report, 'runtime.bundle');
    assert.equal(found?.status, 'warning', JSON.stringify(report, null, 1));
    assert.match(found.found, /bundle\.js is a bundle with the SDK inside/);
    assert.match(found.fix ?? '', /esbuild --external:NAME/);
  });

  test('of Next.js is checked in the files that Next has built, and the fix is specific to Next', async () => {
    const chunk = `// ${' '.repeat(120_000)}\nconst proto = { package: "milvus.proto.milvus" };\n`;
    const cwd = await app({
      'package.json': '{ "name": "app" }',
      'node_modules/next/package.json': '{ "name": "next", "version": "16.0.0" }',
      '.next/server/app/page.js': 'require("../chunks/12.js");\n',
      '.next/server/chunks/12.js': chunk,
    });
    const { report } = await doctor(cwd);
    const found = findingOf(report, 'runtime.bundle');
    assert.match(found?.found ?? '', /12\.js is a bundle with the SDK inside/);
    assert.match(found?.fix ?? '', /^serverExternalPackages: /);
  });
});

describe('the settings', { concurrency: 2 }, () => {
  const cases: [env: Record<string, string>, id: Parameters<typeof assertBroken>[1], text: RegExp][] = [
    [{ OTEL_SDK_DISABLED: 'true' }, 'settings.disabled', /turns everything off/],
    [{ OTEL_TRACES_EXPORTER: 'none' }, 'settings.exporter', /no span leaves the app/],
    [{ OTEL_TRACES_SAMPLER: 'always_off' }, 'settings.sampler', /always_off keeps no trace/],
    [
      { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' },
      'settings.sampler',
      /OTEL_TRACES_SAMPLER_ARG=0 keeps no trace/,
    ],
    [{ OTEL_PROPAGATORS: 'b3' }, 'settings.propagators', /OTEL_PROPAGATORS=b3 has no tracecontext/],
    [{ OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'http' }, 'settings.instrumentations', /leaves milvus out/],
    [{ OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'milvus' }, 'settings.instrumentations', /names milvus/],
    [{ OTEL_CONFIG_FILE: '/no/such/otel.yaml' }, 'settings.file', /cannot be read/],
  ];
  for (const [env, id, text] of cases) {
    test(`with ${Object.entries(env)
      .map((pair) => pair.join('='))
      .join(' ')} are the broken stage`, async () => {
      assertBroken(await doctor(root, { env }), id, text);
    });
  }

  const warnings: [
    env: Record<string, string>,
    id: Parameters<typeof findingOf>[1],
    text: RegExp,
    fix: RegExp,
  ][] = [
    [
      { OTEL_SERVICE_NAMES: 'x' },
      'settings.misspelt',
      /OTEL_SERVICE_NAMES has no effect\. Did you mean OTEL_SERVICE_NAME\?/,
      /OTEL_SERVICE_NAME$/,
    ],
    [
      { OTEL_EXPORTER_OTLP_TIMEOUT: 'soon' },
      'settings.unusable',
      /OTEL_EXPORTER_OTLP_TIMEOUT=soon cannot be used/,
      /a whole number of ms/,
    ],
    [
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' },
      'settings.sampler',
      /keeps a share of 0\.1/,
      /unset/,
    ],
    [
      { OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'expres' },
      'settings.instrumentations',
      /unknown names: expres/,
      /correct/,
    ],
    [
      { https_proxy: 'http://u:planted-pw@proxy:3128' },
      'settings.proxy',
      /https_proxy=http:\/\/\*\*\*@proxy:3128/,
      /no_proxy=127\.0\.0\.1/,
    ],
  ];
  for (const [env, id, text, fix] of warnings) {
    test(`with ${Object.keys(env).join(' and ')} as set here give a warning`, async () => {
      const { report } = await doctor(root, { env });
      const found = findingOf(report, id);
      assert.equal(found?.status, 'warning', JSON.stringify(report.stages[1], null, 1));
      assert.match(found.found, text);
      assert.match(found.fix ?? '', fix);
    });
  }

  test('with an endpoint that does not fit its protocol give a warning, whatever listens there', async () => {
    const endpoints: [env: Record<string, string>, text: RegExp][] = [
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }, /4318 is the usual port for HTTP/],
      [
        {
          OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317',
          OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
        },
        /4317 is the usual port for gRPC/,
      ],
      [
        { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317/v1/traces' },
        /has a path, which gRPC does not use/,
      ],
      [
        {
          OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://127.0.0.1:4318',
          OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        },
        /does not end with \/v1\/traces/,
      ],
    ];
    for (const [env, text] of endpoints) {
      const { report } = await doctor(root, { env });
      assert.match(
        report.stages[1]?.findings
          .filter(({ id }) => id === 'settings.endpoint')
          .map((finding) => finding.found)
          .join('\n') ?? '',
        text,
      );
    }
  });
});
