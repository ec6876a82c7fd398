/** The arguments of the commands that run tests: the same for all of them. */
import { globSync } from 'node:fs';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..', '..');

/** All test files, as sorted paths from the root with `/`. */
export const existingTestFiles = (): string[] =>
  globSync('test/**/*.test.ts', { cwd: root })
    .map((file) => file.split(path.sep).join('/'))
    .sort();

export interface ChosenTests {
  /** Of `node --test`. */
  options: string[];
  /** Paths from the root. */
  files: string[];
}

/**
 * Arguments that begin with `-` are options. Each other argument chooses files of `usual`, by path, by glob
 * or by a part of the path; without one, all of `usual` are chosen. Only its path chooses a file of `byPath`.
 * Fails for an argument without a test file.
 */
export function chooseTests(
  args: readonly string[],
  usual: readonly string[],
  byPath: readonly string[] = [],
): ChosenTests {
  const options = args.filter((arg) => arg.startsWith('-'));
  const patterns = args.filter((arg) => !arg.startsWith('-'));
  if (patterns.length === 0) return { options, files: [...usual] };
  const files = patterns.flatMap((pattern) => {
    const named = path.relative(root, path.resolve(root, pattern)).split(path.sep).join('/');
    if (usual.includes(named) || byPath.includes(named)) return [named];
    const found = usual.filter((file) => path.matchesGlob(file, pattern) || file.includes(pattern));
    if (found.length === 0)
      throw new Error(
        `No test file for "${pattern}" (the value of an option follows a "="). There are:\n  ${usual.join('\n  ')}`,
      );
    return found;
  });
  return { options, files: [...new Set(files)] };
}

/** Lines of help on the arguments. `command` is as users type it: `npm test`. */
export function argumentsHelp(command: string, withoutArguments: string): string {
  const rows = [
    [command, withoutArguments],
    [`${command} -- FILE …`, 'test files by path, by glob, or by a part of the path'],
    [`${command} -- --OPTION=VALUE …`, 'options of node --test, for instance --test-name-pattern=search'],
  ];
  const width = Math.max(...rows.map(([usage = '']) => usage.length)) + 4;
  return rows
    .map(([usage = '', text = '']) => usage.padEnd(width) + text.replaceAll('\n', `\n${' '.repeat(width)}`))
    .join('\n');
}
