/**
 * Whether a source file loads the preload, by its text: a wrapper such as the Operator's, or the app's own
 * entry file.
 */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isOurs } from './node-options.ts';

/** Bundles are larger, and their text says nothing of the order. */
const LARGEST_BYTES = 200_000;

/** What the text imports and requires, in its order; comments are left out. */
export function specifiersIn(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|(^|[^:])\/\/.*$/gm, '$1');
  const loads = /\bimport\s*\(?\s*['"]([^'"]+)|\bfrom\s*['"]([^'"]+)|\brequire\s*\(\s*['"]([^'"]+)/g;
  return [...code.matchAll(loads)].map(([, plain, from, required]) => plain ?? from ?? required ?? '');
}

/** `first`: before everything else, itself or in a file that it loads before everything else. */
export function loadsPreload(file: string, depth = 2): 'first' | 'later' | undefined {
  const text = smallText(file);
  if (text === undefined) return undefined;
  const specifiers = specifiersIn(text);
  for (const [at, specifier] of specifiers.entries()) {
    const order = isOurs(specifier) ? 'first' : inFile(file, specifier, depth);
    if (order !== undefined) return at === 0 ? order : 'later';
  }
  return undefined;
}

function inFile(from: string, specifier: string, depth: number): 'first' | 'later' | undefined {
  if (depth === 0 || !/^\.\.?\//.test(specifier)) return undefined;
  const file = resolved(from, specifier);
  return file === undefined ? undefined : loadsPreload(file, depth - 1);
}

/** The file that Node loads for a specifier of `--require` or `--import`; undefined when there is none. */
export function resolved(from: string, specifier: string): string | undefined {
  try {
    return specifier.startsWith('file:') ? fileURLToPath(specifier) : createRequire(from).resolve(specifier);
  } catch {
    return undefined;
  }
}

/** Whether `--require` or `--import` of this loads the preload, by its name, its path or a wrapper's text. */
export function isPreload(specifier: string, appFolder: string): boolean {
  if (isOurs(specifier)) return true;
  if (!isAbsolute(specifier) && !/^(file:|\.\.?\/)/.test(specifier)) return false;
  const file = resolved(`${appFolder}/any.js`, specifier);
  return file !== undefined && loadsPreload(file) !== undefined;
}

function smallText(file: string): string | undefined {
  try {
    return statSync(file).size > LARGEST_BYTES ? undefined : readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
