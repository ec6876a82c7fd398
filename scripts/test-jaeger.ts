/** npm run test:jaeger: the tests on real Jaegers, a Collector and Prometheus, which are built first. */
import path from 'node:path';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { existingTestFiles } from '../tools/processes/test-files.ts';
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

const programs = [
  ensureJaeger,
  ensureJaeger2,
  ensureCollector,
  ensurePrometheus,
  ensurePromtool,
  ensureComposeLoader,
];

/** The programs that a test file needs; all of them for a file without a row. */
const programsOf: Record<string, typeof programs> = {
  'build.test.ts': [ensureJaeger],
  'configurations.test.ts': [ensureJaeger2, ensureCollector, ensurePromtool, ensureComposeLoader],
  'dashboard.test.ts': [ensureJaeger2, ensureCollector, ensurePrometheus],
  'doctor.test.ts': [ensureJaeger],
  'jaeger.test.ts': [ensureJaeger],
  'production.test.ts': [ensureJaeger2, ensureCollector],
};

await runTests({
  command: 'npm run test:jaeger',
  withoutArguments:
    'every test on a real Jaeger, OpenTelemetry Collector and Prometheus: sample apps\n' +
    "under the preload, a real Milvus, joined traces from Jaeger's query API, the\n" +
    "dashboard's queries",
  needs: `Jaeger ${jaegerVersion}, Jaeger ${jaeger2Version}, OpenTelemetry Collector ${collectorVersion}, Prometheus ${prometheusVersion} and the loader of compose files are
built from their Go modules when a chosen file needs them for the first time. All of them take about 16 minutes on two
cores. This needs Go ${goNeeded} or newer; the programs stay in .cache. Milvus needs Python 3 with pip.`,
  files: existingTestFiles().filter((file) => file.startsWith('test/jaeger/')),
  options: [],
  async prepare(files) {
    await ensureBuilt();
    const needed = new Set(files.flatMap((file) => programsOf[path.basename(file)] ?? programs));
    // Built before the tests, so that no test's time limit includes it. A running build ends with this
    // process.
    for (const ensure of needed) await ensure({ log: (line) => console.error(line) });
    return process.env;
  },
});
