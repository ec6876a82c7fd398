/** Records of the loggers that apps use carry the ids of the span in which they were written. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { installed } from '../../tools/processes/installed.ts';
import { startReceiver } from '../../tools/servers/receiver.ts';
import { type Stack, useStack } from '../support/stack.ts';
import { joinedSpans, placeProgram, runApp } from '../support/traced-app.ts';

/** The newest of each on npm. */
const loggers = { pino: '10.4.0', winston: '3.19.0', bunyan: '2.0.5' };

type LogRecord = Record<string, unknown>;

/** A logger's records, in order. Fails when a line of the output is not JSON. */
function recordsOf(logger: string, stdout: string): LogRecord[] {
  const lines = stdout.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as LogRecord).filter(({ name }) => name === logger);
}

/** Without values that differ in each run, and ids. */
function asWritten({
  time: _,
  pid: __,
  trace_id: ___,
  span_id: ____,
  trace_flags: _____,
  ...record
}: LogRecord) {
  return record;
}

let stack: Stack;
let folder: string;
before(async () => {
  [stack, folder] = await Promise.all([useStack(), installed(loggers)]);
});

for (const [program, modules] of [
  ['logs.mjs', 'an ESM app'],
  ['logs.cjs', 'a CommonJS app'],
] as const) {
  describe(`in ${modules}`, () => {
    const service = `ecosystem-${program}`;
    let traced: string;
    let bare: string;
    before(async () => {
      const file = await placeProgram(program, folder);
      const run = async (withoutPreload: boolean) => {
        const result = await runApp({ program: file, stack, service, bare: withoutPreload });
        assert.deepEqual({ ...result, stdout: '' }, { stdout: '', stderr: '', code: 0, signal: null });
        return result.stdout;
      };
      [traced, bare] = await Promise.all([run(false), run(true)]);
    });

    for (const logger of Object.keys(loggers)) {
      test(`a record of ${logger} has the ids of the request's span, and is otherwise as without the preload`, async () => {
        // connect default          GET (fetch)
        // └─ standalone: Connect   └─ GET (server) ← the record
        //                             └─ hasCollection logs
        //                                └─ standalone: DescribeCollection
        const spans = (await joinedSpans(stack, service, 4)).map(({ span }) => span);
        const request = spans.find(({ kind }) => kind === 'SERVER');
        const call = spans.find(({ name }) => name.startsWith('hasCollection'));
        assert.equal(call?.parentSpanId, request?.spanId);

        const records = recordsOf(logger, traced);
        const [listening, answering] = records;
        assert.deepEqual(
          [answering?.trace_id, answering?.span_id, answering?.trace_flags],
          [request?.traceId, request?.spanId, '01'],
        );
        assert.equal(listening?.trace_id, undefined);
        assert.equal(records.length, 2);
        assert.deepEqual(records.map(asWritten), recordsOf(logger, bare).map(asWritten));
      });
    }
  });
}

describe('with OTEL_LOGS_EXPORTER=otlp', () => {
  /** The newest on npm, made for OpenTelemetry 2. */
  const transport = { '@opentelemetry/winston-transport': '0.34.0' };

  for (const program of ['logs.mjs', 'logs.cjs'])
    test(`the records of each logger arrive, with the ids of the request's span, from ${program}`, async (t) => {
      const receiver = await startReceiver();
      t.after(() => receiver.stop());
      const service = `exported-${program}`;
      const transportFolder = await installed(transport);
      const { stderr, code } = await runApp({
        program: await placeProgram(program, folder),
        stack,
        service,
        env: {
          OTEL_LOGS_EXPORTER: 'otlp',
          OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
          // Acts as an installation next to the preload.
          NODE_PATH: `${transportFolder}/node_modules`,
        },
      });
      assert.deepEqual({ stderr, code }, { stderr: '', code: 0 });
      const spans = (await joinedSpans(stack, service, 4)).map(({ span }) => span);
      const request = spans.find(({ kind }) => kind === 'SERVER');
      for (let turn = 0; turn < 100 && receiver.logs().length < 6; turn++) await sleep(50);
      const records = receiver.logs().map(({ scope, body, traceId, spanId }) => ({
        logger: Object.keys(loggers).find((name) => scope.includes(name)),
        body,
        traceId,
        spanId,
      }));
      const expected = Object.keys(loggers).flatMap((logger) => [
        { logger, body: 'listening', traceId: undefined, spanId: undefined },
        { logger, body: 'answering', traceId: request?.traceId, spanId: request?.spanId },
      ]);
      const key = ({ logger, body }: { logger?: string | undefined; body: unknown }) => `${logger} ${body}`;
      const sorted = (all: typeof records) => all.sort((a, b) => key(a).localeCompare(key(b)));
      assert.deepEqual(sorted(records), sorted(expected));
    });

  test('without the transport of winston, one line names it', async () => {
    const { stderr, code } = await runApp({
      program: await placeProgram('logs.mjs', folder),
      stack,
      service: 'without-transport',
      env: { OTEL_LOGS_EXPORTER: 'console' },
    });
    const line =
      'OTEL_LOGS_EXPORTER exports no records of winston: run npm install @opentelemetry/winston-transport.';
    assert.deepEqual({ stderr, code }, { stderr: `milvus-otel: ${line}\n`, code: 0 });
  });
});
