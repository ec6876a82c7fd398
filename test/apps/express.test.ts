/** Express 4 contains its router, Express 5 uses an instrumented package: each layer has one span in both. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { installed } from '../../tools/processes/installed.ts';
import { outline, useRuns } from '../preload/runs.ts';
import { placeProgram } from '../support/traced-app.ts';

const runs = useRuns();

const layers = ['  middleware - jsonParser', '  middleware - second'];
/** Built into Express 4, absent in 5. */
const own = ['  middleware - query', '  middleware - expressInit'];

/** Spans of two requests, in the order of their start. */
const traces: Record<string, string[]> = {
  4: [
    'GET /items/:id',
    ...own,
    ...layers,
    '  request handler - /items/:id',
    'GET /api/fail',
    ...own,
    ...layers,
    '  router - /fail',
    '  request handler - /api/fail',
  ],
  5: [
    'GET /items/:id',
    ...layers,
    '  request handler - /items/:id',
    'GET /api/fail',
    ...layers,
    '  router - /fail',
    '  request handler - /api/fail',
    // Only the router's instrumentation makes these spans.
    '  middleware - onError',
  ],
};

for (const version of ['4', '5']) {
  describe(`Express ${version}`, () => {
    for (const program of ['express-layers.cjs', 'express-layers.mjs']) {
      test(`has one span for each layer, named after it or its route (${program})`, async () => {
        const folder = await installed({ express: version });
        const { service, ...result } = await runs.run({
          file: await placeProgram(`apps/${program}`, folder),
          env: { OTEL_NODE_DISABLED_INSTRUMENTATIONS: 'undici' },
        });
        assert.deepEqual(result, {
          stdout: '{"id":"7"} {"error":"failed"}\n',
          stderr: '',
          code: 0,
          signal: null,
        });
        const expected = traces[version] as string[];
        const spans = await runs.spans(service, expected.length);
        assert.deepEqual(outline(spans), expected);
        const route = spans.find(({ name }) => name === 'request handler - /items/:id');
        assert.equal(route?.attributes['http.route'], '/items/:id');
      });
    }
  });
}

test('a router without Express has the spans of its instrumentation', async () => {
  const folder = await installed({ router: '2', finalhandler: '2' });
  const { service, stderr } = await runs.run({ file: await placeProgram('apps/router-alone.mjs', folder) });
  assert.equal(stderr, '');
  const spans = await runs.spans(service, 4);
  assert.deepEqual(outline(spans), [
    'GET',
    '  GET',
    '    middleware - first',
    '    request handler - /items/:id',
  ]);
});
