/** An app's own spans and baggage join the trace, with any 1.x of OpenTelemetry's API. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { placeProgram } from '../support/traced-app.ts';

const runs = useRuns();

describe("the app's own spans and baggage", { concurrency: 2 }, () => {
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

test("an app's own spans by a copy of the API that is newer than the preload's are dropped, without harm", async () => {
  const installation = await installed({ '@opentelemetry/api': '1.10.0' });
  const folder = await mkdtemp(path.join(installation, 'newer-'));
  try {
    const api = path.join(folder, 'node_modules/@opentelemetry/api');
    await cp(path.join(installation, 'node_modules/@opentelemetry/api'), api, { recursive: true });
    for (const entry of await readdir(api, { recursive: true, withFileTypes: true })) {
      if (!/^package\.json$|\.[cm]?js$/.test(entry.name)) continue;
      const file = path.join(entry.parentPath, entry.name);
      await writeFile(file, (await readFile(file, 'utf8')).replaceAll('1.10.0', '1.999.0'));
    }
    const program = path.join(folder, 'one-span.mjs');
    await cp(path.join(import.meta.dirname, '../fixtures/apps/one-span.mjs'), program);
    const { service: _, ...result } = await runs.run({ file: program });
    assert.deepEqual(result, { stdout: `${'0'.repeat(32)}\n`, stderr: '', code: 0, signal: null });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
