/** npm test: one Milvus and one receiver for all test files, then Node's test runner over them. */
import { globSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { milvusVersion } from '../tools/servers/milvus.ts';
import { startTestStack, withoutTelemetrySettings } from '../tools/servers/test-stack.ts';

const help = `npm test                        every test except those on a real Jaeger (npm run test:jaeger) and on
                                real frameworks (npm run test:frameworks)
npm test -- FILE or PATTERN …   test files by path, by glob, or by a part of the path
npm test -- --OPTION …          options for node --test, for instance --test-name-pattern=search

A real Milvus ${milvusVersion} is installed on the first run, which needs Python 3 with pip. It is started unless all files are
in test/unit.`;

const root = path.join(import.meta.dirname, '..');

/** Time limit of a test, in ms: a hung test fails by its name. */
const testTimeoutMs = 600_000;

/** Paths from the root. Fails for a pattern without a test file. */
function testFiles(patterns: string[]): string[] {
  const existing = globSync('test/**/*.test.ts', { cwd: root }).sort();
  // Other tasks run these: they need a Jaeger, or minutes to build apps. A full path still selects one.
  const usual = existing.filter((file) => !/^test\/(jaeger|frameworks)\//.test(file));
  if (patterns.length === 0) return usual;
  const chosen = patterns.flatMap((pattern) => {
    const named = path.relative(root, path.resolve(pattern));
    if (existing.includes(named)) return [named];
    const found = usual.filter((file) => path.matchesGlob(file, pattern) || file.includes(pattern));
    if (found.length === 0)
      throw new Error(`No test file for "${pattern}". There are:\n  ${usual.join('\n  ')}`);
    return found;
  });
  return [...new Set(chosen)];
}

await runTests(help, async (args, teardown) => {
  const files = testFiles(args.filter((arg) => !arg.startsWith('-')));
  await ensureBuilt();
  const needStack = files.some((file) => !file.startsWith('test/unit/'));
  const stack = needStack ? await startTestStack(teardown) : {};
  return {
    options: [
      // More than the cores: many tests wait for timers.
      '--test-concurrency=3',
      `--test-timeout=${testTimeoutMs}`,
      ...args.filter((arg) => arg.startsWith('-')),
    ],
    files,
    env: { ...withoutTelemetrySettings(process.env), ...stack },
  };
});
