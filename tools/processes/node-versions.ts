/** Other versions of Node for the tests, from the npm package `node`. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { installed } from './installed.ts';

/**
 * Absolute path of a Node binary. `version` is exact (22.15.0) or a major (26: its newest version at
 * installation). Installed once, some 50 MB, with a line on stderr; rejects with npm's message on failure.
 */
export async function nodeBinary(version: string): Promise<string> {
  // The package is a script that installs the binary.
  const folder = await installed({ node: version }, { scripts: true });
  const binary = path.join(folder, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(binary)) return binary;
  // Otherwise the next run would take it for complete.
  await rm(folder, { recursive: true, force: true });
  throw new Error(
    `Node ${version} was installed without its binary: are npm's install scripts switched off?`,
  );
}
