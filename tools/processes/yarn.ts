/** Apps that Yarn 4 has installed without node_modules (Plug'n'Play): packages stay in archives. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { spawnGuarded } from './guarded-child.ts';
import { installed } from './installed.ts';
import { npm } from './npm.ts';

const cache = path.join(import.meta.dirname, '..', '..', '.cache', 'yarn');

export interface YarnApp {
  folder: string;
  /** Value of NODE_OPTIONS with which Yarn starts Node there. */
  nodeOptions: string;
}

/** Installs the dependencies into a new app in `folder`; rejects with Yarn's message. */
export async function yarnApp(folder: string, dependencies: Record<string, string>): Promise<YarnApp> {
  const cli = await installed({ '@yarnpkg/cli-dist': '4' });
  const yarn = path.join(cli, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js');
  const registry = (await npm(['config', 'get', 'registry'])).trim().replace(/\/$/, '');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'package.json'), JSON.stringify({ name: 'app', dependencies }));
  // Otherwise Yarn takes the folder for part of a project above it.
  await writeFile(path.join(folder, 'yarn.lock'), '');
  const { NODE_EXTRA_CA_CERTS } = process.env;
  const runYarn = async (args: string[]): Promise<string> => {
    const child = spawnGuarded(process.execPath, [yarn, ...args], {
      cwd: folder,
      stdout: 'pipe',
      stderr: 'pipe',
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        ...(NODE_EXTRA_CA_CERTS && { NODE_EXTRA_CA_CERTS }),
        YARN_NPM_REGISTRY_SERVER: registry,
        YARN_ENABLE_TELEMETRY: '0',
        YARN_ENABLE_SCRIPTS: '0',
        YARN_GLOBAL_FOLDER: cache,
      },
    });
    const { stdout, stderr } = child.process;
    const [out, err, code] = await Promise.all([
      stdout === null ? '' : text(stdout),
      stderr === null ? '' : text(stderr),
      child.ended,
    ]);
    if (code !== 0) throw new Error(`yarn ${args.join(' ')} failed:\n${out}${err}`);
    return out;
  };
  await runYarn(['install', '--no-immutable']);
  const nodeOptions = (await runYarn(['node', '--print', 'process.env.NODE_OPTIONS'])).trim();
  return { folder, nodeOptions };
}
