import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawTrace } from '../../tools/pictures/trace-picture.ts';
import { traceTrees } from '../../tools/pictures/trace-tree.ts';
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
  startMs: 1_015,
  durationMs: 0.001,
});

function picture(...spans: ReceivedSpan[]): string {
  const [root] = traceTrees(spans);
  assert.ok(root);
  return drawTrace(root);
}

/** Left edge and width of each bar, in pixels, in the order of the rows. */
function bars(svg: string): { x: number; width: number }[] {
  const pattern =
    /<rect class="(?:client|server|core|failed)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="15"/g;
  return [...svg.matchAll(pattern)].map(([, x, width]) => ({ x: Number(x), width: Number(width) }));
}

test('bars lie on the time axis as the spans lie in time', () => {
  const [c, s, i] = bars(picture(client, server, inner));
  assert.ok(c && s && i);
  assert.equal(s.width / c.width, 20 / 40);
  assert.equal((s.x - c.x) / c.width, 10 / 40);
  assert.equal((i.x - c.x) / c.width, 15 / 40);
  assert.equal(i.width, 2, 'a span of a microsecond can be seen');
});

test('each span has its short name and its duration, and markup in a name stays text', () => {
  const svg = picture(client, server, inner);
  assert.match(svg, />search &#60;a&#62; &#38; &#34;b&#34;</);
  assert.match(svg, />MilvusService\/Search</);
  for (const duration of ['40.00 ms', '20.00 ms', '0.00 ms'])
    assert.ok(svg.includes(`>${duration}<`), duration);
});

test('the arrow of a join stands only where a span of the server hangs under one of the client', () => {
  assert.equal(picture(client, server, inner).match(/<circle/g)?.length, 1);
  assert.equal(picture(client).match(/<circle/g), null);
});

test('a failed span has a colour of its own', () => {
  assert.match(picture({ ...client, status: { code: 'ERROR', message: 'no' } }), /<rect class="failed"/);
});
