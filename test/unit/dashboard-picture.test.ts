import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Panel } from '@grafana/schema';
import { type Answer, drawDashboard } from '../../tools/pictures/dashboard-picture.ts';

const answer = (more: Partial<Answer>): Answer => ({
  legend: '{{db_operation_name}}',
  ranges: [],
  values: [],
  exemplars: [],
  ...more,
});
const panel = (type: string, more: Partial<Panel> = {}): Panel => ({
  type,
  title: 'A <title>',
  gridPos: { x: 0, y: 0, w: 12, h: 8 },
  ...more,
});
const draw = (drawn: Panel, ...answers: Answer[]) => drawDashboard([{ panel: drawn, answers }], 100, 200);

test('a chart has a line for each series inside its panel, and a mark for each exemplar', () => {
  const picture = draw(
    panel('timeseries'),
    answer({
      ranges: [
        {
          metric: { db_operation_name: 'search' },
          points: [
            [100, 0],
            [150, 2],
            [200, 1],
          ],
        },
        {
          metric: { db_operation_name: 'query' },
          points: [
            [100, 4],
            [200, 4],
          ],
        },
      ],
      exemplars: [{ metric: {}, traceId: 'a', value: 2, atSeconds: 150 }],
    }),
  );
  const lines = [...picture.matchAll(/points="([^"]*)"/g)].map(([, points = '']) =>
    points.split(' ').map((point) => point.split(',').map(Number)),
  );
  assert.deepEqual(
    lines.map((line) => line.length),
    [2, 3],
  );
  for (const [x = 0, y = 0] of lines.flat())
    assert.ok(x >= 58 && x <= 600 && y >= 24 && y <= 200, `${x},${y}`);
  assert.match(picture, /l3 3l-3 3l-3-3z/);
  assert.ok(picture.indexOf('>query<') < picture.indexOf('>search<'), 'highest first');
  assert.match(picture, /A &#60;title&#62;/);
});

test('a panel without data shows its text', () => {
  const without = panel('timeseries', {
    fieldConfig: { defaults: { noValue: 'Start an app.' }, overrides: [] },
  });
  assert.match(draw(without, answer({})), />Start an app\.</);
});

test('a figure has its unit, and red above its threshold', () => {
  const failed = panel('stat', {
    fieldConfig: {
      defaults: {
        unit: 'percentunit',
        thresholds: {
          mode: 'absolute' as any,
          steps: [
            { color: 'green', value: null },
            { color: 'red', value: 0.05 },
          ],
        },
      },
      overrides: [],
    },
  });
  const figure = (value: number) => draw(failed, answer({ values: [{ metric: {}, value }] }));
  assert.match(figure(0.25), /fill: #e03131"[^>]*>25 %</);
  assert.match(figure(0.01), /fill: #2f9e44"[^>]*>1 %</);
});

test('a table joins its queries by operation and collection', () => {
  const metric = { db_operation_name: 'search', db_collection_name: 'docs' };
  const columns = ['reqps', 's'].map((unit, index) => ({
    matcher: { id: 'byName', options: `Value #${'AB'[index]}` },
    properties: [{ id: 'unit', value: unit }],
  }));
  const picture = draw(
    panel('table', { fieldConfig: { defaults: {}, overrides: columns } }),
    answer({ legend: 'Calls', values: [{ metric, value: 2 }] }),
    answer({ legend: 'p99', values: [{ metric, value: 0.012 }] }),
  );
  for (const shown of ['search docs', '2/s', '12 ms', 'Calls', 'p99'])
    assert.ok(picture.includes(`>${shown}<`), shown);
});
