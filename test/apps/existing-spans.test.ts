/** An app's own spans and baggage join the trace, whatever 1.x of OpenTelemetry's API the app has. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { installed } from '../../scripts/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { placeProgram } from '../support/traced-app.ts';

const runs = useRuns();

describe("spans and baggage of the app's own", { concurrency: 2 }, () => {
  for (const version of ['1.0.4', '1.4.1', '1.9.0', '1.10.0']) {
    for (const preload of ['--import', '--require'] as const) {
      test(`by API ${version} are in the trace of the search, with ${preload}`, async () => {
        const { service, ...result } = await runs.run({
          file: await placeProgram(
            'apps/spans-and-baggage.mjs',
            await installed({ '@opentelemetry/api': version }),
          ),
          preload,
        });
        const seen = { header: 'tenant=acme', tenant: 'acme', recorded: true };
        assert.deepEqual(result, {
          stdout: `${version} ${JSON.stringify(seen)}\n`,
          stderr: '',
          code: 0,
          signal: null,
        });

        // connect default    app work ├─ search docs
        //                             └─ GET └─ GET
        const spans = await runs.spans(service, 5);
        assert.deepEqual(outline(spans), [
          'connect default',
          'app work',
          '  search docs',
          '  GET',
          '    GET',
        ]);
        const work = spans.find(({ name }) => name === 'app work');
        assert.deepEqual(
          [work?.scope, work?.attributes, work?.status.code],
          ['app', { tenant: 'acme' }, 'OK'],
        );
      });
    }
  }
});
