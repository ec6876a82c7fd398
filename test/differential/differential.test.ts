/** The app gets exactly what it would get without us: each program runs twice, and all that it saw is compared. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Receiver, startReceiver } from '../../scripts/receiver.ts';
import { OPERATIONS } from '../../src/milvus/operations.ts';
import { describeDifferences } from './differences.ts';
import {
  caseOf,
  isOfTheApp,
  messagesByCase,
  PLAIN,
  type Run,
  runProgram,
  steadyOutput,
  VARIANTS,
  wrongTraceHeaders,
} from './runs.ts';
import { BEHAVIOURS, type Behaviour } from './scripted-milvus.ts';

/** Public methods that make no RPC whatever they are given. */
const WITHOUT_RPC = [
  'checkCompatibility',
  'getCollectionInfoCacheKey',
  'getTelemetry',
  'invalidateCollectionInfo',
  'isLifecycleCurrent',
  'metadataListener',
  'normalizeFieldOps',
  'session',
  'use',
  'useDatabase',
];

let receiver: Receiver;

before(async () => {
  // Under `npm test`, which says where its Milvus is, dist/ is built already.
  if (process.env.MILVUS_OTEL_TEST_MILVUS === undefined) {
    const { ensureBuilt } = await import('../../scripts/build.ts');
    await ensureBuilt();
  }
  receiver = await startReceiver();
});
after(() => receiver.stop());

function assertAlike(without: Record<string, unknown>, withIt: Record<string, unknown>): void {
  const differences = describeDifferences(without, withIt);
  if (differences !== '') assert.fail(`The app sees that it is traced.\n${differences}`);
}

/**
 * What the program recorded of its calls. When a call settles tells something only of one that sends nothing: any
 * other waits for the network.
 */
function recordsOf({ report, calls }: Run): Record<string, unknown> {
  const sent = new Set(calls.filter(isOfTheApp).map(caseOf));
  return Object.fromEntries(
    Object.entries<Record<string, unknown>>(report.records).map(([name, { settledAtOnce, ...record }]) => [
      name,
      Array.isArray(report.records[name])
        ? report.records[name]
        : settledAtOnce === undefined || sent.has(name)
          ? record
          : { ...record, settledAtOnce },
    ]),
  );
}

/** Exit, output, and events of the process; each line once and in order for a program that does several things at once. */
function outsideOf({ code, signal, stdout, stderr, report }: Run, sorted = false) {
  const once = (lines: string[]) => [...new Set(lines)].sort();
  const lines = (text: string) => (sorted ? once(steadyOutput(text)) : steadyOutput(text));
  const events: string[] = (report.events ?? []).map((event: unknown) => JSON.stringify(event));
  return { code, signal, stdout: lines(stdout), stderr: lines(stderr), events: once(events) };
}

function compareRuns(program: string, variants: string[], { sorted = false } = {}): { plain: () => Run } {
  let plain: Run;
  const traced: Record<string, Run> = {};
  before(async () => {
    await Promise.all([
      runProgram(program, PLAIN, receiver).then((run) => {
        plain = run;
      }),
      ...variants.map(async (variant) => {
        traced[variant] = await runProgram(program, VARIANTS[variant] ?? PLAIN, receiver);
      }),
    ]);
    assert.equal(plain.code, 0, plain.stderr);
  });
  const of = (variant: string) => traced[variant] as Run;
  const makesFewCalls = (variant: string) => VARIANTS[variant]?.env.FEW_CASES !== undefined;
  // A variant that makes fewer calls is held against these of the plain run.
  const only = (table: Record<string, unknown>, variant: string) => {
    if (!makesFewCalls(variant)) return table;
    const made = new Set(Object.keys(of(variant).report.records));
    return Object.fromEntries(
      Object.entries(table).filter(([name]) => made.has(name) || !(name in plain.report.records)),
    );
  };

  for (const variant of variants) {
    test(`values, errors and arguments, ${variant}`, () => {
      assert.ok(of(variant).report.records, of(variant).stderr);
      assertAlike(only(recordsOf(plain), variant), recordsOf(of(variant)));
    });
    test(`messages and headers on the wire, ${variant}`, () => {
      assertAlike(only(messagesByCase(plain.calls), variant), messagesByCase(of(variant).calls));
    });
    test(`each call has exactly one traceparent, ${variant}`, () => {
      assert.deepEqual(wrongTraceHeaders(of(variant).calls, VARIANTS[variant] ?? PLAIN), []);
    });
    test(`output, exit code and events of the process, ${variant}`, () => {
      const [without, withIt] = [outsideOf(plain, sorted), outsideOf(of(variant), sorted)];
      if (sorted && makesFewCalls(variant)) {
        // It says less, but nothing of its own.
        for (const stream of ['stdout', 'stderr', 'events'] as const)
          without[stream] = without[stream].filter((line) => withIt[stream].includes(line));
      }
      assertAlike(without, withIt);
    });
  }
  test('without the preload no call has trace headers', () => {
    assert.deepEqual(wrongTraceHeaders(plain.calls, PLAIN), []);
  });
  return { plain: () => plain };
}

describe('every method, with good and bad arguments, on servers that do well and badly', () => {
  const { plain } = compareRuns('calls.mjs', ['as it is by default', 'with every option on'], {
    sorted: true,
  });
  const methods = () => (plain().report.methods as [string, string][]).map(([name]) => name);

  test('every row of the table of operations is called', () => {
    const called = new Set(methods());
    assert.deepEqual(
      Object.keys(OPERATIONS).filter((name) => !called.has(name)),
      [],
    );
    const recorded = Object.keys(plain().report.records);
    for (const name of Object.keys(OPERATIONS))
      assert.ok(recorded.includes(`success › ${name} › good arguments`), name);
  });

  test('good arguments are good: they reach the server, and are answered well', () => {
    const sent = new Set(plain().calls.filter(isOfTheApp).map(caseOf));
    const records = plain().report.records;
    for (const name of methods()) {
      const record = records[`success › ${name} › good arguments`];
      if (record === undefined) continue;
      assert.equal(sent.has(`success › ${name} › good arguments`), !WITHOUT_RPC.includes(name), name);
      assert.ok('resolved' in record || 'returned' in record, `${name}: ${JSON.stringify(record)}`);
    }
  });

  test('every behaviour of the server was met', () => {
    const met = new Set(plain().calls.map(({ behaviour }) => behaviour));
    for (const behaviour of Object.keys(BEHAVIOURS) as Behaviour[]) assert.ok(met.has(behaviour), behaviour);
  });

  test('every call came to its end', () => {
    const endless = Object.entries<{ never?: string }>(plain().report.records).filter(
      ([, { never }]) => never,
    );
    assert.deepEqual(endless, []);
  });
});

describe('other ways of using the SDK', () => {
  const { plain } = compareRuns('ways.mjs', Object.keys(VARIANTS));

  test('the REST client is asked, and carries no trace of its own', () => {
    assert.ok(plain().report.traced.calls > 100);
    assert.equal(plain().report.traced.withTraceparent, 0);
  });
});

describe('an app that dies of what a call throws', { concurrency: 2 }, () => {
  for (const crash of [
    'a TypeError out of the SDK',
    'an Error out of the SDK',
    'an Error with nobody to await it',
    'a failure of gRPC',
    "a value of the app's own",
  ]) {
    test(`${crash}: it says the same, and leaves the same exit code`, async () => {
      const run = (variant = PLAIN) => runProgram('crash.mjs', variant, receiver, [crash]);
      const plain = await run();
      assert.equal(plain.code, 1, plain.stderr);
      // Frames of a stack tell the way through the code, which is another one.
      const said = (result: Run) => ({
        ...outsideOf(result),
        stderr: steadyOutput(result.stderr).filter((line) => !/^\s+at /.test(line)),
      });
      assertAlike(said(plain), said(await run(VARIANTS['as it is by default'])));
    });
  }
});

test('the line of the app that made a call is in the stack of what it throws, wherever it is without us', async () => {
  const plain = await runProgram('stacks.mjs', PLAIN, receiver);
  const traced = await runProgram('stacks.mjs', VARIANTS['as it is by default'] ?? PLAIN, receiver);
  const lost = Object.entries<any>(plain.report.records).filter(
    ([method, { namesTheApp }]) => namesTheApp && !traced.report.records[method].namesTheApp,
  );
  assert.deepEqual(
    lost.map(([method]) => `${method}: ${traced.report.records[method].stack}`),
    [],
  );
});
