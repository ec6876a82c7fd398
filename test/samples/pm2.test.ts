/** samples/pm2 under the real pm2, in both of its modes, with a separate daemon. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../tools/processes/free-ports.ts';
import { installed } from '../../tools/processes/installed.ts';
import { type Stack, useStack } from '../support/stack.ts';

const config = path.join(import.meta.dirname, '..', '..', 'samples', 'pm2', 'ecosystem.config.cjs');
const require = createRequire(import.meta.url);
const startTimeoutMs = 60_000;
const arrivalTimeoutMs = 20_000;

const scratch = mkdtempSync(path.join(tmpdir(), 'milvus-otel-pm2-'));
let stack: Stack;
let program: string;

before(async () => {
  stack = await useStack();
  program = path.join(await installed({ pm2: '7.0.4' }), 'node_modules', 'pm2', 'bin', 'pm2');
});

after(async () => {
  // Also after a failed test: the daemon would stay.
  if (program !== undefined) await pm2('kill');
  rmSync(scratch, { recursive: true });
});

/** A separate home, to leave the developer's pm2 alone; not in the app's folder, which the daemon keeps. */
async function pm2(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...args], {
    cwd: scratch,
    env: {
      PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
      HOME: scratch,
      PM2_HOME: path.join(scratch, 'home'),
    },
    timeout: startTimeoutMs,
  });
  return stdout;
}

/** The sample's configuration with the addresses of this test; everything else is unchanged. */
function configFor(mode: string, appEnv: Record<string, string>, otelEnv: Record<string, string>): string {
  const [sample] = require(config).apps;
  const envFile = path.join(scratch, `${mode}.env`);
  writeFileSync(
    envFile,
    Object.entries(otelEnv)
      .map((pair) => `${pair.join('=')}\n`)
      .join(''),
  );
  const [, ...preload] = sample.node_args;
  const app = {
    ...sample,
    exec_mode: mode,
    instances: mode === 'fork' ? 1 : sample.instances,
    node_args: [`--env-file=${envFile}`, ...preload],
    env: { ...sample.env, ...appEnv },
  };
  const file = path.join(scratch, `${mode}.config.cjs`);
  writeFileSync(file, `module.exports = ${JSON.stringify({ apps: [app] })};\n`);
  return file;
}

async function answers(url: string): Promise<boolean> {
  return fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

async function waitFor(url: string): Promise<void> {
  const deadlineMs = performance.now() + startTimeoutMs;
  while (!(await answers(url))) {
    if (performance.now() > deadlineMs) throw new Error(`no answer from ${url}:\n${await pm2('jlist')}`);
    await sleep(100);
  }
}

for (const [mode, workers] of [
  ['fork', 1],
  ['cluster', 2],
] as const) {
  describe(`${mode} mode`, () => {
    test(`each request is a trace with its search and the server's work, from ${workers} process(es); none is lost at the exit`, async () => {
      const service = `pm2-${mode}`;
      const port = await freePort();
      const file = configFor(
        mode,
        { MILVUS_ADDRESS: stack.milvusAddress, PORT: String(port) },
        {
          OTEL_SERVICE_NAME: service,
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
          // Longer than this test: spans after the exit were sent at the exit.
          OTEL_BSP_SCHEDULE_DELAY: '600000',
        },
      );
      await pm2('start', file);
      await waitFor(`http://127.0.0.1:${port}/search?q=warm`);
      const processes = JSON.parse(await pm2('jlist'));
      assert.equal(processes.length, workers);
      for (const { pm2_env } of processes) {
        assert.deepEqual([pm2_env.status, pm2_env.restart_time], ['online', 0]);
      }

      const requests = 20;
      for (let count = 0; count < requests; count++) {
        // A separate connection for each, so that both workers of the cluster get some.
        const response = await fetch(`http://127.0.0.1:${port}/search?q=count+${count}`, {
          headers: { connection: 'close' },
        });
        assert.equal(response.status, 200);
        await response.text();
      }
      await pm2('delete', 'docs-service');

      // GET /search
      // └─ search docs
      //    └─ standalone: MilvusService/Search
      const searchesOf = (spans: { name: string }[]) => spans.filter(({ name }) => name === 'search docs');
      const spans = await stack.receiver.waitForSpans(
        (found) => {
          const searches = new Set(searchesOf(found).map((span) => (span as { spanId?: string }).spanId));
          const joined = found.filter(
            (span) => span.service === 'standalone' && searches.has(span.parentSpanId),
          );
          return searches.size > requests && joined.length >= searches.size;
        },
        arrivalTimeoutMs,
        { service },
      );
      const roots = spans.filter((span) => span.name === 'GET /search' && !span.parentSpanId);
      // More than `requests`: some waited for the app to start.
      assert.ok(roots.length > requests, `${roots.length} requests`);
      for (const root of roots) {
        assert.equal(searchesOf(spans.filter(({ traceId }) => traceId === root.traceId)).length, 1);
      }
      const pids = new Set(roots.map(({ resource }) => resource['process.pid']));
      assert.equal(pids.size, workers, `roots of the processes ${[...pids].join(', ')}`);
    });
  });
}

test('the preload and its variables are paths: names would be resolved from the folder of the daemon', () => {
  const [{ node_args }] = require(config).apps;
  const [envFile, flag, preload] = node_args;
  assert.match(readFileSync(envFile.replace('--env-file=', ''), 'utf8'), /^OTEL_SERVICE_NAME=/m);
  assert.equal(flag, '--require');
  assert.ok(path.isAbsolute(preload), preload);
});
