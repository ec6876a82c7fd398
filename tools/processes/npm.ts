/** npm, as a child process. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Longest one call may take by default, in ms: some fetch hundreds of MB. */
const usualTimeoutMs = 300_000;

/** Resolves to what npm wrote to stdout; rejects with what it wrote to stderr. */
export async function npm(
  args: string[],
  { cwd, timeoutMs = usualTimeoutMs }: { cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  // npm tells scripts where it is; without it, `npm` is looked up in PATH.
  const cli = process.env.npm_execpath;
  const [command, first] = cli?.endsWith('npm-cli.js') ? [process.execPath, [cli]] : ['npm', []];
  const { stdout } = await promisify(execFile)(command, [...first, ...args], {
    cwd,
    timeout: timeoutMs,
    maxBuffer: 64 * 2 ** 20,
  });
  return stdout;
}
