/** Shared by the commands that run tests: help, arguments, Node's test runner, and the teardown. */
import path from 'node:path';
import { spawnGuarded } from './guarded-child.ts';
import { endOnSignals, Teardown } from './teardown.ts';
import { argumentsHelp, chooseTests } from './test-files.ts';

const root = path.join(import.meta.dirname, '..', '..');

export interface TestCommand {
  /** As users type it: `npm test`. */
  command: string;
  /** For --help: what runs without arguments. */
  withoutArguments: string;
  /** For --help: the last paragraph. */
  needs: string;
  /** Paths from the root. */
  files: string[];
  /** More files, which run only when an argument is their path. */
  byPath?: string[];
  /** Options of `node --test`, before those of the user. */
  options: string[];
  /** Starts what the chosen files need, and resolves to the environment of the test runner. */
  prepare(files: string[], teardown: Teardown): Promise<NodeJS.ProcessEnv>;
}

/** Runs the chosen tests. The exit code is the test runner's, or 1 when an argument or `prepare` fails. */
export async function runTests(tests: TestCommand): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    console.log(`${argumentsHelp(tests.command, tests.withoutArguments)}\n\n${tests.needs}`);
    return;
  }
  const teardown = new Teardown();
  endOnSignals(teardown);
  try {
    const { options, files } = chooseTests(args, tests.files, tests.byPath);
    const env = await tests.prepare(files, teardown);
    const runner = spawnGuarded(
      process.execPath,
      ['--test', '--test-reporter=spec', ...tests.options, ...options, ...files],
      { cwd: root, env, stdout: 'inherit', stderr: 'inherit' },
    );
    teardown.add(() => runner.stop());
    process.exitCode = (await runner.ended) ?? 1;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
  await teardown.run();
  if (teardown.failed) process.exitCode = 1;
}
