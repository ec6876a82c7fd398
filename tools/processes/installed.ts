/** Packages from npm in addition to this project's own, for the tests that run on top of them. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { npm } from './npm.ts';

const folder = path.join(import.meta.dirname, '..', '..', '.cache', 'installed');

/** Name → version: exact, or a major, whose newest version at installation is taken. */
export type Packages = Record<string, string>;

const installations = new Map<string, Promise<string>>();

/**
 * Absolute path of a folder whose node_modules has these packages. Installed once into .cache/installed, with
 * a line on stderr; the same packages give the same folder. Rejects with npm's message when they cannot be
 * installed.
 *
 * Peer dependencies are installed only when named: some packages have hundreds.
 *
 * @param scripts run the packages' install scripts; false by default.
 * @param timeoutMs limit for installations that take longer than usual: some compile.
 */
export function installed(
  packages: Packages,
  { scripts = false, timeoutMs }: { scripts?: boolean; timeoutMs?: number } = {},
): Promise<string> {
  const wanted = Object.entries(packages)
    .map(([name, version]) => `${name}@${version}`)
    .sort();
  const key = `${wanted.join(' ')}${scripts ? ' with scripts' : ''}`;
  const known = installations.get(key) ?? install(key, wanted, scripts, timeoutMs);
  installations.set(key, known);
  return known;
}

async function install(key: string, wanted: string[], scripts: boolean, timeoutMs?: number): Promise<string> {
  const hash = createHash('sha256').update(key).digest('hex').slice(0, 16);
  const finished = path.join(folder, hash);
  if (existsSync(finished)) return finished;
  const what = wanted.join(', ');
  console.error(`Installing ${what} into .cache/installed (once) …`);
  await mkdir(folder, { recursive: true });
  // Renamed when complete: several test files may install the same packages at the same time.
  const unfinished = await mkdtemp(path.join(folder, `.${hash}-`));
  try {
    await writeFile(path.join(unfinished, 'package.json'), '{ "name": "app", "private": true }\n');
    // --prefix: under an npm script, npm's environment makes child npms work in the project.
    await npm(
      [
        'install',
        '--prefix',
        unfinished,
        '--prefer-offline',
        '--no-audit',
        '--no-fund',
        '--legacy-peer-deps',
        '--save-exact',
        `--ignore-scripts=${!scripts}`,
        ...wanted,
      ],
      { timeoutMs },
    );
    await rename(unfinished, finished);
  } catch (error) {
    // Another test file has installed it meanwhile.
    if (existsSync(finished)) return finished;
    throw new Error(`${what} cannot be installed: ${(error as Error).message}`);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return finished;
}
