/** npm run test:frameworks: the tests that build real apps of frameworks, which take minutes. */
import { ensureBuilt } from '../tools/build/build-package.ts';
import { existingTestFiles } from '../tools/processes/test-files.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { startTestStack, withoutTelemetrySettings } from '../tools/servers/test-stack.ts';

/** Time limit of a test, in ms, including the build of its app. */
const testTimeoutMs = 600_000;

await runTests({
  command: 'npm run test:frameworks',
  withoutArguments: 'real apps of frameworks, built as their templates build them, on a\nreal Milvus',
  needs: `The newest versions are installed and the apps built on the first run; both stay in .cache until the app's files or its
packages change. Milvus needs Python 3 with pip.`,
  files: existingTestFiles().filter((file) => file.startsWith('test/frameworks/')),
  options: [
    // One file at a time: two would build the same app, and a build uses every core.
    '--test-concurrency=1',
    `--test-timeout=${testTimeoutMs}`,
  ],
  async prepare(_files, teardown) {
    await ensureBuilt();
    return { ...withoutTelemetrySettings(process.env), ...(await startTestStack(teardown)) };
  },
});
