/** Packages from npm that are no dependencies of this project, for the tests that run apps on top of them. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { npm } from './npm.ts';

const folder = path.join(import.meta.dirname, '..', '.cache', 'installed');

const installations = new Map<string, Promise<string>>();

/**
 * Absolute path of a folder whose node_modules has these packages: name → exact version. Installed once into
 * .cache/installed, with a line on stderr; the same packages give the same folder. Rejects with npm's own words.
 *
 * Peer dependencies are left out unless they are named: those of a package like @langchain/community are hundreds.
 */
export function installed(packages: Record<string, string>): Promise<string> {
  const wanted = Object.entries(packages)
    .map(([name, version]) => `${name}@${version}`)
    .sort();
  const key = wanted.join(' ');
  const known = installations.get(key) ?? install(wanted);
  installations.set(key, known);
  return known;
}

async function install(wanted: string[]): Promise<string> {
  const hash = createHash('sha256').update(wanted.join('\n')).digest('hex').slice(0, 16);
  const finished = path.join(folder, hash);
  if (existsSync(finished)) return finished;
  console.error(`Installing ${wanted.join(', ')} into .cache/installed (once) …`);
  await mkdir(folder, { recursive: true });
  // In a folder of its own until it is complete: several test files may install the same at the same time.
  const unfinished = await mkdtemp(path.join(folder, `.${hash}-`));
  try {
    await writeFile(path.join(unfinished, 'package.json'), '{ "name": "app", "private": true }\n');
    await npm(
      [
        'install',
        '--prefer-offline',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts',
        '--legacy-peer-deps',
        '--save-exact',
        ...wanted,
      ],
      { cwd: unfinished },
    );
    await rename(unfinished, finished);
  } catch (error) {
    // Another test file was faster: its copy is as good.
    if (existsSync(finished)) return finished;
    throw new Error(`${wanted.join(', ')} cannot be installed: ${(error as Error).message}`);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return finished;
}
