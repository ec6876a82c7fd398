/**
 * Real Next.js apps: made by create-next-app, with the files of test/fixtures/next, built and started as
 * users do.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../tools/processes/free-ports.ts';
import { installed, type Packages } from '../../tools/processes/installed.ts';
import { type FixtureResult, startFixture } from '../../tools/processes/run-fixture.ts';
import { ensureDist } from '../support/dist.ts';
import type { Stack } from '../support/stack.ts';

const root = path.join(import.meta.dirname, '..', '..');
const fixture = path.join(root, 'test/fixtures/next');
const cache = path.join(root, '.cache/next');
const buildTimeoutMs = 540_000;
const startTimeoutMs = 90_000;
/** Longest time for one server, in ms. */
const serverTimeoutMs = 300_000;

export const SDK = '@zilliz/milvus2-sdk-node';
const run = promisify(execFile);

export interface NextOptions {
  /** The newest of this major when its packages were installed. */
  next: '15' | '16';
  bundler: 'turbopack' | 'webpack';
  /** The Milvus SDK in the bundle, which is Next's default, or in serverExternalPackages. */
  sdk: 'bundled' | 'external';
  output?: 'standalone';
  /** Distinguishes an app that has more packages or other files. */
  name?: string;
  /** Besides those of the template, the SDK and milvus-otel. */
  packages?: Packages;
  /** Added to test/fixtures/next, or replacing a file: path → text. */
  files?: Record<string, string>;
  /** Added to the template's next.config.ts. */
  config?: Record<string, unknown>;
}

export interface NextApp {
  /** With node_modules, in which milvus-otel is installed. */
  readonly folder: string;
  /** `name` of its package.json. */
  readonly packageName: string;
  readonly options: NextOptions;
}

/** The environment of `next build` and the servers, besides the variables of a test. */
const quiet = { NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1', CI: '1' };

const templateFlags = [
  '--ts',
  '--app',
  '--no-tailwind',
  '--no-eslint',
  '--skip-install',
  '--disable-git',
  '--yes',
];

const label = ({ next, bundler, sdk, output, name }: NextOptions): string =>
  [next, bundler, sdk, output, name]
    .filter((part) => part !== undefined)
    .join('-')
    .replace(/[^\w-]+/g, '');

/**
 * An app that `next build` has built. Once for the same files, packages and options; rejects with what Next
 * printed. Test files must not build the same app at the same time.
 */
export async function builtNextApp(options: NextOptions): Promise<NextApp> {
  const app = await nextApp(options);
  const complete = path.join(app.folder, '.next', 'complete');
  if (!existsSync(complete)) {
    console.error(`Building ${app.packageName} (once) …`);
    await nextBuild(app);
    await writeFile(complete, '');
  }
  return app;
}

/** An app that is not built, for `next dev`, or for a test of the build. */
export async function nextApp(options: NextOptions): Promise<NextApp> {
  const { next, packages = {}, files = {} } = options;
  const folder = path.join(cache, label(options), await hashOf(options));
  const packageName = `next-${label(options)}`;
  const app = { folder, packageName, options };
  const complete = path.join(folder, 'node_modules', '.complete');
  if (!existsSync(complete)) {
    // Also apps of other files, packages and options.
    await rm(path.dirname(folder), { recursive: true, force: true });
    const [template, installation] = await Promise.all([
      installed({ 'create-next-app': next }),
      installed({ ...(await templatePackages(next)), ...packages }),
    ]);
    await mkdir(path.dirname(folder), { recursive: true });
    const create = path.join(template, 'node_modules/create-next-app/dist/index.js');
    await run(process.execPath, [create, folder, ...templateFlags], {
      timeout: buildTimeoutMs,
      env: { ...process.env, ...quiet },
    });
    await cp(fixture, folder, { recursive: true });
    for (const [file, text] of Object.entries(files)) {
      await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
      await writeFile(path.join(folder, file), text);
    }
    await addToConfig(path.join(folder, 'next.config.ts'), configOf(options, folder));
    const manifest = path.join(folder, 'package.json');
    const { scripts } = JSON.parse(await readFile(manifest, 'utf8'));
    const { dependencies } = JSON.parse(await readFile(path.join(installation, 'package.json'), 'utf8'));
    await writeFile(
      manifest,
      JSON.stringify({ name: packageName, private: true, scripts, dependencies }, null, 2),
    );
    await cp(path.join(installation, 'package-lock.json'), path.join(folder, 'package-lock.json'));
    // Hard links: Turbopack follows no link out of the app.
    await run('cp', ['-RPl', path.join(installation, 'node_modules'), path.join(folder, 'node_modules')]);
    await writeFile(complete, '');
  }
  await installPreload(folder);
  const versions = await Promise.all(['next', 'react', SDK].map((name) => versionOf(folder, name)));
  console.error(`${packageName}: ${versions.join(', ')}`);
  return app;
}

/** The template's packages by its ranges, but the newest Next. */
async function templatePackages(next: string): Promise<Packages> {
  const { dependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  return {
    next,
    react: '19',
    'react-dom': '19',
    typescript: '5',
    '@types/node': '24',
    '@types/react': '19',
    '@types/react-dom': '19',
    [SDK]: '3.0.6',
    ...dependencies,
  };
}

async function versionOf(folder: string, name: string): Promise<string> {
  const manifest = await readFile(path.join(folder, 'node_modules', name, 'package.json'), 'utf8');
  return `${name} ${JSON.parse(manifest).version}`;
}

/** A hash of all parts of the app: another app has another folder. */
async function hashOf(options: NextOptions): Promise<string> {
  const hash = createHash('sha256').update(
    JSON.stringify([options, await templatePackages(options.next), configOf(options, ''), templateFlags]),
  );
  const files = await readdir(fixture, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => path.join(file.parentPath, file.name));
  for (const file of paths.sort()) hash.update(path.relative(root, file)).update(await readFile(file));
  return hash.digest('hex').slice(0, 12);
}

function configOf({ sdk, output, config }: NextOptions, folder: string): Record<string, unknown> {
  return {
    // Else Next takes the folder of this project, which has a lock file too, for a workspace.
    outputFileTracingRoot: folder,
    turbopack: { root: folder },
    typescript: { ignoreBuildErrors: true },
    ...(sdk === 'external' ? { serverExternalPackages: [SDK, '@grpc/grpc-js'] } : {}),
    ...(output === undefined ? {} : { output }),
    ...config,
  };
}

async function addToConfig(file: string, more: Record<string, unknown>): Promise<void> {
  const template = await readFile(file, 'utf8');
  const exported = 'export default nextConfig;';
  if (!template.includes(exported)) throw new Error(`The template's next.config.ts is new:\n${template}`);
  await writeFile(
    file,
    template.replace(exported, `export default { ...nextConfig, ...${JSON.stringify(more, null, 2)} };`),
  );
}

const preloads = new Map<string, Promise<void>>();

/** Installs the published files into the app's node_modules, once per process: dist/ may change between. */
function installPreload(folder: string): Promise<void> {
  const copied = preloads.get(folder) ?? copyPreload(path.join(folder, 'node_modules', 'milvus-otel'));
  preloads.set(folder, copied);
  return copied;
}

async function copyPreload(to: string): Promise<void> {
  await ensureDist();
  await rm(to, { recursive: true, force: true });
  await mkdir(to);
  for (const entry of ['dist', 'bin', 'package.json'])
    await cp(path.join(root, entry), path.join(to, entry), { recursive: true });
}

const nextCommand = (folder: string): string => path.join(folder, 'node_modules/next/dist/bin/next');

/** The flag that chooses a bundler: Next 15 uses webpack by default, Next 16 Turbopack. */
const bundlerFlags = ({ next, bundler }: NextOptions): string[] =>
  (bundler === 'turbopack') === (next === '16') ? [] : [`--${bundler}`];

/** Runs `next build`. Rejects with its output when it fails. */
export async function nextBuild(app: NextApp, env: Record<string, string> = {}): Promise<FixtureResult> {
  const result = await startFixture({
    file: nextCommand(app.folder),
    args: ['build', ...bundlerFlags(app.options)],
    cwd: app.folder,
    env: { ...quiet, ...env },
    timeoutMs: buildTimeoutMs,
  }).ended;
  if (result.code !== 0)
    throw new Error(`${app.packageName} cannot be built:\n${result.stdout}\n${result.stderr}`);
  if (app.options.output === 'standalone') {
    // As in Next's documentation: the server serves these when they exist.
    const standalone = path.join(app.folder, '.next/standalone');
    await cp(path.join(app.folder, '.next/static'), path.join(standalone, '.next/static'), {
      recursive: true,
    });
  }
  return result;
}

export interface NextServer {
  readonly url: string;
  readonly pid: number;
  /** Stops it as a container does: all of its spans are sent before its exit. */
  stop(): Promise<FixtureResult>;
}

export interface ServeOptions {
  /** `next start` and `next dev` in the app's folder, or the server.js of `output: 'standalone'`. */
  by: 'start' | 'dev' | 'standalone';
  /** Whether NODE_OPTIONS has `--import milvus-otel/register`; or its other value. */
  preload: boolean | string;
  env: Record<string, string>;
  /** Of a server.js that was copied elsewhere. */
  folder?: string;
}

/** Resolves when the server listens. */
export async function serveNext(app: NextApp, options: ServeOptions): Promise<NextServer> {
  const { by, preload, env } = options;
  const port = String(await freePort());
  const folder =
    options.folder ?? (by === 'standalone' ? path.join(app.folder, '.next/standalone') : app.folder);
  const flags = ['--port', port, '--hostname', '127.0.0.1'];
  const nodeOptions = preload === true ? '--import milvus-otel/register' : preload || undefined;
  const server = startFixture({
    file: by === 'standalone' ? path.join(folder, 'server.js') : nextCommand(app.folder),
    args: by === 'standalone' ? [] : [by, ...(by === 'dev' ? bundlerFlags(app.options) : []), ...flags],
    // `node server.js` works from anywhere; the preload is resolved from the working directory.
    cwd: by === 'standalone' && options.folder === undefined ? app.folder : folder,
    env: {
      ...quiet,
      // Else `next dev` kills its server 100 ms after the signal, and pending spans are lost.
      NEXT_EXIT_TIMEOUT_MS: '10000',
      PORT: port,
      HOSTNAME: '127.0.0.1',
      ...(nodeOptions === undefined ? {} : { NODE_OPTIONS: nodeOptions }),
      ...env,
    },
    timeoutMs: serverTimeoutMs,
  });
  const late = setTimeout(() => server.kill('SIGKILL'), startTimeoutMs);
  await server.waitForStdout(/Ready/).finally(() => clearTimeout(late));
  return {
    url: `http://127.0.0.1:${port}`,
    pid: server.pid,
    stop() {
      server.kill('SIGTERM');
      return server.ended;
    },
  };
}

export interface Visit {
  service: string;
  /** Status and body of each path, in order. */
  answers: { path: string; status: number; body: string }[];
  /** Of the server, from start to exit. */
  stdout: string;
  stderr: string;
}

export interface VisitOptions extends Omit<ServeOptions, 'env' | 'preload'> {
  stack: Stack;
  /** Where createDocs has made the collection. */
  database: string;
  paths: string[];
  /** True when not given. */
  preload?: boolean | string;
  /** OTEL_SERVICE_NAME when not given: unique for each visit. null leaves it unset. */
  service?: string | null;
  env?: Record<string, string>;
}

let visits = 0;

/** Starts the app's server, requests each path, one after another, and stops it. */
export async function visitNext(app: NextApp, options: VisitOptions): Promise<Visit> {
  const { stack, database, paths, preload = true, env } = options;
  const service =
    options.service === undefined ? `${app.packageName}-${process.pid}-${++visits}` : options.service;
  const server = await serveNext(app, {
    ...options,
    preload,
    env: {
      MILVUS_ADDRESS: stack.milvusAddress,
      MILVUS_DATABASE: database,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
      ...(service === null ? {} : { OTEL_SERVICE_NAME: service }),
      ...env,
    },
  });
  const answers: Visit['answers'] = [];
  let failure: unknown;
  try {
    for (const path of paths) {
      const response = await fetch(server.url + path);
      answers.push({ path, status: response.status, body: await response.text() });
    }
  } catch (error) {
    failure = error;
  }
  const { stdout, stderr } = await server.stop();
  if (failure !== undefined)
    throw new Error(`${app.packageName} failed: ${failure}\n${stdout}\n${stderr}`, { cause: failure });
  return { service: service ?? app.packageName, answers, stdout, stderr };
}
