/** Shared by the commands that run tests: help, Node's test runner, and the teardown. */
import path from 'node:path';
import { spawnGuarded } from './guarded-child.ts';
import { endOnSignals, Teardown } from './teardown.ts';

const root = path.join(import.meta.dirname, '..', '..');

export interface TestRun {
  /** Of `node --test`. */
  options: string[];
  /** Paths from the root. */
  files: string[];
  env: NodeJS.ProcessEnv;
}

/** Runs the tests that `prepare` selects. The exit code is the test runner's, or 1 when `prepare` fails. */
export async function runTests(
  help: string,
  prepare: (args: string[], teardown: Teardown) => Promise<TestRun>,
): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    console.log(help);
    return;
  }
  const teardown = new Teardown();
  endOnSignals(teardown);
  try {
    const { options, files, env } = await prepare(args, teardown);
    const runner = spawnGuarded(process.execPath, ['--test', '--test-reporter=spec', ...options, ...files], {
      cwd: root,
      env,
      stdout: 'inherit',
      stderr: 'inherit',
    });
    teardown.add(() => runner.stop());
    process.exitCode = (await runner.ended) ?? 1;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
  await teardown.run();
  if (teardown.failed) process.exitCode = 1;
}
