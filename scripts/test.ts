/** npm test: one Milvus and one receiver for all test files, then Node's test runner over them. */
import { globSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import type { Teardown } from '../tools/processes/teardown.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { milvusVersion, startMilvus } from '../tools/servers/milvus.ts';
import { startReceiver } from '../tools/servers/receiver.ts';
import { serveReceiver } from '../tools/servers/shared-receiver.ts';

const help = `npm test                        every test but those against a real Jaeger (npm run test:jaeger)
npm test -- FILE or PATTERN …   the test files that are so called, match the glob, or have it in their path
npm test -- --OPTION …          handed to node --test, for instance --test-name-pattern=search

A real Milvus ${milvusVersion} is installed on the first run, which needs Python 3 with pip, and started unless only files of
test/unit are asked for.`;

const root = path.join(import.meta.dirname, '..');

/** Longest time for one test, in ms: a hung test shall fail by its name, not hang everything. */
const testTimeoutMs = 600_000;

/** Paths from the root. Fails for a pattern that no test file fits. */
function testFiles(patterns: string[]): string[] {
  const existing = globSync('test/**/*.test.ts', { cwd: root }).sort();
  // These need a Jaeger beside the stack, which another task starts; by its full path one can still be had here.
  const usual = existing.filter((file) => !file.startsWith('test/jaeger/'));
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

const progress = (line: string) => console.error(line);

/** Starts what the files need; resolves to the variables that tell them about it. */
async function startStack(teardown: Teardown): Promise<Record<string, string>> {
  const receiver = await startReceiver();
  teardown.add(() => receiver.stop());
  const served = await serveReceiver(receiver);
  teardown.add(() => served.close());
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${receiver.grpcPort}`, log: progress });
  teardown.add(() => milvus.stop());
  return { MILVUS_OTEL_TEST_MILVUS: milvus.address, MILVUS_OTEL_TEST_RECEIVER: served.url };
}

/** Variables of the developer's own that would change what the programs under test do. */
function withoutTelemetrySettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OTEL_')));
}

await runTests(help, async (args, teardown) => {
  const files = testFiles(args.filter((arg) => !arg.startsWith('-')));
  await ensureBuilt();
  const needStack = files.some((file) => !file.startsWith('test/unit/'));
  const stack = needStack ? await startStack(teardown) : {};
  return {
    options: [
      '--test-concurrency=2',
      `--test-timeout=${testTimeoutMs}`,
      ...args.filter((arg) => arg.startsWith('-')),
    ],
    files,
    env: { ...withoutTelemetrySettings(process.env), ...stack },
  };
});
