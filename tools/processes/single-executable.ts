/** Single executable applications of Node (node:sea). */
import { execFile } from 'node:child_process';
import { copyFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { installed } from './installed.ts';

const run = promisify(execFile);
/** From Node's documentation: marks the place of the application's blob. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/**
 * Builds a single executable application from a self-contained CommonJS file. Resolves to its path.
 *
 * @param folder for the application and its parts
 * @param execArgv Node's flags in its configuration
 */
export async function singleExecutable(
  main: string,
  { folder, name, execArgv = [] }: { folder: string; name: string; execArgv?: string[] },
): Promise<string> {
  const postject = await installed({ postject: '1.0.0-alpha.6' });
  const executable = path.join(folder, name);
  const [config, blob] = [`${executable}.json`, `${executable}.blob`] as const;
  const disableExperimentalSEAWarning = true;
  await writeFile(config, JSON.stringify({ main, output: blob, disableExperimentalSEAWarning, execArgv }));
  await run(process.execPath, ['--experimental-sea-config', config], { cwd: folder });
  await copyFile(process.execPath, executable);
  const cli = path.join(postject, 'node_modules/postject/dist/cli.js');
  await run(process.execPath, [cli, executable, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', FUSE]);
  return executable;
}
