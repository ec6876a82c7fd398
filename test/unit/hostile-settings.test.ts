/** 2,000 hostile environments: each gives settings, and one line for each problem. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readSettings, SETTINGS } from '../../src/config/settings.ts';
import {
  createDiagnostics,
  describeMisspelling,
  describeProblem,
  stderrWithout,
} from '../../src/sdk/diagnostics.ts';
import { CASES, hostileEnvironment, PLANT } from '../support/hostile-environments.ts';

const NAMES = new Set(Object.values(SETTINGS).map(({ env }) => env));

test(`any of ${CASES.numRuns} environments gives settings, and one line for each problem`, (t) => {
  t.diagnostic(`seed ${CASES.seed}`);
  let problems = 0;
  let misspellings = 0;
  fc.assert(
    fc.property(hostileEnvironment, (env) => {
      const settings = readSettings(env);
      const lines: string[] = [];
      const diagnostics = createDiagnostics(
        'warn',
        stderrWithout(env, (line) => lines.push(line)),
      );
      for (const problem of settings.problems) {
        assert.ok(NAMES.has(problem.variable));
        diagnostics.warn(describeProblem(problem));
        const line = lines.at(-1) as string;
        assert.match(
          line,
          / cannot be used \(expected [^\n]+\); (it is ignored|[^\n]+ is used)\.( Did you mean [^\n]+\?)?\n$/,
        );
        assert.ok(line.startsWith(`milvus-otel: ${problem.variable}${problem.isPart ? ':' : '='}`), line);
      }
      for (const misspelling of settings.misspellings) {
        assert.ok(!NAMES.has(misspelling.variable) && NAMES.has(misspelling.meant));
        diagnostics.warn(describeMisspelling(misspelling));
      }
      problems += settings.problems.length;
      misspellings += settings.misspellings.length;
      for (const line of lines) {
        // No control character ends the line or reaches a terminal.
        assert.match(line, /^[^\p{Cc}]*\n$/u);
        assert.ok(line.length < 1_000, `${line.length} characters`);
        assert.ok(!line.includes(PLANT), line);
      }
      assert.equal(lines.length, new Set(lines).size);
    }),
    CASES,
  );
  // Else the environments were harmless, and nothing was tested.
  assert.ok(problems > CASES.numRuns, `${problems} problems`);
  assert.ok(misspellings > CASES.numRuns / 20, `${misspellings} misspellings`);
});
