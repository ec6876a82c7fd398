/**
 * In the bundle, this stands for require-in-the-middle: the same hook, but it is asked only about modules that
 * anybody may want to patch. By itself it resolves every module that the app loads a second time, which costs more
 * than all the instrumentations together.
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
        // The app's require must not fail by it.
        diag.error(`${name} could not be patched`, error);
        return exports;
      }
    };
    if (modules !== null) {
      // biome-ignore lint/correctness/noConstructorReturn: whoever makes a hook keeps what is made, to take it back.
      return new NamedHook(modules, options, onRequire);
    }
    const original = Module.prototype.require;
    // Making it puts its require in place.
    new NamedHook([...NAMES], options, onRequire);
    const patching = Module.prototype.require;
    Module.prototype.require = function (this: NodeModule, id: string) {
      return (mayBePatched(id, this) ? patching : original).call(this, id);
    } as NodeJS.Require;
  }
}

/** Folder of a requiring module → whether it is in a package that may be patched. */
const folders = new Map<string, boolean>();

/** Whether `id`, required by `parent`, may be one of NAMES or a file of one. When in doubt, it may. */
function mayBePatched(id: unknown, parent: NodeModule): boolean {
  if (typeof id !== 'string') return true;
  const name = moduleName(id);
  if (name !== undefined) return NAMES.has(name);
  // A path leads where it says, or stays within the package of the module that requires it, as #imports do.
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
