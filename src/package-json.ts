/** Reads package.json files on disk. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The fields that are read; any of them may have any value. */
export interface PackageJson {
  name?: unknown;
  version?: unknown;
  main?: unknown;
  scripts?: unknown;
}

/** Undefined when there is none, or none that can be read. */
export function packageJsonIn(folder: string): PackageJson | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) ?? undefined;
  } catch {
    return undefined;
  }
}

/** The package.json nearest to `file`, in its folder or above, that `isWanted`. */
export function packageJsonAbove<Wanted extends PackageJson>(
  file: string,
  isWanted: (found: PackageJson) => found is Wanted,
): { folder: string; found: Wanted } | undefined {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const found = packageJsonIn(folder);
    if (found !== undefined && isWanted(found)) return { folder, found };
    if (folder === dirname(folder)) return undefined;
  }
}

export const isNamed = (found: PackageJson): found is PackageJson & { name: string } =>
  typeof found.name === 'string' && found.name !== '';
