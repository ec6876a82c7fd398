/** Other versions of Node for the tests, out of the npm package `node`, which carries the binaries. */
import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { npm } from './npm.ts';

const folder = path.join(import.meta.dirname, '..', '.cache', 'nodes');

const binaries = new Map<string, Promise<string>>();

/**
 * Absolute path of a Node binary. `version` is exact (22.15.0) or a major (26: the newest of it on the day of its
 * installation). Installed once into .cache/nodes, with a line on stderr; rejects with npm's own words when it cannot be.
 */
export function nodeBinary(version: string): Promise<string> {
  const known = binaries.get(version) ?? install(version);
  binaries.set(version, known);
  return known;
}

async function install(version: string): Promise<string> {
  const binary = path.join(folder, version, 'node_modules', 'node', 'bin', 'node');
  if (await exists(binary)) return binary;
  console.error(`Installing Node ${version} into .cache/nodes (once, some 50 MB) …`);
  await mkdir(folder, { recursive: true });
  // In a folder of its own until it is complete: several test files may install the same version at the same time.
  const unfinished = await mkdtemp(path.join(folder, `.${version}-`));
  try {
    await npm([
      'install',
      '--prefix',
      unfinished,
      '--prefer-offline',
      '--no-save',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts=false',
      `node@${version}`,
    ]);
    if (!(await exists(path.join(unfinished, 'node_modules', 'node', 'bin', 'node'))))
      throw new Error('npm ended well but brought no binary: are install scripts switched off?');
    await rename(unfinished, path.join(folder, version));
  } catch (error) {
    // Another test file was faster: its copy is as good.
    if (await exists(binary)) return binary;
    throw new Error(`Node ${version} cannot be installed: ${(error as Error).message}`);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return binary;
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );
