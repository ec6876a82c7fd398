/** Some of the hostile environments, for a real app: its output is unchanged but for our lines on stderr. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readSettings } from '../../src/config/settings.ts';
import { describeMisspelling, describeProblem } from '../../src/sdk/diagnostics.ts';
import { CASES, hostileEnvironment, PLANT } from '../support/hostile-environments.ts';
import { useRuns } from './runs.ts';

const runs = useRuns();
const HOW_MANY = 24;

/** Variables that a process accepts, without remote addresses. */
function forProcess(env: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter(([name, value]) => {
      if (/[\0\ud800-\udfff=]/.test(name) || /[\0\ud800-\udfff]/.test(value)) return false;
      const address = URL.canParse(value) ? new URL(value).hostname : '';
      return ['', 'localhost', '[::1]'].includes(address) && Buffer.byteLength(value) < 100_000;
    }),
  );
}

/** The specification has these write to the app's stdout, or wait for as long as configured. */
const ASKED_FOR = { OTEL_NODE_FLUSH_TIMEOUT: '500' };
const writesToStdout = (env: Record<string, string>) =>
  ['TRACES', 'METRICS', 'LOGS'].some((signal) => env[`OTEL_${signal}_EXPORTER`]?.includes('console'));

const environments = fc
  .sample(
    hostileEnvironment.map(forProcess).filter((env) => Object.keys(env).length > 4 && !writesToStdout(env)),
    { seed: CASES.seed, numRuns: HOW_MANY },
  )
  .map((env) => ({ ...env, ...ASKED_FOR }));

const SAYS_PROBLEMS = [undefined, 'warn', 'info', 'debug', 'verbose', 'all'];

describe(`an app in hostile surroundings, seed ${CASES.seed}`, { concurrency: 2 }, () => {
  for (const [index, env] of environments.entries()) {
    test(`${index + 1} of ${HOW_MANY}: ${Object.keys(env).join(' ').slice(0, 120)}`, async () => {
      const { stdout, stderr, code, signal } = await runs.run({
        file: 'test/fixtures/search-then-exit.mjs',
        args: ['exit-code'],
        service: null,
        env,
      });
      const given = JSON.stringify(env).slice(0, 4_000);
      assert.deepEqual(
        { stdout, code, signal },
        { stdout: 'found 5\nready\n', code: 3, signal: null },
        given,
      );
      const lines = stderr.split('\n').slice(0, -1);
      for (const line of lines) assert.match(line, /^milvus-otel: [^\p{Cc}]*$/u, given);
      assert.ok(!stderr.includes(PLANT), stderr);
      const settings = readSettings(env);
      if (settings.sdkDisabled) assert.equal(stderr, '');
      else if (SAYS_PROBLEMS.includes(settings.logLevel)) {
        const problems = settings.problems
          .map(describeProblem)
          .concat(settings.misspellings.map(describeMisspelling));
        for (const variable of problems.map((line) => line.split(/[= ]/)[0]))
          assert.ok(
            lines.some((line) => line.startsWith(`milvus-otel: ${variable}`)),
            `${variable} in ${stderr}`,
          );
      }
    });
  }
});
