/** npm run test:frameworks: the tests that build real apps of frameworks, which take minutes. */
import { globSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { startTestStack, withoutTelemetrySettings } from '../tools/servers/test-stack.ts';

const help = `npm run test:frameworks                  real apps of frameworks, built as their templates build them, against a real Milvus
npm run test:frameworks -- FILE …        test files of test/frameworks whose path contains FILE
npm run test:frameworks -- --OPTION …    options for node --test, for instance --test-name-pattern=search

The newest versions are installed and the apps built on the first run; both stay in .cache until the app's files or its
packages change. Milvus needs Python 3 with pip.`;

const root = path.join(import.meta.dirname, '..');

/** Time limit of a test, in ms, including the build of its app. */
const testTimeoutMs = 600_000;

await runTests(help, async (args, teardown) => {
  const patterns = args.filter((arg) => !arg.startsWith('-'));
  const existing = globSync('test/frameworks/*.test.ts', { cwd: root }).sort();
  const files = existing.filter(
    (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
  );
  if (files.length === 0) throw new Error(`No test file for it. There are:\n  ${existing.join('\n  ')}`);
  await ensureBuilt();
  return {
    // One file at a time: two would build the same app, and a build uses every core.
    options: [
      '--test-concurrency=1',
      `--test-timeout=${testTimeoutMs}`,
      ...args.filter((arg) => arg.startsWith('-')),
    ],
    files,
    env: { ...withoutTelemetrySettings(process.env), ...(await startTestStack(teardown)) },
  };
});
