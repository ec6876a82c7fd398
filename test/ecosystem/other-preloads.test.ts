/** Other vendors' preloads in one process with ours, before and after it. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';

const runs = useRuns();
const root = path.join(import.meta.dirname, '../..');

/** The app has one copy of each of these. */
const SHARED = {
  '@grpc/grpc-js': '1.14.3',
  '@opentelemetry/api': '1.10.0',
  '@zilliz/milvus2-sdk-node': '3.0.6',
  express: '5.3.0',
  'import-in-the-middle': '3.6.0',
};
const QUIET = {
  OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_LOGS_EXPORTER: 'none',
  OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process',
  OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'net,dns,fs,generic-pool',
  ELASTIC_OTEL_CONTEXT_PROPAGATION_ONLY: 'false',
  DD_TRACE_STARTUP_LOGS: 'false',
  DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
};
const MILVUS = /^ *(connect default|search quick_setup)$/;

interface Vendor {
  packages: Record<string, string>;
  preload: string;
  /** Node's flag for it and for us. */
  way: '--import' | '--require';
  /** Our one line when it is loaded before us, and after. */
  before: RegExp;
  after: RegExp;
  /** Whether spans reach the collector when it was first: Splunk's does not flush at a normal exit. */
  sendsWhenFirst: boolean;
}

const EARLIER = /Two OpenTelemetry SDKs found: the one that started first exports all spans/;
const LATER = /Two OpenTelemetry SDKs found: milvus-otel exports all spans/;
const DATADOG = /Traces will be split between dd-trace and milvus-otel/;

const VENDORS: Record<string, Vendor> = {
  Elastic: {
    packages: { '@elastic/opentelemetry-node': '1.18.0' },
    preload: '@elastic/opentelemetry-node',
    way: '--import',
    before: EARLIER,
    after: LATER,
    sendsWhenFirst: true,
  },
  Splunk: {
    packages: { '@splunk/otel': '4.7.2' },
    preload: '@splunk/otel/instrument',
    way: '--require',
    before: EARLIER,
    after: LATER,
    sendsWhenFirst: false,
  },
  Datadog: {
    packages: { 'dd-trace': '6.21.0' },
    preload: 'dd-trace/initialize.mjs',
    way: '--import',
    before: DATADOG,
    after: DATADOG,
    sendsWhenFirst: true,
  },
};

for (const [name, vendor] of Object.entries(VENDORS)) {
  describe(`with ${name}'s preload`, () => {
    let app: string;
    before(async () => {
      // Inside the installation, so that all find the same packages.
      app = await mkdtemp(path.join(await installed({ ...SHARED, ...vendor.packages }), '.app-'));
      await cp(path.join(root, 'dist'), path.join(app, 'dist'), { recursive: true });
      await cp(path.join(root, 'test/fixtures/web-app.mjs'), path.join(app, 'web-app.mjs'));
    });
    after(() => rm(app, { recursive: true, force: true }));

    for (const order of ['before', 'after'] as const) {
      test(`that is loaded ${order} it, the app is unaffected, each operation has one span and one line names the sender`, async () => {
        const ours = path.join(app, 'dist/register.cjs');
        const both = order === 'before' ? [vendor.preload, ours] : [ours, vendor.preload];
        const { service, stdout, stderr, code } = await runs.run({
          file: path.join(app, 'web-app.mjs'),
          cwd: app,
          preload: false,
          env: {
            ...QUIET,
            NODE_OPTIONS: both.map((preload) => `${vendor.way} ${JSON.stringify(preload)}`).join(' '),
          },
        });
        // Elastic logs to stdout.
        assert.match(stdout, /^5\n5\n/m);
        assert.equal(code, 0);
        const lines = stderr.split('\n').filter((line) => line.startsWith('milvus-otel: '));
        assert.equal(lines.length, 1, stderr);
        assert.match(lines[0] as string, vendor[order]);
        if (order === 'before' && !vendor.sendsWhenFirst) return;
        await runs.receiver.waitForSpans(
          (spans) => spans.filter((span) => span.service === service && MILVUS.test(span.name)).length >= 3,
          10_000,
        );
        const spans = runs.receiver.spans().filter((span) => span.service === service);
        assert.deepEqual(
          outline(spans)
            .filter((line) => MILVUS.test(line))
            .map((line) => line.trim()),
          ['connect default', 'search quick_setup', 'search quick_setup'],
        );
        assert.deepEqual(
          spans.filter((span) => /grpc\.milvus|generic-pool/.test(span.name)).map((span) => span.name),
          [],
        );
      });
    }
  });
}
