/** npm, as a child process. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Default time limit of a call, in ms: some fetch hundreds of MB. */
const usualTimeoutMs = 300_000;

/** Resolves to what npm wrote to stdout; rejects with what it wrote to stderr. */
export async function npm(
  args: string[],
  { cwd, timeoutMs = usualTimeoutMs }: { cwd?: string; timeoutMs?: number } = {},
): Promise<string> {
  // npm sets npm_execpath for scripts; otherwise PATH finds `npm`.
  const cli = process.env.npm_execpath;
  const [command, first] = cli?.endsWith('npm-cli.js') ? [process.execPath, [cli]] : ['npm', []];
  const { stdout } = await promisify(execFile)(command, [...first, ...args], {
    cwd,
    timeout: timeoutMs,
    maxBuffer: 64 * 2 ** 20,
  });
  return stdout;
}
