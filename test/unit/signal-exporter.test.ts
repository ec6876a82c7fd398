/** Exports of metrics and logs: retries, the exit, and one line about each failure. */
import '../support/source-parts.ts';
import assert from 'node:assert/strict';
import { beforeEach, describe, mock, test } from 'node:test';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { readSettings } from '../../src/config/settings.ts';
import { OtlpError } from '../../src/otlp/sender.ts';
import { SignalExporter } from '../../src/otlp/signal-exporter.ts';
import { targetOf } from '../../src/otlp/target.ts';
import { stubPart } from '../support/source-parts.ts';

/** Outcome of each request: an answer, an error, or none at all. */
let outcomes: (Uint8Array | Error | 'silence')[] = [];
let sent: string[] = [];
const send = async (body: Uint8Array): Promise<Uint8Array> => {
  sent.push(Buffer.from(body).toString());
  const outcome = outcomes.shift() ?? new Uint8Array();
  if (outcome === 'silence') return new Promise(() => {});
  if (outcome instanceof Error) throw outcome;
  return outcome;
};
Object.assign(globalThis, { sendOfStub: send });
for (const part of ['otlp-over-grpc', 'otlp-over-http'])
  stubPart(
    part,
    'export const openSender = () => ({ send: (...given) => sendOfStub(...given), close() {} });',
  );

const refused = () => new OtlpError('connect ECONNREFUSED', { isGrpc: true, isUnreachable: true });
const turns = async () => {
  for (let n = 0; n < 20; n++) await Promise.resolve();
};

let lines: string[] = [];
beforeEach(() => {
  lines = [];
  sent = [];
  outcomes = [];
});

function start(env: Record<string, string> = {}, limitMs = 10_000) {
  const target = targetOf(readSettings(env), 'metrics');
  const exporter = new SignalExporter<string>({
    target,
    limit: { ms: limitMs },
    serialize: (items) => Buffer.from(items),
    warn: (line) => lines.push(line),
  });
  const results: ExportResult[] = [];
  return { exporter, results, export: () => exporter.export('items', (result) => results.push(result)) };
}

test('an accepted export is sent once, without a line', async () => {
  const { results, export: exportItems } = start();
  exportItems();
  await turns();
  assert.deepEqual([sent, results, lines], [['items'], [{ code: ExportResultCode.SUCCESS }], []]);
});

test('items that a partial success rejects are reported', async () => {
  // rejected_data_points = 5, error_message = 'nope'
  outcomes = [Buffer.from([0x0a, 8, 0x08, 5, 0x12, 4, 0x6e, 0x6f, 0x70, 0x65])];
  start().export();
  await turns();
  assert.deepEqual(lines, ['Collector rejected metrics (http://localhost:4317): nope.']);
});

describe('a failed attempt', () => {
  test('is repeated after a pause, and nothing is reported when that succeeds', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    outcomes = [refused()];
    const { results, export: exportItems } = start();
    exportItems();
    await turns();
    assert.deepEqual([sent.length, results], [1, []]);
    t.mock.timers.tick(1_200);
    await turns();
    assert.deepEqual([sent.length, results[0]?.code, lines], [2, ExportResultCode.SUCCESS, []]);
  });

  test('is the last one when the pause would be longer than the limit', async () => {
    outcomes = [refused()];
    const { results, export: exportItems } = start({}, 500);
    exportItems();
    await turns();
    assert.equal(results[0]?.code, ExportResultCode.FAILED);
    assert.deepEqual(lines, [
      'Metrics cannot be sent (http://localhost:4317): connect ECONNREFUSED. Check that a collector listens there, or run npx milvus-otel doctor.',
    ]);
  });

  test('is retried once, immediately, when the app exits', async () => {
    outcomes = [refused(), refused()];
    const { exporter, results, export: exportItems } = start();
    exportItems();
    await turns();
    exporter.exitBegins();
    await turns();
    assert.deepEqual([sent.length, results.length, lines.length], [2, 1, 1]);
  });

  test('is the only one when the collector refuses; the line names the variable', async () => {
    outcomes = [new OtlpError('no token', { status: 16, isGrpc: true })];
    start().export();
    await turns();
    assert.equal(sent.length, 1);
    assert.deepEqual(lines, [
      'Collector rejected metrics (http://localhost:4317): no token. Check OTEL_EXPORTER_OTLP_HEADERS.',
    ]);
  });

  test('shows no credentials of the endpoint', async () => {
    outcomes = [new Error('broken')];
    start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://mary:hunter2@host:4317' }).export();
    await turns();
    assert.match(lines[0] ?? '', /^Metrics cannot be sent \(http:\/\/[^)]*host:4317\): broken\.$/);
    assert.ok(!lines[0]?.includes('hunter2'));
  });
});

test('items that cannot be serialized are reported, and not sent', async () => {
  const results: ExportResult[] = [];
  const exporter = new SignalExporter<string>({
    target: targetOf(readSettings({}), 'logs'),
    limit: { ms: 1 },
    serialize: () => {
      throw new TypeError('no keys');
    },
    warn: (line) => lines.push(line),
  });
  exporter.export('items', (result) => results.push(result));
  await turns();
  assert.deepEqual(sent, []);
  assert.equal(results[0]?.code, ExportResultCode.FAILED);
  assert.deepEqual(lines, ['Logs cannot be sent (http://localhost:4317): no keys.']);
});

describe('an export without an answer', () => {
  test('ends as failed when it is given up, and a later answer has no effect', async () => {
    const answer = Promise.withResolvers<Uint8Array>();
    const silent = mock.fn(() => answer.promise);
    Object.assign(globalThis, { sendOfStub: silent });
    const { exporter, results, export: exportItems } = start();
    exportItems();
    const flushed = exporter.forceFlush();
    await turns();
    exporter.giveUp('no answer within 700 ms (OTEL_NODE_FLUSH_TIMEOUT)');
    assert.equal(results[0]?.code, ExportResultCode.FAILED);
    await flushed;
    answer.resolve(new Uint8Array());
    await turns();
    Object.assign(globalThis, { sendOfStub: send });
    assert.equal(results.length, 1);
    assert.deepEqual(lines, [
      'Metrics cannot be sent (http://localhost:4317): no answer within 700 ms (OTEL_NODE_FLUSH_TIMEOUT). Check that a collector listens there, or run npx milvus-otel doctor.',
    ]);
  });

  test('is awaited by a flush', async () => {
    outcomes = ['silence'];
    const { exporter, export: exportItems } = start();
    exportItems();
    let isOver = false;
    exporter.forceFlush().then(() => {
      isOver = true;
    });
    await turns();
    assert.equal(isOver, false);
  });
});
