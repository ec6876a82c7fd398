/** npm run test:jaeger: the tests against a real Jaeger, which is built before them. */
import { globSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { collectorVersion, ensureCollector } from '../tools/servers/collector-build.ts';
import { ensureComposeLoader } from '../tools/servers/compose-build.ts';
import {
  ensureJaeger,
  ensureJaeger2,
  goNeeded,
  jaeger2Version,
  jaegerVersion,
} from '../tools/servers/jaeger-build.ts';

const help = `npm run test:jaeger                  every test on a real Jaeger and a real OpenTelemetry Collector: sample apps under the
                                     preload, a real Milvus, joined traces from Jaeger's query API
npm run test:jaeger -- --OPTION …    options for node --test, for instance --test-name-pattern=search

Jaeger ${jaegerVersion}, Jaeger ${jaeger2Version}, a collector ${collectorVersion} and the loader of compose files are built from their
Go modules on the first run, which needs Go ${goNeeded} or newer and takes about 12 minutes on two cores; the programs stay in
.cache. Milvus needs Python 3 with pip.`;

const root = path.join(import.meta.dirname, '..');

await runTests(help, async (args) => {
  const stray = args.find((arg) => !arg.startsWith('-'));
  if (stray !== undefined)
    throw new Error(`"${stray}" is no option: this runs all tests of test/jaeger\n\n${help}`);
  await ensureBuilt();
  // Before the tests, so that the minutes it takes the first time count against no test's time. A build that is under
  // way at a signal ends with this process.
  const log = (line: string) => console.error(line);
  for (const ensure of [ensureJaeger, ensureJaeger2, ensureCollector, ensureComposeLoader])
    await ensure({ log });
  const files = globSync('test/jaeger/*.test.ts', { cwd: root }).sort();
  return { options: args, files, env: process.env };
});
