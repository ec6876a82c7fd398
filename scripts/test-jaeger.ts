/** npm run test:jaeger: the tests on real Jaegers, a Collector and Prometheus, which are built first. */
import { globSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { runTests } from '../tools/processes/test-runner.ts';
import { collectorVersion, ensureCollector } from '../tools/servers/collector-build.ts';
import { ensureComposeLoader } from '../tools/servers/compose-build.ts';
import { ensureJaeger, ensureJaeger2, jaeger2Version, jaegerVersion } from '../tools/servers/jaeger-build.ts';
import {
  ensurePrometheus,
  ensurePromtool,
  goNeeded,
  prometheusVersion,
} from '../tools/servers/prometheus-build.ts';

const help = `npm run test:jaeger                  every test on a real Jaeger, OpenTelemetry Collector and Prometheus: sample apps under the
                                     preload, a real Milvus, joined traces from Jaeger's query API, the dashboard's queries
npm run test:jaeger -- --OPTION …    options for node --test, for instance --test-name-pattern=search

Jaeger ${jaegerVersion}, Jaeger ${jaeger2Version}, OpenTelemetry Collector ${collectorVersion}, Prometheus ${prometheusVersion} and the loader of compose files are
built from their Go modules on the first run, which needs Go ${goNeeded} or newer and takes about 16 minutes on two cores; the
programs stay in .cache. Milvus needs Python 3 with pip.`;

const root = path.join(import.meta.dirname, '..');

await runTests(help, async (args) => {
  const stray = args.find((arg) => !arg.startsWith('-'));
  if (stray !== undefined)
    throw new Error(`"${stray}" is not an option: this runs all tests of test/jaeger\n\n${help}`);
  await ensureBuilt();
  // Built before the tests, so that no test's time limit includes it. A running build ends with this process.
  const log = (line: string) => console.error(line);
  const programs = [ensureJaeger, ensureJaeger2, ensureCollector, ensurePrometheus, ensurePromtool];
  for (const ensure of [...programs, ensureComposeLoader]) await ensure({ log });
  const files = globSync('test/jaeger/*.test.ts', { cwd: root }).sort();
  return { options: args, files, env: process.env };
});
