/**
 * Runs modules of src/ that load parts of the bundle. Import it before them. Parts are loaded from source: no
 * build, and no second copy of a class.
 */
import { registerHooks } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { PARTS } from '../../tools/build/parts.ts';

/** The bundle is CommonJS and finds its parts next to its file, which does not exist here. */
const bundle = path.join(import.meta.dirname, '..', '..', 'dist', 'from-source', 'preload.cjs');
Object.assign(globalThis, { __filename: bundle, __dirname: path.dirname(bundle) });

const folder = pathToFileURL(`${path.dirname(bundle)}${path.sep}`).href;
const stubs = new Map<string, string>();

/** Replaces a part by the given module, or adds one. */
export function stubPart(name: string, source: string): void {
  stubs.set(name, source);
}

registerHooks({
  resolve(specifier, context, next) {
    const [, name] = /^\.\/([\w.-]+)\.cjs$/.exec(specifier) ?? [];
    if (name === undefined || context.parentURL !== pathToFileURL(bundle).href)
      return next(specifier, context);
    return { url: `${folder}${name}.mjs`, format: 'module', shortCircuit: true };
  },
  load(url, context, next) {
    if (!url.startsWith(folder)) return next(url, context);
    const name = url.slice(folder.length, -'.mjs'.length);
    const source = stubs.get(name) ?? PARTS[name];
    if (source === undefined) throw new Error(`the bundle has no part ${name}`);
    return { format: 'module', source, shortCircuit: true };
  },
});
