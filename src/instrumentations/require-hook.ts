/**
 * In the bundle, this replaces require-in-the-middle by the same hook for listed modules only. The original
 * resolves every module of the app a second time, which costs more than all the instrumentations together.
 */
import Module from 'node:module';
import path from 'node:path';
import { diag } from '@opentelemetry/api';
import { type HookOptions, Hook as NamedHook, type OnRequireFn } from 'require-in-the-middle';
import { SDK } from '../milvus/sdk-version.ts';
import { CATALOG } from './catalog.ts';
import { moduleName } from './module-name.ts';

const NAMES = new Set([SDK, ...CATALOG.flatMap(({ modules }) => modules)]);

export class Hook {
  constructor(modules: string[] | null, options: HookOptions, onRequireOrThrow: OnRequireFn) {
    const onRequire: OnRequireFn = (exports, name, folder) => {
      try {
        return onRequireOrThrow(exports, name, folder);
      } catch (error) {
        // The app's require must not fail because of it.
        diag.error(`${name} could not be patched`, error);
        return exports;
      }
    };
    if (modules !== null) {
      // biome-ignore lint/correctness/noConstructorReturn: the caller keeps the returned hook, to remove it.
      return new NamedHook(modules, options, onRequire);
    }
    const original = Module.prototype.require;
    // The constructor installs its require.
    new NamedHook([...NAMES], options, onRequire);
    const patching = Module.prototype.require;
    const files = new LinkedFiles(onRequire);
    Module.prototype.require = function (this: NodeModule, id: string) {
      const load = () =>
        mayBePatched(id, this) ? loadPatched(this, id, original, patching) : original.call(this, id);
      const own = linkedPackageOf(this);
      return own === undefined ? load() : files.load(own, this, id, load);
    } as NodeJS.Require;
  }
}

interface LinkedPackage {
  name: string;
  folder: string;
}

/** Packages whose real path is in no node_modules folder; usually none. */
const linked: LinkedPackage[] = [];

/** Lets the hook patch files of a package that is linked from elsewhere. Call it before they are loaded. */
export function patchLinked(name: string, folder: string): void {
  linked.push({ name, folder });
}

const linkedPackageOf = ({ filename }: NodeModule): LinkedPackage | undefined =>
  linked.length === 0 ? undefined : linked.find(({ folder }) => filename?.startsWith(folder + path.sep));

/** Passes a linked package's own files to a hook, under the names of an installed package's files. */
class LinkedFiles {
  private readonly onRequire: OnRequireFn;
  private readonly patched = new Map<string, unknown>();
  /** In a circle of requires, the exports are not complete before the first one has returned. */
  private readonly loading = new Set<string>();

  constructor(onRequire: OnRequireFn) {
    this.onRequire = onRequire;
  }

  load({ name, folder }: LinkedPackage, parent: NodeModule, id: string, load: () => unknown): unknown {
    const file = resolvedFrom(parent, id);
    const inside = file === undefined ? '..' : path.relative(folder, file);
    if (file === undefined || inside.startsWith('..') || inside.startsWith('node_modules')) return load();
    if (this.patched.has(file)) return this.patched.get(file);
    if (this.loading.has(file)) return load();
    this.loading.add(file);
    try {
      const exports = this.onRequire(load(), path.join(name, inside), folder);
      this.patched.set(file, exports);
      return exports;
    } finally {
      this.loading.delete(file);
    }
  }
}

/** Undefined when it cannot be resolved; the app's own require then throws. */
function resolvedFrom({ filename }: NodeModule, id: string): string | undefined {
  try {
    return id.startsWith('.') ? Module.createRequire(filename).resolve(id) : undefined;
  } catch {
    return undefined;
  }
}

declare const __filename: string;

type Require = (this: NodeModule, id: string) => unknown;

interface Resolver {
  _resolveFilename(id: string, parent: NodeModule): string;
}

/** Node's module cache, by file. */
const { cache } = Module.createRequire(__filename);

/** Files whose first require has not returned yet. */
const loading = new Set<string>();

/** The result of `patching`, unless something other than Node's loader provides the module. */
function loadPatched(parent: NodeModule, id: string, original: Require, patching: Require): unknown {
  const file = unloadedFile(id, parent);
  if (file === undefined) return patching.call(parent, id);
  // Modules that it requires in a circle get it unpatched, since it is incomplete.
  if (loading.has(file)) return original.call(parent, id);
  loading.add(file);
  try {
    const exports = original.call(parent, id);
    // For instance mocks of node:test: they are neither patched nor cached.
    return file in cache ? patching.call(parent, id) : exports;
  } finally {
    loading.delete(file);
  }
}

/** The file of `id`, if it is not loaded yet; undefined for a built-in module and for an unresolvable one. */
function unloadedFile(id: unknown, parent: NodeModule): string | undefined {
  if (typeof id !== 'string' || Module.isBuiltin(id)) return undefined;
  try {
    // As require-in-the-middle does: require.resolve() would run all resolve hooks once more.
    const file = (Module as unknown as Resolver)._resolveFilename(id, parent);
    return file in cache && !loading.has(file) ? undefined : file;
  } catch {
    return undefined;
  }
}

/** Folder of a requiring module → whether it is in a package that may be patched. */
const folders = new Map<string, boolean>();

/** Whether `id`, required by `parent`, may be one of NAMES or a file of one. When in doubt, it may. */
function mayBePatched(id: unknown, parent: NodeModule): boolean {
  if (typeof id !== 'string') return true;
  const name = moduleName(id);
  if (name !== undefined) return NAMES.has(name);
  // A path names its file. #imports stay within the package of the requiring module.
  const folder = path.isAbsolute(id) ? path.dirname(id) : path.dirname(parent.filename ?? '');
  return id.includes('node_modules') || isInNamed(folder);
}

function isInNamed(folder: string): boolean {
  let known = folders.get(folder);
  if (known === undefined) {
    const inner = folder
      .split(/[\\/]node_modules[\\/]/)
      .at(-1)
      ?.replaceAll('\\', '/');
    known = inner !== undefined && inner !== folder && NAMES.has(moduleName(inner) ?? '');
    folders.set(folder, known);
  }
  return known;
}
