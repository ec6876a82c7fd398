/** npm test: one Milvus and one receiver for all test files, then Node's test runner over them. */
import { ensureBuilt } from '../tools/build/build-package.ts';
import { existingTestFiles } from '../tools/processes/test-files.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { milvusVersion } from '../tools/servers/milvus.ts';
import { startTestStack, withoutTelemetrySettings } from '../tools/servers/test-stack.ts';

/** Time limit of a test, in ms: a hung test fails by its name. */
const testTimeoutMs = 600_000;

/** Other commands run these: they need a Jaeger, or minutes to build apps. */
const isOfOtherCommand = (file: string) => /^test\/(jaeger|frameworks)\//.test(file);

const existing = existingTestFiles();

await runTests({
  command: 'npm test',
  withoutArguments:
    'every test except those on a real Jaeger (npm run test:jaeger) and on real\nframeworks (npm run test:frameworks)',
  needs: `A real Milvus ${milvusVersion} is installed on the first run, which needs Python 3 with pip. It is started unless all files are
in test/unit.`,
  files: existing.filter((file) => !isOfOtherCommand(file)),
  byPath: existing.filter(isOfOtherCommand),
  options: [
    // More than the cores: many tests wait for timers.
    '--test-concurrency=3',
    `--test-timeout=${testTimeoutMs}`,
  ],
  async prepare(files, teardown) {
    await ensureBuilt();
    const needStack = files.some((file) => !file.startsWith('test/unit/'));
    const stack = needStack ? await startTestStack(teardown) : {};
    return { ...withoutTelemetrySettings(process.env), ...stack };
  },
});
