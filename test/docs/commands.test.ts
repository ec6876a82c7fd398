/**
 * Every command in the shell fences of the documents: run as a reader would, on a real Milvus, or listed
 * below with the reason why it cannot run here.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type GuardedChild, spawnGuarded } from '../../tools/processes/guarded-child.ts';
import { installInto, packInto } from '../../tools/processes/published.ts';
import { type Milvus, startMilvus } from '../../tools/servers/milvus.ts';
import { type ReceivedSpan, type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';
import {
  type DocumentedCommand,
  deploymentPages,
  documentedCommands,
  isShell,
} from './documented-commands.ts';

const root = path.join(import.meta.dirname, '..', '..');
const pages = ['README.md', 'docs/**/*.md', 'samples/**/README.md', 'compose/**/*.md'];
const arrivalTimeoutMs = 15_000;
const commandTimeoutMs = 120_000;

/** What is the reader's own in a document, and what stands for it here. */
const appName = 'my-app';

/** Programs that are not here, and what they need. */
const cannotRun: Record<string, string> = {
  docker: 'a Docker engine',
  sam: 'an account of AWS',
  n8n: '3 GB of packages',
};

/**
 * Commands that are whole tests by themselves, or whose effect would be on this checkout; and where they are
 * tested.
 */
const testedElsewhere: Record<string, string> = {
  'npm ci && npm pack': 'test/package/package.test.ts',
  'npm install && node build.mjs': 'test/frameworks/lambda.test.ts',
  'curl -s http://localhost:16686/api/services': 'test/jaeger/jaeger.test.ts',
  'npx milvus-otel doctor --milvus localhost:19530 --jaeger http://localhost:16686':
    'test/jaeger/doctor.test.ts',
};

/** Scripts of package.json and the tests that run them: here only their options are looked up. */
const scriptTests: Record<string, string> = {
  demo: 'test/demo/demo.test.ts',
  'demo:rag': 'test/samples/rag.test.ts',
  bench: 'test/unit/bench.test.ts',
};

interface Kind {
  name: string;
  fits(command: DocumentedCommand): boolean;
  check(command: DocumentedCommand): Promise<void>;
}

/** The first that fits a command checks it. */
const kinds: Kind[] = [
  {
    name: 'cannot run here',
    fits: ({ text }) => missingProgram(text) !== undefined,
    check: async (command) => checkFiles(command),
  },
  {
    name: 'is tested elsewhere',
    fits: ({ text }) => text in testedElsewhere,
    check: async ({ text }) => {
      assert.ok(
        globSync(testedElsewhere[text] ?? '', { cwd: root }).length === 1,
        `no ${testedElsewhere[text]}`,
      );
    },
  },
  {
    name: 'is a script of this project',
    fits: ({ text }) => script.test(text),
    check: checkScript,
  },
  {
    name: 'installs the package',
    fits: ({ text }) => /^npm install (milvus-otel|\.\.\/milvus-otel\/milvus-otel-\*\.tgz)$/.test(text),
    // As it was run before all others, which need it.
    check: async () => {
      const { dependencies } = JSON.parse(await readFile(path.join(app, 'package.json'), 'utf8'));
      assert.ok('milvus-otel' in dependencies);
    },
  },
  {
    name: 'removes a package',
    fits: ({ text }) => /^npm uninstall \S+$/.test(text),
    check: async (command) => {
      // The app of the others is left as it is.
      const folder = path.join(scratch, 'npm');
      await mkdir(folder, { recursive: true });
      const dependencies = { [command.text.split(' ')[2] ?? '']: '*' };
      await writeFile(path.join(folder, 'package.json'), JSON.stringify({ dependencies }));
      await runToEnd(command, folder);
      const left = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'));
      assert.deepEqual(left.dependencies ?? {}, {});
    },
  },
  {
    name: 'starts a service',
    fits: ({ text }) => /register\b.*\bserver\.js$/.test(text),
    check: startService,
  },
  {
    name: 'runs an app under the preload',
    fits: ({ text }) => /\bnode (--import|-r) milvus-otel\/register /.test(text),
    check: runApp,
  },
  {
    name: 'asks the doctor',
    fits: ({ text }) => /^npx milvus-otel doctor /.test(text),
    // 3: nothing is broken, but no server answered the query for the joined trace.
    check: async (command) => {
      await runToEnd({ ...command, text: `${command.text}; code=$?; [ $code = 0 ] || [ $code = 3 ]` }, app);
    },
  },
  {
    name: 'asks the service',
    fits: ({ text }) => /^(curl .*http:\/\/localhost:3000\/|node load\.mjs)/.test(text),
    check: askService,
  },
];

const script = /^((?:[A-Z_]+=\S+ )*)npm (?:run )?(?!run|install|uninstall|ci|pack)([\w:]+)(?: -- (.*))?$/;

const commands = pages
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .filter((page) => !deploymentPages.includes(page))
  .sort()
  .flatMap((page) => documentedCommands(page, readFileSync(path.join(root, page), 'utf8')));

let scratch: string;
/** The reader's app: the package as it is published, and the SDK. */
let app: string;
let tarball: string;
let milvus: Milvus;
let receiver: Receiver;
/** The service that the page's last command of that kind has started, and where its sample is. */
let service: { child: GuardedChild; url: string; folder: string; page: string } | undefined;

before(async () => {
  await ensureDist();
  scratch = await mkdtemp(path.join(await realpath(os.tmpdir()), 'milvus-otel-commands-'));
  app = path.join(scratch, appName);
  await mkdir(app);
  receiver = await startReceiver();
  // A separate Milvus: the samples drop and create collections that other test files use at the same time.
  [milvus] = await Promise.all([
    startMilvus({ otlpEndpoint: `127.0.0.1:${receiver.grpcPort}`, log: (line) => console.error(line) }),
    installApp(),
  ]);
});

after(async () => {
  await service?.child.stop();
  await milvus?.stop();
  await receiver?.stop();
  await rm(scratch, { recursive: true, force: true });
});

async function installApp(): Promise<void> {
  ({ tarball } = await packInto(scratch));
  await cp(path.join(root, 'test/fixtures/small-app.mjs'), path.join(app, 'app.js'));
  await writeFile(
    path.join(app, 'package.json'),
    JSON.stringify({ name: appName, private: true, type: 'module' }),
  );
  await installInto(app, tarball);
}

/** The addresses of the documents, replaced by those of what runs here. */
function withAddresses(text: string): string {
  const overHttp = text.includes('OTEL_EXPORTER_OTLP_PROTOCOL=http');
  const collector = `http://127.0.0.1:${overHttp ? receiver.httpPort : receiver.grpcPort}`;
  return text
    .replace(/https?:\/\/[\w.-]*example\.com(:\d+)?|http:\/\/localhost:431[78]/g, collector)
    .replaceAll('localhost:19530', milvus.address);
}

function environment(text: string): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(OTEL_|npm_|NODE_(?!EXTRA_CA_CERTS)|MILVUS_)/i.test(name),
  );
  return {
    ...Object.fromEntries(inherited),
    // The machine's own Node may be too old for the preload.
    PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
    MILVUS_ADDRESS: milvus.address,
    OTEL_EXPORTER_OTLP_ENDPOINT: withAddresses(`http://localhost:4317 ${text}`).split(' ')[0],
    // Services are killed, and their spans looked for before that.
    OTEL_BSP_SCHEDULE_DELAY: '200',
    PORT: '0',
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  };
}

interface Ended {
  stdout: string;
  stderr: string;
}

/** Runs it by a shell; fails unless it ends with 0. */
async function runToEnd({ page, line, text }: DocumentedCommand, cwd: string): Promise<Ended> {
  const child = spawnGuarded('sh', ['-c', withAddresses(text)], {
    cwd,
    env: environment(text),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const output = collect(child);
  const late = setTimeout(() => child.stop(), commandTimeoutMs);
  const closed = new Promise((resolve) => child.process.once('close', resolve));
  const code = await child.ended;
  await closed;
  clearTimeout(late);
  assert.equal(
    code,
    0,
    `${page}:${line}: \`${text}\` ended with ${code ?? 'nothing within its time'}\n${output.stdout}\n${output.stderr}`,
  );
  return output;
}

function collect({ process: child }: GuardedChild): Ended {
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  return output;
}

/** What a command is run in and as. */
async function preparedFor({
  page,
  place,
  text,
}: DocumentedCommand): Promise<{ folder: string; text: string }> {
  if (place === 'app') return { folder: app, text };
  if (place === 'repository') return { folder: root, text };
  const sample = path.dirname(page);
  const folder = await copyOut(sample);
  const packages = path.join(folder, 'node_modules');
  if (!existsSync(packages)) await symlink(await installedPackages(supplierOf(sample)), packages);
  return { folder, text: text.replace(/^npm install && /, '') };
}

/**
 * The sample, this one or another, that has this one's packages and the most others: minutes would go by
 * if each sample installed the same.
 */
function supplierOf(sample: string): string {
  const wanted = Object.entries(dependenciesOf(sample));
  const [supplier = sample] = globSync('samples/*/package.json', { cwd: root })
    .map((file) => path.dirname(file))
    .filter((other) => wanted.every(([name, range]) => dependenciesOf(other)[name] === range))
    .sort((a, b) => Object.keys(dependenciesOf(b)).length - Object.keys(dependenciesOf(a)).length);
  return supplier;
}

function dependenciesOf(sample: string): Record<string, string> {
  return JSON.parse(readFileSync(path.join(root, sample, 'package.json'), 'utf8')).dependencies;
}

const installations = new Map<string, Promise<string>>();

/** Runs the `npm install` of a sample that was copied out; gives its node_modules. */
function installedPackages(sample: string): Promise<string> {
  const install = async () => {
    const folder = await copyOut(sample, 'supplier');
    // This version is not on the registry while it is being made.
    const text = `npm install '${tarball}'`;
    await runToEnd({ page: sample, line: 0, text, place: 'copied sample', prints: [] }, folder);
    return path.join(folder, 'node_modules');
  };
  const known = installations.get(sample) ?? install();
  installations.set(sample, known);
  return known;
}

async function copyOut(sample: string, under = 'copied'): Promise<string> {
  const folder = path.join(scratch, under, sample);
  await cp(path.join(root, sample), folder, {
    recursive: true,
    filter: (file) => path.basename(file) !== 'node_modules',
  });
  return folder;
}

/** Commands that are the same in several pages are run once. */
const ran = new Map<string, Promise<Ended>>();

async function runApp(command: DocumentedCommand): Promise<void> {
  const { folder, text } = await preparedFor(command);
  const key = `${folder} ${text}`;
  const running = ran.get(key) ?? runTraced({ ...command, text }, folder);
  ran.set(key, running);
  const { stderr } = await running;
  // The output that the page shows: with its own version of us, and its own collector.
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  for (const line of command.prints) {
    const expected = withAddresses(line).replace(/milvus-otel: \d+\.\d+\.\d+/, `milvus-otel: ${version}`);
    assert.ok(
      stderr.includes(expected),
      `${command.page}:${command.line} shows "${expected}", not\n${stderr}`,
    );
  }
}

/** Fails unless its spans arrive. */
async function runTraced(command: DocumentedCommand, folder: string): Promise<Ended> {
  receiver.clear();
  const output = await runToEnd(command, folder);
  const [, named] = /OTEL_SERVICE_NAME=(\S+)/.exec(command.text) ?? [];
  // A service that a page has started earlier may still send its spans.
  const isOwn = ({ resource, service }: ReceivedSpan) =>
    resource['telemetry.sdk.language'] === 'nodejs' && (named === undefined || service === named);
  await receiver.waitForSpans((received) => received.some(isOwn), arrivalTimeoutMs);
  return output;
}

async function startService(command: DocumentedCommand): Promise<void> {
  await service?.child.stop();
  service = undefined;
  receiver.clear();
  const { folder, text } = await preparedFor(command);
  const child = spawnGuarded('sh', ['-c', text], {
    cwd: folder,
    env: environment(text),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const output = collect(child);
  const deadlineMs = performance.now() + commandTimeoutMs;
  let url: string | undefined;
  let ended = false;
  child.ended.then(() => {
    ended = true;
  });
  while (url === undefined && !ended && performance.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    url = /listening on (\S+)/.exec(output.stdout)?.[1];
  }
  if (url === undefined) await child.stop();
  assert.ok(url, `${command.page}:${command.line} does not listen:\n${output.stdout}\n${output.stderr}`);
  service = { child, url, folder, page: command.page };
  await receiver.waitForSpans((spans) => spans.some(({ kind }) => kind === 'CLIENT'), arrivalTimeoutMs);
}

async function askService(command: DocumentedCommand): Promise<void> {
  const { page, line, text } = command;
  if (service?.page !== page) {
    // The page's service cannot run here: then the same question has to be in a page whose service can.
    const twin = commands.find((other) => other.text === text && runsItsService(other.page));
    assert.ok(twin, `${page}:${line}: \`${text}\` asks a service that is not started here`);
    return;
  }
  // -f: an answer that is an error is a failure.
  const asked = text
    .replace(/^curl /, 'curl -sSf ')
    .replaceAll('http://localhost:3000', service.url)
    .replace(/^(node load\.mjs.*)--seconds \d+/, `$1--seconds 1 --url ${service.url}`);
  receiver.clear();
  const { stdout } = await runToEnd({ ...command, text: asked }, service.folder);
  assert.notEqual(stdout, '');
  await receiver.waitForSpans((spans) => spans.some(({ kind }) => kind === 'SERVER'), arrivalTimeoutMs);
}

const runsItsService = (page: string) =>
  commands.some((command) => command.page === page && kindOf(command)?.name === 'starts a service');

const helps = new Map<string, Promise<Ended>>();

/** That the script is there, that a test runs it, and that its help has the options and variables. */
async function checkScript({ page, line, text }: DocumentedCommand): Promise<void> {
  const [, variables = '', name = '', options = ''] = script.exec(text) ?? [];
  const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  assert.ok(name in scripts, `${page}:${line}: package.json has no script ${name}`);
  const tested = scriptTests[name];
  assert.ok(
    tested !== undefined && globSync(tested, { cwd: root }).length === 1,
    `${page}:${line}: name the test that runs \`npm run ${name}\` in scriptTests of test/docs/commands.test.ts`,
  );
  const asked = [...options.matchAll(/--[\w-]+/g), ...variables.matchAll(/\w+(?==)/g)].map(([word]) => word);
  if (asked.length === 0) return;
  const help = `npm run --silent ${name} -- --help`;
  const shown =
    helps.get(name) ?? runToEnd({ page, line, text: help, place: 'repository', prints: [] }, root);
  helps.set(name, shown);
  const { stdout } = await shown;
  for (const word of asked) assert.ok(stdout.includes(word), `${page}:${line}: \`${help}\` has no ${word}`);
}

/** The program of cannotRun with which a part of the command begins. */
function missingProgram(text: string): string | undefined {
  return Object.keys(cannotRun).find((program) =>
    new RegExp(`(^|[;&|(]\\s*)(\\w+=('[^']*'|\\S+)\\s+)*${program}\\s`).test(text),
  );
}

/** What it names of this repository is there. */
function checkFiles({ page, line, text }: DocumentedCommand): void {
  for (const [name] of text.matchAll(/(?<![\w/.-])(samples|compose|scripts|docs|bench)\/[\w./*-]*/g)) {
    assert.ok(globSync(name, { cwd: root }).length > 0, `${page}:${line}: ${name} is not there`);
  }
}

function kindOf(command: DocumentedCommand): Kind | undefined {
  return kinds.find(({ fits }) => fits(command));
}

describe('the commands of the documents', () => {
  for (const command of commands) {
    const { page, line, text } = command;
    test(`${page}:${line}: ${text.replaceAll(/\s*\\?\n\s*/g, ' ')}`, {
      timeout: 2 * commandTimeoutMs,
    }, async () => {
      assert.ok(isShell(text));
      // Its spans shall not be taken for another page's.
      if (service !== undefined && service.page !== page) await service.child.stop();
      const kind = kindOf(command);
      assert.ok(
        kind,
        `${page}:${line}: nothing here knows how to check \`${text}\`. In test/docs/commands.test.ts: when it can run ` +
          'here, let one of `kinds` fit it, or add a kind; when its program needs what is not here, add the program ' +
          'and its need to cannotRun; when another test runs it, add it and the test to testedElsewhere. ' +
          'A fence that is no command of the reader’s is not to be called sh.',
      );
      await kind.check(command);
    });
  }
});

test('there are commands in the documents, of every kind that is known here', () => {
  assert.ok(commands.length > 20, `only ${commands.length} commands found`);
  const used = new Set(commands.map((command) => kindOf(command)?.name));
  const unused = kinds.filter(({ name }) => !used.has(name)).map(({ name }) => name);
  assert.deepEqual(unused, [], 'no command is of these kinds: remove them from this file');
});

test('every exception still occurs', () => {
  const occurs: Record<string, boolean> = {
    ...Object.fromEntries(
      Object.keys(cannotRun).map((program) => [
        program,
        commands.some(({ text }) => missingProgram(text) === program),
      ]),
    ),
    ...Object.fromEntries(
      Object.keys(testedElsewhere).map((text) => [text, commands.some((command) => command.text === text)]),
    ),
    ...Object.fromEntries(
      Object.keys(scriptTests).map((name) => [
        name,
        commands.some(({ text }) => script.exec(text)?.[2] === name),
      ]),
    ),
  };
  const gone = Object.keys(occurs).filter((entry) => !occurs[entry]);
  assert.deepEqual(gone, [], 'no document has these any more: remove them from the lists of this file');
});

describe('reading a page', () => {
  test('commands are told from comments, other fences, and each other', () => {
    const page = [
      '```js',
      'not a command',
      '```',
      '```sh',
      '# in the root of the repository',
      'one --flag \\',
      "  'two # words'   # why",
      '',
      'three "a',
      'b"',
      '# copied out of it',
      'cat <<EOF',
      'text',
      'EOF',
      'four#five',
      '# milvus-otel: 0.1.0 says',
      '```',
    ].join('\n');
    const found = documentedCommands('page.md', page);
    assert.deepEqual(
      found.map(({ line, text, place, prints }) => [line, text, place, prints]),
      [
        [6, "one --flag \\\n  'two # words'", 'repository', []],
        [9, 'three "a\nb"', 'repository', []],
        [12, 'cat <<EOF\ntext\nEOF', 'copied sample', []],
        [15, 'four#five', 'copied sample', ['milvus-otel: 0.1.0 says']],
      ],
    );
  });

  test('what no shell can read is named', () => {
    assert.throws(
      () => documentedCommands('page.md', '```sh\necho "open\n```'),
      /page\.md:2: no complete shell command/,
    );
  });
});
