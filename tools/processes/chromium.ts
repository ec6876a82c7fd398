/** Finds a Chromium or Chrome for the tests of the report, or installs Debian's as root. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, statSync } from 'node:fs';
import path from 'node:path';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const macApps = ['Google Chrome', 'Chromium'].map((app) => `/Applications/${app}.app/Contents/MacOS/${app}`);
const signEveryMs = 10_000;

export interface ChromiumSearch {
  env: NodeJS.ProcessEnv;
  /** Installs Debian's package; undefined without root or apt-get. */
  install?: () => Promise<void>;
}

/**
 * Absolute path of the executable: CHROME_PATH, one in PATH, an app of macOS, or Debian's package, which is
 * installed once as root. Rejects with the fix when there is none.
 */
export async function chromiumPath({
  env = process.env,
  install = process.getuid?.() === 0 && inPath('apt-get', env) !== undefined ? installWithApt : undefined,
}: Partial<ChromiumSearch> = {}): Promise<string> {
  const { CHROME_PATH: given } = env;
  if (given) {
    if (isExecutable(given)) return given;
    throw new Error(
      `CHROME_PATH is "${given}", which is not an executable: set it to that of Chromium or Chrome`,
    );
  }
  const here = () => names.map((name) => inPath(name, env)).find(Boolean) ?? macApps.find(isExecutable);
  const found = here();
  if (found !== undefined) return found;
  await install?.();
  const installed = here();
  if (installed !== undefined) return installed;
  throw new Error(
    'No Chromium and no Chrome is installed, which the tests of the report need. Install one (Debian: apt-get install ' +
      'chromium), or set CHROME_PATH to its executable.',
  );
}

function inPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env.PATH ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** Prints its progress on stderr, a line every ten seconds. */
async function installWithApt(): Promise<void> {
  const startedMs = performance.now();
  const print = (line: string) => console.error(`chromium: ${line}`);
  print('installing it with apt-get (once, some 100 MB)');
  const sign = setInterval(
    () => print(`installing: ${Math.round((performance.now() - startedMs) / 1000)} s so far`),
    signEveryMs,
  );
  try {
    // The package may come from another list than one that cannot be fetched.
    await aptGet('update').catch(() => {});
    await aptGet('install', '--yes', '--no-install-recommends', 'chromium');
    print('installed');
  } finally {
    clearInterval(sign);
  }
}

async function aptGet(...args: string[]): Promise<void> {
  const options = ['--quiet', '--option', 'DPkg::Lock::Timeout=300'];
  const child = spawn('apt-get', [...options, ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  if (code !== 0)
    throw new Error(
      `apt-get ${args.join(' ')} failed with code ${code}: ${stderr.trim()}\n` +
        'Install Chromium or Chrome yourself, or set CHROME_PATH to its executable.',
    );
}
