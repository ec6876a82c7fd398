/** Stage 1: this Node, how the preload gets into the app, and what is installed there. */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { supportsSyncHooks } from 'import-in-the-middle/supports-sync-hooks.mjs';
import { splitNodeOptions } from '../config/node-options.ts';
import { howToKeepOutside } from '../instrumentations/external-sdk.ts';
import { installedSdk, SDK, unknownSdk } from '../milvus/sdk-version.ts';
import { packageJsonIn } from '../package-json.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import type { Finding } from './finding.ts';
import { isPreload, loadsPreload, resolved } from './loading-files.ts';
import {
  type Command,
  inOrder,
  isOurs,
  type Preload,
  preloadsIn,
  quotingProblem,
  shellNodeOptions,
} from './node-options.ts';
import { type InstalledPackage, installedCopies, packageOf } from './packages.ts';

export interface RuntimeOrder {
  appFolder: string;
  /** With what --env and the command add to it. */
  env: NodeJS.ProcessEnv;
  command: Command | undefined;
  /** This package's own dist/register.cjs. */
  ownPreload: string;
  version: string;
}

const API = '@opentelemetry/api';
const LINE = 'node --import milvus-otel/register app.js';

export function checkRuntime(order: RuntimeOrder): Finding[] {
  const entry = entryFile(order);
  const ways = waysIn(order, entry);
  const copies = installedCopies(order.appFolder);
  return [
    { id: 'runtime.node', status: 'ok', found: `Node ${process.versions.node}` },
    ...preloadFindings(order, ways),
    ...packageFindings(order, ways),
    ...sdkFindings(order.appFolder),
    ...apiFindings(order, copies),
    copiesFinding(copies),
    esmFinding(order.ownPreload),
    ...bundleFindings(order.appFolder, entry),
  ];
}

/**
 * The app's main file: of the command, else what package.json starts or names. Undefined when it is unknown.
 */
export function entryFile({
  appFolder,
  command,
}: Pick<RuntimeOrder, 'appFolder' | 'command'>): string | undefined {
  const { main, scripts } = manifestOf(appFolder);
  const started = /(?:^|\s)node\s+(?:-\S+\s+(?:milvus-otel\/\S+\s+)?)*([^\s-]\S*\.[cm]?[jt]s)\b/.exec(
    scripts?.start ?? '',
  )?.[1];
  const named = command === undefined ? (started ?? main) : command.entry;
  if (named === undefined) return undefined;
  try {
    return createRequire(join(appFolder, 'any.js')).resolve(resolve(appFolder, named));
  } catch {
    return undefined;
  }
}

const manifestOf = (folder: string) =>
  (packageJsonIn(folder) ?? {}) as { main?: string; scripts?: Record<string, string> };

interface Ways {
  preloads: Preload[];
  /** Where ours was found: a text for a sentence. */
  where: string | undefined;
  problems: { where: string; value: string; problem: string }[];
  /** The app's own source loads it: before or after what else it imports. */
  inSource: 'first' | 'later' | undefined;
}

/** Every way by which a preload gets into the app. */
export function waysIn({ appFolder, env, command }: RuntimeOrder, entry: string | undefined): Ways {
  const nodeOptions = env.NODE_OPTIONS ?? '';
  const problems: Ways['problems'] = [];
  const look = (where: string, value: string) => {
    const problem = value === '' ? undefined : quotingProblem(value);
    if (problem !== undefined) problems.push({ where, value, problem });
  };
  look('NODE_OPTIONS', nodeOptions);
  const fromEnvironment = preloadsIn(splitNodeOptions(nodeOptions).words).preloads;
  const fromCommand = preloadsIn(command?.nodeWords ?? []).preloads;
  const loadsOurs = ({ specifier }: Preload) => isPreload(specifier, appFolder);
  let where = fromCommand.some(loadsOurs)
    ? 'the command'
    : fromEnvironment.some(loadsOurs)
      ? 'NODE_OPTIONS'
      : undefined;
  if (command === undefined) {
    for (const [name, script] of Object.entries(manifestOf(appFolder).scripts ?? {})) {
      const values = shellNodeOptions(script);
      for (const value of values.filter((text) => /milvus-otel|^(-r|--import|--require)$/.test(text)))
        look(`NODE_OPTIONS in the script "${name}" of package.json`, value);
      if (/milvus-otel\/(dist\/)?register/.test(script)) where ??= `the script "${name}" of package.json`;
    }
  }
  const preloads = inOrder([...fromEnvironment, ...fromCommand]);
  return { preloads, where, problems, inSource: entry === undefined ? undefined : loadsPreload(entry) };
}

/** Preloads that trace too, or that load so much that ours may come too late behind them. */
const OTHER_TRACERS =
  /opentelemetry|dd-trace|elastic-apm|newrelic|@splunk\/otel|@sentry|@honeycombio|applicationinsights|openlit|traceloop|appdynamics|dynatrace|instana/;

function preloadFindings(order: RuntimeOrder, { preloads, where, problems, inSource }: Ways): Finding[] {
  const id = 'runtime.preload';
  if (problems.length > 0)
    return problems.map(({ where: place, value, problem }) => ({
      id,
      status: 'failure',
      found: `${place} is ${shownOptions(value)}: ${oneLine(problem)}`,
      fix: place.includes('script')
        ? `"NODE_OPTIONS='--import milvus-otel/register' node app.js" in package.json`
        : `export NODE_OPTIONS="--import milvus-otel/register"   # in a file for docker --env-file: without the quotes`,
    }));
  const wrong = preloads.find(({ specifier }) => /^milvus-otel(\/|$)/.test(specifier) && !isOurs(specifier));
  if (wrong !== undefined)
    return [
      {
        id,
        status: 'failure',
        found: `${wrong.flag} ${oneLine(wrong.specifier)} is not what the package exports`,
        fix: LINE,
      },
    ];
  if (where === undefined) {
    if (inSource === 'first')
      return [
        {
          id,
          status: 'warning',
          found:
            "the app's own source loads milvus-otel/register first: the Milvus SDK is traced, some ES modules are not",
          fix: LINE,
        },
      ];
    if (inSource === 'later')
      return [
        {
          id,
          status: 'failure',
          found:
            "the app's own source loads milvus-otel/register: ES modules that it imports are loaded first",
          fix: LINE,
        },
      ];
    return [
      {
        id,
        status: 'warning',
        found:
          order.command === undefined
            ? 'neither NODE_OPTIONS nor a script of package.json loads the preload'
            : 'neither the command nor NODE_OPTIONS loads the preload; the doctor has added it for this run',
        fix: `${LINE}\nor, where the command cannot be changed: NODE_OPTIONS="--import milvus-otel/register"`,
      },
    ];
  }
  const ours = preloads.findIndex(({ specifier }) => isPreload(specifier, order.appFolder));
  const before = preloads.slice(0, Math.max(ours, 0));
  const tracer = before.find(({ specifier }) => OTHER_TRACERS.test(specifier));
  if (tracer !== undefined)
    return [
      {
        id,
        status: 'warning',
        found: `${where} loads it, but after ${tracer.flag} ${oneLine(tracer.specifier)}, which has its own OpenTelemetry`,
        fix: 'leave that one out, or use new MilvusInstrumentation() from milvus-otel/instrumentation in it',
      },
    ];
  if (before.length > 0)
    return [
      {
        id,
        status: 'warning',
        found: `${where} loads it, but after ${before.map(({ flag, specifier }) => `${flag} ${oneLine(specifier)}`).join(', ')}; what these load is not traced`,
        fix: '--import milvus-otel/register first (and -r comes before --import, so -r milvus-otel/register where another has -r)',
      },
    ];
  return [{ id, status: 'ok', found: `${where} loads it, before anything else` }];
}

/** Options may hold paths and more; only what loads something is of interest. */
const shownOptions = (value: string): string => oneLine(value).slice(0, 120);

function packageFindings(
  { appFolder, ownPreload, version }: RuntimeOrder,
  { preloads, where }: Ways,
): Finding[] {
  const id = 'runtime.package';
  // By its path it is loaded without being installed in the app.
  const byPath = preloads.find(
    ({ specifier }) => specifier !== 'milvus-otel/register' && isPreload(specifier, appFolder),
  );
  if (byPath !== undefined) return [packageByPath(byPath.specifier, appFolder)];
  let found: string;
  try {
    found = createRequire(join(appFolder, 'any.js')).resolve('milvus-otel/register');
  } catch {
    const own = pathToFileURL(ownPreload).href;
    const shadow = nearestFolder(appFolder);
    if (shadow !== undefined) return [shadowed(id, shadow, 'has no ./register')];
    return [
      {
        id,
        status: 'failure',
        found: `milvus-otel cannot be resolved from ${appFolder}`,
        fix: `npm install milvus-otel   # in that folder; or by its path: node --import ${own} app.js`,
      },
    ];
  }
  const installed = packageOf(found);
  if (realpathSync(found) === realpathSync(ownPreload))
    return [{ id, status: 'ok', found: `milvus-otel ${version} in ${installed?.folder ?? found}` }];
  const isPackage = installed?.name === 'milvus-otel' && existsBeside(found, 'preload.cjs');
  if (!isPackage) return [shadowed(id, installed?.folder ?? found, 'is not this package')];
  const same = installed.version === version;
  return [
    {
      id,
      status: same ? 'ok' : 'warning',
      found: `the app has milvus-otel ${installed.version} in ${installed.folder}${same ? '' : `, this doctor is of ${version}`}`,
      ...(same ? {} : { fix: `cd ${appFolder} && npx milvus-otel doctor${where ? '' : ' …'}` }),
    },
  ];
}

/** The package next to a wrapper, or the one that contains the path. */
function packageByPath(specifier: string, appFolder: string): Finding {
  const id = 'runtime.package';
  const file = resolved(join(appFolder, 'any.js'), specifier);
  const register = isOurs(specifier) ? file : file && resolved(file, 'milvus-otel/register');
  const version = register === undefined ? undefined : packageOf(register)?.version;
  if (register !== undefined)
    return {
      id,
      status: 'ok',
      found: `milvus-otel ${version ?? ''} is loaded by its path, ${oneLine(specifier)}`,
    };
  return {
    id,
    status: 'failure',
    found:
      file === undefined
        ? `${oneLine(specifier)} does not exist`
        : `${oneLine(specifier)} loads milvus-otel/register, which cannot be resolved from there`,
    fix: 'install milvus-otel where that path leads, or correct the path',
  };
}

const shadowed = (id: 'runtime.package', folder: string, why: string): Finding => ({
  id,
  status: 'failure',
  found: `milvus-otel is shadowed: ${folder} comes first, and ${why}`,
  fix: `rm -r ${folder} && npm install milvus-otel`,
});

/** The folder called milvus-otel that Node looks into first. */
function nearestFolder(appFolder: string): string | undefined {
  const paths = createRequire(join(appFolder, 'any.js')).resolve.paths('milvus-otel') ?? [];
  return paths.map((folder) => join(folder, 'milvus-otel')).find((folder) => isFolder(folder));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

const existsBeside = (file: string, name: string): boolean =>
  statSync(join(file, '..', name), { throwIfNoEntry: false })?.isFile() ?? false;

function sdkFindings(appFolder: string): Finding[] {
  const id = 'runtime.sdk';
  try {
    const file = createRequire(join(appFolder, 'any.js')).resolve(SDK);
    const found = packageOf(file);
    const unknown = unknownSdk(installedSdk(pathToFileURL(realpathSync(file)).href));
    if (unknown !== undefined)
      return [{ id, status: 'warning', found: unknown.replace(/\.$/, ''), fix: `npm install ${SDK}@3` }];
    return [{ id, status: 'ok', found: `${SDK} ${found?.version}` }];
  } catch {
    return [
      {
        id,
        status: 'warning',
        found: `${SDK} is not installed in ${appFolder}; the doctor calls Milvus without it`,
        fix: "--app DIR, the app's folder",
      },
    ];
  }
}

/** A copy of the API reads the global one only when that one is not older than itself. */
function apiFindings(
  { appFolder, ownPreload }: RuntimeOrder,
  copies: readonly InstalledPackage[],
): Finding[] {
  const id = 'runtime.api';
  const packageFrom = (file: string) => {
    try {
      return packageOf(createRequire(file).resolve(API));
    } catch {
      return undefined;
    }
  };
  const own = packageFrom(ownPreload);
  const apps = packageFrom(join(appFolder, 'any.js'));
  if (own === undefined || apps === undefined) return [];
  const [ownMajor = 0, ownMinor = 0] = own.version.split('.').map(Number);
  const isShared = ({ version }: InstalledPackage) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    return major === ownMajor && minor <= ownMinor;
  };
  const separate = [apps, ...copies.filter(({ name }) => name === API)].find((copy) => !isShared(copy));
  if (separate === undefined)
    return [
      {
        id,
        status: 'ok',
        found: `${API} ${apps.version} of the app works with ${own.version} of the preload`,
      },
    ];
  return [
    {
      id,
      status: 'warning',
      found: `${API} ${separate.version} in ${separate.folder} cannot use ${own.version} of the preload: the spans of its users are lost, and Milvus spans are not their children`,
      fix: `npm install ${API}@${separate === apps ? own.version : separate.version}`,
    },
  ];
}

/** Facts; of these packages several copies do no harm by themselves. */
function copiesFinding(copies: readonly InstalledPackage[]): Finding {
  const byName = new Map<string, string[]>();
  for (const { name, version } of copies) byName.set(name, [...(byName.get(name) ?? []), version]);
  const several = [...byName].filter(([, versions]) => versions.length > 1);
  const listed = describeCopies(several);
  const id = 'runtime.copies';
  const own = byName.get('milvus-otel')?.length ?? 0;
  if (own > 1)
    return {
      id,
      status: 'warning',
      found: `several copies: ${listed}`,
      fix: 'npm dedupe milvus-otel; until then, the copy that --import resolves is used',
    };
  return {
    id,
    status: 'ok',
    found:
      several.length === 0
        ? 'one copy of each package'
        : `several copies, without an effect on tracing: ${listed}`,
  };
}

/** Sorted, these stand first: an app may have fifty packages of OpenTelemetry twice. */
const IMPORTANT = ['milvus-otel', SDK, '@grpc/grpc-js', API];
const MOST_LISTED = 3;

function describeCopies(several: [name: string, versions: string[]][]): string {
  const rank = (name: string) => IMPORTANT.indexOf(name) >>> 0;
  const sorted = several.toSorted(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b));
  const parts = sorted.slice(0, MOST_LISTED).map(([name, versions]) => {
    const byVersion = Object.entries(Object.groupBy(versions, (version) => version));
    const shown = byVersion
      .toSorted(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
      .map(([version, { length } = []]) => (length === 1 ? version : `${version} (${length} copies)`));
    return `${name} ${shown.join(' and ')}`;
  });
  const more = several.length - parts.length;
  if (more > 0) parts.push(`and ${more} more package${more === 1 ? '' : 's'}`);
  return parts.join('; ');
}

function esmFinding(ownPreload: string): Finding {
  const id = 'runtime.esm';
  try {
    createRequire(ownPreload).resolve('import-in-the-middle/hook.mjs');
    const inThread = supportsSyncHooks();
    return {
      id,
      status: 'ok',
      found: `ES modules are patched ${inThread ? 'in the same thread' : "by a loader's thread"}; no flag is needed`,
    };
  } catch (error) {
    return {
      id,
      status: 'failure',
      found: `import-in-the-middle is not found: ${oneLine((error as Error).message)}`,
      fix: 'npm install milvus-otel   # again: a part of it is missing',
    };
  }
}

/** Names that occur only in the SDK's protocol files. */
const INLINED = /milvus\.proto\.milvus|MilvusServiceClient/;
/** The SDK in a bundle is larger than this; source of an app that names its protocol is smaller. */
const MIN_BUNDLE_BYTES = 100_000;
/** Where frameworks put what they build for the server: Next, Nuxt and Nitro, SvelteKit. */
const OUTPUTS = ['.next/server', '.output/server', 'build/server'];
const MAX_FILES = 2_000;

function bundleFindings(appFolder: string, entry: string | undefined): Finding[] {
  const id = 'runtime.bundle';
  const isOfApp = entry !== undefined && !entry.includes(`${sep}node_modules${sep}`);
  const bundle =
    (isOfApp && hasSdkInside(entry) ? entry : undefined) ??
    OUTPUTS.map((output) => join(appFolder, output))
      .flatMap(filesIn)
      .find(hasSdkInside);
  if (bundle === undefined)
    return isOfApp ? [{ id, status: 'ok', found: `${entry} does not contain the SDK` }] : [];
  return [
    {
      id,
      status: 'warning',
      found: `${bundle} is a bundle with the SDK inside: each of its gRPC calls gets a span`,
      fix: howToKeepOutside(isNextApp(appFolder)),
    },
  ];
}

function hasSdkInside(file: string): boolean {
  try {
    return statSync(file).size > MIN_BUNDLE_BYTES && INLINED.test(readFileSync(file, 'utf8'));
  } catch {
    return false;
  }
}

/** JavaScript in and below a folder, but for installed packages: those are no bundle. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.[cm]?js$/.test(file) && !/(^|[\\/])node_modules[\\/]/.test(file))
      .slice(0, MAX_FILES)
      .map((file) => join(folder, file));
  } catch {
    return [];
  }
}

/** Whether the app is one of Next.js. */
export const isNextApp = (appFolder: string): boolean => {
  try {
    createRequire(join(appFolder, 'any.js')).resolve('next/package.json');
    return true;
  } catch {
    return false;
  }
};
