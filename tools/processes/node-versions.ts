/** Other versions of Node for the tests, out of the npm package `node`, which carries the binaries. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { installed } from './installed.ts';

/**
 * Absolute path of a Node binary. `version` is exact (22.15.0) or a major (26: the newest of it on the day of
 * its installation). Installed once, some 50 MB, with a line on stderr; rejects with npm's own words when it
 * cannot be.
 */
export async function nodeBinary(version: string): Promise<string> {
  // The package is a script that installs the binary.
  const folder = await installed({ node: version }, { scripts: true });
  const binary = path.join(folder, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(binary)) return binary;
  // Or the next run would take it for complete.
  await rm(folder, { recursive: true, force: true });
  throw new Error(
    `Node ${version} was installed without its binary: are npm's install scripts switched off?`,
  );
}
