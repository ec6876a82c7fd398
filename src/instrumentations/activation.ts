/**
 * Loads an instrumentation when the app loads its module: a resolve hook, which sees both require and import,
 * creates it just before the module loads. Instrumentations of unused modules cost nothing.
 */

import diagnosticsChannel from 'node:diagnostics_channel';
import type { RequestOptions } from 'node:http';
import module, { createRequire, registerHooks, syncBuiltinESMExports } from 'node:module';
import { pathToFileURL } from 'node:url';
import { getCallSites } from 'node:util';
import { diag } from '@opentelemetry/api';
import type { Instrumentation, InstrumentationModuleDefinition } from '@opentelemetry/instrumentation';
import { supportsSyncHooks } from 'import-in-the-middle/supports-sync-hooks.mjs';
import { loadChunk } from '../sdk/lazy-modules.ts';
import { serveOlderLogsApi } from '../sdk/older-logs-api.ts';
import { asOurs } from '../sdk/other-sdk.ts';
import { type BundledApps, isLoadedByBundles, isOwnFile } from './bundles.ts';
import type { CatalogEntry } from './catalog.ts';
import { startImportHooks } from './import-hook.ts';
import { beforeTurbopack, moduleName } from './module-name.ts';

declare const __filename: string;

type Definitions = InstrumentationModuleDefinition | InstrumentationModuleDefinition[];
type InstrumentationClass = new (config?: object) => Instrumentation & { init(): Definitions };

/** Instrumentations that add trace ids to log records, and can also send the records. */
const LOGGERS = ['bunyan', 'pino', 'winston'];

/**
 * Transport of instrumentation-winston. An app that exports records installs it, as with upstream's preload.
 */
const WINSTON_TRANSPORT = '@opentelemetry/winston-transport';

/** Conditions outside the app's modules that some instrumentations wait for. */
export interface Surroundings {
  metricsOn: boolean;
  logsOn: boolean;
  lambda: Lambda | undefined;
  /** Logs a line once. */
  warn(line: string): void;
  /** Set when Milvus operations are traced: watches for an SDK inside the app's bundle. */
  bundledApps: BundledApps | undefined;
}

/** The function that a process of AWS Lambda runs. */
export interface Lambda {
  /** folder/module.name */
  handler: string;
  /** host:port of Lambda's runtime API, which returns invocations. */
  runtimeApi: string | undefined;
  /** Sends ended spans, for at most `limitMs`. Never rejects. */
  flush(limitMs: number): Promise<void>;
}

/** Packages whose first resolution is reported, with the resulting URL. */
export type Watched = Readonly<Record<string, (url: string) => void>>;

/** From now on, the app's own instrumentation of this name replaces the preload's. */
export type GiveWay = (name: string) => void;

/**
 * Starts waiting. `activated` is called for each instrumentation that was created, so that the caller can
 * pass it the SDK's providers.
 */
export function activateOnLoad(
  entries: readonly CatalogEntry[],
  surroundings: Surroundings,
  activated: (instrumentation: Instrumentation) => void,
  watched: Watched,
): GiveWay {
  const waiting = new Map<string, CatalogEntry[]>();
  /** Names of activated instrumentations, and the instances. */
  const done = new Map<string, Instrumentation | undefined>();

  const make = (entry: CatalogEntry): Instrumentation | undefined => {
    if (done.has(entry.name)) return undefined;
    done.set(entry.name, undefined);
    try {
      const { Instrumentation: Class } = loadChunk<{ Instrumentation: InstrumentationClass }>(
        `instrumentation-${entry.name}`,
      );
      // Records are not exported, or winston's transport is missing: it would warn for each logger, the SDK's
      // included.
      const quiet =
        LOGGERS.includes(entry.name) &&
        (!surroundings.logsOn || (entry.name === 'winston' && !isInstalled(WINSTON_TRANSPORT)));
      if (entry.name === 'winston' && !quiet) serveOlderLogsApi();
      const { supportedVersions } = entry;
      const Fitting = supportedVersions === undefined ? Class : forVersions(Class, supportedVersions);
      const instrumentation = new Fitting({
        ...(quiet ? { disableLogSending: true } : {}),
        ...(surroundings.lambda === undefined ? {} : lambdaConfig(entry.name, surroundings.lambda)),
      });
      activated(instrumentation);
      done.set(entry.name, instrumentation);
      return instrumentation;
    } catch (error) {
      diag.error(`The instrumentation ${entry.name} could not be activated`, error);
      return undefined;
    }
  };
  const activate = (entry: CatalogEntry) => asOurs(() => make(entry));

  for (const entry of entries) {
    for (const name of entry.modules) waiting.set(name, [...(waiting.get(name) ?? []), entry]);
    if (entry.when === 'fetch') activateOnFirstFetch(entry, activate);
    if (entry.when === 'metrics' && surroundings.metricsOn) activate(entry);
  }
  const lambda = entries.find(({ when }) => when === 'lambda');
  const handlerFile =
    lambda === undefined || surroundings.lambda === undefined ? undefined : fileOf(activate(lambda));

  const imports = esmImports(
    [
      // Built-in modules are patched in place.
      ...[...waiting.keys()].filter((name) => !module.isBuiltin(name)),
      ...(handlerFile === undefined ? [] : [pathToFileURL(handlerFile).href]),
    ],
    surroundings.warn,
  );
  const untold = new Map(Object.entries(watched));
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const name = moduleName(specifier);
      const isImport = includes(context.conditions, 'import');
      if (name === undefined) {
        if (!isImport) return nextResolve(specifier, context);
        return (handlerFile === undefined ? imports.pass : imports.resolve)(specifier, context, nextResolve);
      }
      if (isLoadedByBundles(name)) surroundings.bundledApps?.beforeLoading(name, context.parentURL);
      const tell = untold.get(name);
      if (tell !== undefined) {
        untold.delete(name);
        const resolution = nextResolve(specifier, context);
        tell(resolution.url);
        return resolution;
      }
      const due = waiting.get(name);
      if (due === undefined) return nextResolve(specifier, context);
      due.forEach(activate);
      if (name === 'winston' && surroundings.logsOn) warnOfWinston(context.parentURL, surroundings.warn);
      if (!isImport) return nextResolve(specifier, context);
      if (module.isBuiltin(name)) {
        patchBuiltin(name);
        return nextResolve(specifier, context);
      }
      return imports.resolve(specifier, context, nextResolve);
    },
  });
  if (process.getBuiltinModule('node:sea').isSea()) {
    // Its require() of built-in modules runs no hooks.
    for (const name of waiting.keys()) if (module.isBuiltin(name)) patchBuiltin(name);
    surroundings.bundledApps?.beforeLoading('http2', undefined);
  }

  return (name) => {
    const made = done.get(name);
    done.set(name, undefined);
    made?.disable();
  };
}

/** Not an array on every Node, whatever its types say. */
function includes(conditions: Iterable<string>, wanted: string): boolean {
  for (const condition of conditions) if (condition === wanted) return true;
  return false;
}

/** Configuration of instrumentations in an AWS Lambda process. */
function lambdaConfig(name: string, { handler, runtimeApi, flush }: Lambda): object {
  if (name === 'aws-lambda') return { lambdaHandler: handler, flush };
  if (name !== 'http' || runtimeApi === undefined) return {};
  // The runtime client's own requests belong to no invocation.
  const ignoreOutgoingRequestHook = ({ hostname, port }: RequestOptions) =>
    `${hostname}:${port}` === runtimeApi;
  return { ignoreOutgoingRequestHook };
}

/** Module definition of an instrumentation that patches one file. */
function fileOf(instrumentation: Instrumentation | undefined): string | undefined {
  const definitions = (
    instrumentation as { getModuleDefinitions?(): { name: string }[] } | undefined
  )?.getModuleDefinitions?.();
  return definitions?.[0]?.name;
}

/** The app's records would be missing without a sign. The Milvus SDK's own logger sends none anyway. */
function warnOfWinston(parent: string | undefined, warn: (line: string) => void): void {
  const isOfApp = !isOwnFile(parent) && !parent?.includes('/node_modules/@zilliz/milvus2-sdk-node/');
  if (!isOfApp || isInstalled(WINSTON_TRANSPORT)) return;
  warn(`OTEL_LOGS_EXPORTER exports no records of winston: run npm install ${WINSTON_TRANSPORT}.`);
}

function isInstalled(packageName: string): boolean {
  try {
    createRequire(__filename).resolve(packageName);
    return true;
  } catch {
    return false;
  }
}

/** The same instrumentation, for other versions of its module than it lists. */
function forVersions(Class: InstrumentationClass, supportedVersions: string[]): InstrumentationClass {
  return class extends Class {
    override init(): Definitions {
      return [super.init()].flat().map((definition) => Object.assign(definition, { supportedVersions }));
    }
  };
}

/** An import of a built-in module passes no require hook: require it once, then refresh its named exports. */
function patchBuiltin(name: string): void {
  createRequire(__filename)(name);
  syncBuiltinESMExports();
}

interface FetchListener {
  onRequestCreated?(message: unknown): void;
}

/**
 * fetch exists from the start, so no module load can activate its instrumentation. The first request does.
 * The instrumentation's own subscription begins with the second request, so the first one is passed on to it.
 */
function activateOnFirstFetch(
  entry: CatalogEntry,
  activate: (entry: CatalogEntry) => Instrumentation | undefined,
): void {
  const channel = 'undici:request:create';
  const first = (message: unknown) => {
    diagnosticsChannel.unsubscribe(channel, first);
    const instrumentation = activate(entry) as (Instrumentation & FetchListener) | undefined;
    instrumentation?.onRequestCreated?.(message);
  };
  diagnosticsChannel.subscribe(channel, first);
}

type Resolve = NonNullable<Parameters<typeof registerHooks>[0]['resolve']>;
type Load = NonNullable<Parameters<typeof registerHooks>[0]['load']>;

interface EsmHooks {
  createHook(meta: { url: string }): {
    applyOptions(options: { include: string[] }): void;
    resolveSync: Resolve;
    loadSync: Load;
  };
}

interface EsmImports {
  /** For an import that must be patched. */
  resolve: Resolve;
  /** For any other import. */
  pass: Resolve;
}

/**
 * ES modules are patched by import-in-the-middle: in this thread from the first import that needs it, where
 * Node can (22.22.3, 24.11.1, 26 and newer); else by its loader thread, which must exist from the start.
 */
function esmImports(include: string[], warn: (line: string) => void): EsmImports {
  const unchanged: Resolve = (specifier, context, nextResolve) => nextResolve(specifier, context);
  const require = createRequire(__filename);
  const hookUrl = pathToFileURL(require.resolve('import-in-the-middle/hook.mjs')).href;
  const startHooks = () =>
    startImportHooks(
      (require('import-in-the-middle') as { Hook: Parameters<typeof startImportHooks>[0] }).Hook,
    );
  if (!supportsSyncHooks()) {
    startHooks();
    try {
      module.register(hookUrl, { data: { include } });
    } catch (error) {
      // No thread is permitted. CommonJS modules are traced.
      warn(
        `Packages that are imported as ES modules are not traced: ${(error as Error).message}. Add --allow-worker.`,
      );
      return { resolve: unchanged, pass: unchanged };
    }
    return {
      resolve(specifier, context, nextResolve) {
        const resolution = nextResolve(specifier, context);
        const url = new URL(resolution.url);
        if (!url.searchParams.has('iitm') || !isImportMetaResolve()) return resolution;
        url.searchParams.delete('iitm');
        return { ...resolution, url: url.href };
      },
      pass: unchanged,
    };
  }
  let started = false;
  let resolveSync = unchanged;
  const start = () => {
    started = true;
    try {
      startHooks();
      const { createHook } = require('import-in-the-middle/create-hook.mjs') as EsmHooks;
      const hook = createHook({ url: hookUrl });
      hook.applyOptions({ include });
      registerHooks({ load: exceptMocks(hook.loadSync) });
      // It knows packages by the names that the app imports them by.
      resolveSync = (given, context, next) => {
        const name = beforeTurbopack(given);
        if (name === given) return hook.resolveSync(given, context, next);
        return hook.resolveSync(name, context, (asked, last) => next(asked === name ? given : asked, last));
      };
    } catch (error) {
      diag.error('ES modules cannot be patched', error);
    }
  };
  return {
    resolve(specifier, context, nextResolve) {
      if (isImportMetaResolve()) return nextResolve(specifier, context);
      if (!started) start();
      return resolveSync(specifier, context, nextResolve);
    },
    pass: (specifier, context, nextResolve) => resolveSync(specifier, context, nextResolve),
  };
}

/** Mocks of node:test are left unchanged. */
const exceptMocks =
  (load: Load): Load =>
  (url, context, nextLoad) =>
    url.includes('node-test-mock=') ? nextLoad(url, context) : load(url, context, nextLoad);

/** Whether import.meta.resolve() requested the current resolution: Node's hooks get no sign of it. */
function isImportMetaResolve(): boolean {
  const frames = getCallSites(20, { sourceMap: false });
  const at = frames.findIndex(
    ({ functionName, scriptName }) =>
      functionName === 'resolve' && scriptName.startsWith('node:internal/modules/esm/'),
  );
  // Node's loader has functions of that name too, but calls them itself.
  return at !== -1 && frames[at + 1]?.scriptName.startsWith('node:') !== true;
}
