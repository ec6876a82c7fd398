/** What is installed in and above an app's folder. */
import { readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SDK } from '../milvus/sdk-version.ts';
import { isNamed, type PackageJson, packageJsonAbove, packageJsonIn } from '../package-json.ts';

export interface InstalledPackage {
  name: string;
  version: string;
  folder: string;
}

const hasVersion = (found: PackageJson): found is { name: string; version: string } =>
  isNamed(found) && typeof found.version === 'string';

/** The package that a file belongs to: the nearest package.json with a name and a version. */
export function packageOf(file: string): InstalledPackage | undefined {
  const nearest = packageJsonAbove(file, hasVersion);
  if (nearest === undefined) return undefined;
  const { name, version } = nearest.found;
  return { name, version, folder: nearest.folder };
}

export function readPackage(folder: string): InstalledPackage | undefined {
  const found = packageJsonIn(folder);
  return found !== undefined && hasVersion(found)
    ? { name: found.name, version: found.version, folder }
    : undefined;
}

/** Of the SDK's main file. */
export const sdkVersionAt = (file: string): string => packageOf(file)?.version ?? 'of an unknown version';

const WATCHED = (name: string): boolean =>
  name === SDK || name === 'milvus-otel' || name === '@grpc/grpc-js' || name.startsWith('@opentelemetry/');

/** Folders looked into at most, so that a huge installation cannot hold up the rest. */
const MOST_FOLDERS = 20_000;

/** Every copy of the packages that matter to tracing, in the app's node_modules and those above it. */
export function installedCopies(appFolder: string): InstalledPackage[] {
  const seen = new Set<string>();
  /** By folder: a link of another name may lead to a package first. */
  const found = new Map<string, InstalledPackage>();
  let left = MOST_FOLDERS;
  const list = (folder: string): string[] => {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  };
  const visit = (modules: string) => {
    for (const entry of list(modules)) {
      // pnpm keeps all copies in a separate folder.
      if (entry === '.pnpm')
        for (const copy of list(join(modules, entry))) visit(join(modules, entry, copy, 'node_modules'));
      if (entry.startsWith('.')) continue;
      const names = entry.startsWith('@')
        ? list(join(modules, entry)).map((inner) => `${entry}/${inner}`)
        : [entry];
      for (const name of names) {
        if (--left < 0) return;
        let folder: string;
        try {
          folder = realpathSync(join(modules, name));
        } catch {
          continue;
        }
        const copy = WATCHED(name) ? readPackage(folder) : undefined;
        if (copy !== undefined) found.set(folder, copy);
        if (seen.has(folder)) continue;
        seen.add(folder);
        visit(join(folder, 'node_modules'));
      }
    }
  };
  for (let folder = appFolder; ; folder = dirname(folder)) {
    visit(join(folder, 'node_modules'));
    if (folder === dirname(folder)) return [...found.values()];
  }
}
