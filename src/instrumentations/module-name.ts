import module from 'node:module';

/**
 * Turbopack links a package that stays outside its bundle as `ioredis-23a6225d8f1c0b74`. Source: Next.js
 * 16.4.
 */
const TURBOPACK_HASH = /^((?:@[^/]+\/)?[^/]+)-[0-9a-f]{16}(?=\/|$)/;

/** A specifier as the app wrote it, before Turbopack renamed its package. */
export const beforeTurbopack = (specifier: string): string => specifier.replace(TURBOPACK_HASH, '$1');

/** The package or built-in module that a specifier names, without `node:`; undefined for paths and URLs. */
export function moduleName(specifier: string): string | undefined {
  const first = specifier.charCodeAt(0);
  if (first === 46 /* . */ || first === 47 /* / */ || first === 35 /* # */) return undefined;
  if (specifier.startsWith('node:')) return specifier.slice(5);
  if (module.isBuiltin(specifier)) return specifier;
  // A URL, or a path on Windows.
  if (specifier.includes(':')) return undefined;
  const slash = specifier.indexOf('/', first === 64 /* @ */ ? specifier.indexOf('/') + 1 : 0);
  return beforeTurbopack(slash === -1 ? specifier : specifier.slice(0, slash));
}
