/**
 * In the bundle, this replaces import-in-the-middle, which takes milliseconds to load and is not needed
 * before the app imports an instrumented ES module. Hooks that are created earlier wait until then.
 */
import { diag } from '@opentelemetry/api';

type Exports = Record<string, unknown>;
type OnImport = (namespace: Exports, name: string, folder?: string, format?: string) => unknown;
type HookArguments = [modules: string[], options: { internals?: boolean }, onImport: OnImport];
type HookClass = new (...args: HookArguments) => object;

const waiting: HookArguments[] = [];
let RealHook: HookClass | undefined;

export class Hook {
  constructor(modules: string[], options: { internals?: boolean }, onImport: OnImport) {
    const args: HookArguments = [modules, options, patching(onImport)];
    if (RealHook === undefined) waiting.push(args);
    else new RealHook(...args);
  }
}

/** Passes the hooks to import-in-the-middle's own Hook, once it is loaded. */
export function startImportHooks(Real: HookClass): void {
  RealHook = Real;
  for (const args of waiting.splice(0)) new Real(...args);
}

/**
 * An error of an instrumentation would fail the app's import, so it is caught here. Some instrumentations can
 * patch a CommonJS module only as `require` returns it. They get that, and the import gets the result.
 */
function patching(onImport: OnImport): OnImport {
  return (namespace, name, folder, format) => {
    try {
      const required = format === 'commonjs' ? namespace.default : undefined;
      const isPatchable =
        (typeof required === 'object' || typeof required === 'function') && required !== null;
      return isPatchable
        ? patchedDefault(onImport, namespace, required as Exports, name, folder)
        : onImport(namespace, name, folder);
    } catch (error) {
      diag.error(`${name} could not be patched`, error);
      return namespace;
    }
  };
}

/**
 * Patches the result of `require`, and refreshes the named exports for its properties. Returns the new
 * default export.
 */
function patchedDefault(
  onImport: OnImport,
  namespace: Exports,
  required: Exports,
  name: string,
  folder?: string,
): unknown {
  const parts = Object.keys(namespace).filter((key) => namespace[key] === required[key]);
  const result = onImport(required, name, folder) as Exports;
  if (result !== undefined) {
    for (const key of parts) if (namespace[key] !== result[key]) namespace[key] = result[key];
    // Another name of the default export, on some Nodes.
    if (namespace['module.exports'] === required) namespace['module.exports'] = result;
  }
  return result;
}
