import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { markup } from '../../tools/pictures/svg.ts';
import { drawTrace } from '../../tools/pictures/trace-picture.ts';
import { drawWaterfall } from '../../tools/pictures/waterfall.ts';
import { reportData } from '../../tools/report/report-data.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { receivedSpan } from '../support/received-span.ts';

const client = receivedSpan({
  spanId: 'c',
  name: 'search <a> & "b"',
  kind: 'CLIENT',
  service: 'milvus-client',
  startMs: 1_000,
  durationMs: 40,
});
const server = receivedSpan({
  spanId: 's',
  parentSpanId: 'c',
  name: 'x.y.MilvusService/Search',
  startMs: 1_010,
  durationMs: 20,
});
const inner = receivedSpan({
  spanId: 'i',
  parentSpanId: 's',
  name: 'Reduce',
  service: 'segcore',
  startMs: 1_015,
  durationMs: 0.001,
});

function traceOf(...spans: ReceivedSpan[]) {
  const [trace] = reportData(spans, { command: '', service: 'milvus-client' }).traces;
  assert.ok(trace);
  return trace;
}

const picture = (...spans: ReceivedSpan[]) => drawTrace(traceOf(...spans), '');
const waterfall = (width: number, ...spans: ReceivedSpan[]) =>
  drawWaterfall(traceOf(...spans).rows, { width })
    .elements.map(markup)
    .join('\n');

/** Left edge and width of the rectangles of a class, in pixels, in the order of the rows. */
function boxes(svg: string, className: string): { x: number; width: number }[] {
  return [...svg.matchAll(new RegExp(`<rect class="${className}"[^>]*>`, 'g'))].map(([tag]) => {
    const value = (name: string) => Number(new RegExp(` ${name}="([^"]+)"`).exec(tag)?.[1]);
    return { x: value('x'), width: value('width') };
  });
}
const bars = (svg: string) => boxes(svg, 'bar [a-z]+');
const near = (actual: number, wanted: number) => assert.ok(Math.abs(actual - wanted) < 0.001, `${actual}`);

for (const width of [920, 340]) {
  test(`bars lie on the time axis as the spans lie in time, ${width} pixels wide`, () => {
    const [c, s, i] = bars(waterfall(width, client, server, inner));
    assert.ok(c && s && i);
    near(s.width / c.width, 20 / 40);
    near((s.x - c.x) / c.width, 10 / 40);
    near((i.x - c.x) / c.width, 15 / 40);
    assert.equal(i.width, 2, 'a span of a microsecond can be seen');
  });

  test(`the hatched parts are left and right of the server's time, ${width} pixels wide`, () => {
    const svg = waterfall(width, client, server);
    const [bar] = bars(svg);
    // The first one is in the legend.
    const [, left, right, ...others] = boxes(svg, 'gap');
    assert.ok(bar && left && right);
    assert.deepEqual(others, []);
    near(left.x, bar.x);
    near(left.width / bar.width, 10 / 40);
    near((right.x - bar.x) / bar.width, 30 / 40);
    near(right.width / bar.width, 10 / 40);
  });

  test(`nothing is outside of ${width} pixels, however deep and long-named the trace is`, () => {
    const deep = Array.from({ length: 30 }, (_, level) =>
      receivedSpan({
        spanId: `d${level}`,
        parentSpanId: level === 0 ? 's' : `d${level - 1}`,
        name: `Some-Step-With-A-Very-Long-Name-${'x'.repeat(200)}`,
        startMs: 1_012,
        durationMs: 10,
      }),
    );
    const svg = waterfall(width, client, server, ...deep);
    for (const { x, width: own } of [...bars(svg), ...boxes(svg, 'hit(?: stripe)?')])
      assert.ok(x >= 0 && x + own <= width, `${x} + ${own}`);
    for (const [, x, content = ''] of svg.matchAll(/<text class="mono[^"]*" x="([\d.]+)" y="\d+">([^<]*)</g))
      assert.ok(Number(x) + content.replace(/&#\d+;/g, '_').length * 7.5 <= width - 84, content);
  });
}

test('each span has its short name and its duration, and markup in a name stays text', () => {
  const svg = picture(client, server, inner);
  assert.match(svg, />search &#60;a&#62; &#38; "b"</);
  assert.match(svg, />MilvusService\/Search</);
  for (const duration of ['40.00 ms', '20.00 ms', '1 µs']) assert.ok(svg.includes(`>${duration}<`), duration);
  assert.match(svg, />40\.00 ms = 20\.00 ms in the server \+ 20\.00 ms network gap/);
});

test('the app, the server and its core differ in form, not only in colour', () => {
  const svg = waterfall(920, client, server, inner);
  // In the legend and in the row.
  assert.equal(svg.match(/<circle class="app"/g)?.length, 2);
  assert.equal(svg.match(/<rect class="server"[^>]* width="10"/g)?.length, 2);
  assert.equal(svg.match(/<path class="core"/g)?.length, 2);
  const [c, s, i] = [...svg.matchAll(/<rect class="bar [^>]* height="(\d+)" rx="([\d.]+)"/g)];
  assert.deepEqual([c?.[2], s?.[2]], ['7.5', '1']);
  assert.ok(Number(i?.[1]) < Number(s?.[1]));
});

test('the arrow of a join is drawn only where a span of the server is under one of the app', () => {
  assert.equal(picture(client, server, inner).match(/<circle class="arrow"/g)?.length, 1);
  assert.equal(picture(client).match(/<circle class="arrow"/g), null);
});

test('a failed span has a colour and a cross', () => {
  const svg = picture({ ...client, status: { code: 'ERROR', message: 'no' } });
  assert.match(svg, /<rect class="bar app failed"/);
  assert.match(svg, /<path class="cross"/);
});

test('the picture of the README was made with the current styles and form', () => {
  const root = path.join(import.meta.dirname, '..', '..');
  const svg = readFileSync(path.join(root, 'docs', 'trace.svg'), 'utf8');
  const style = readFileSync(path.join(root, 'tools', 'pictures', 'waterfall.css'), 'utf8');
  const how = 'node_modules/node/bin/node tools/pictures/trace-picture.ts makes it anew';
  assert.ok(svg.includes(style), how);
  for (const part of ['your app', 'Milvus server', 'Milvus C++ core', 'network gap', 'url(#gap)'])
    assert.ok(svg.includes(part), `${part}: ${how}`);
});
