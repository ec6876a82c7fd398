/** The app sees exactly the same as without the preload: records of two runs of each program are compared. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { OPERATIONS } from '../../src/milvus/operations.ts';
import { type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';
import { assertAlike } from './differences.ts';
import {
  caseOf,
  isOfTheApp,
  messagesByCase,
  outsideOf,
  PLAIN,
  runOnScriptedMilvus,
  type ScriptedRun,
  VARIANTS,
  type Variant,
  type VariantName,
  wrongTraceHeaders,
} from './runs.ts';
import { BEHAVIOURS, type Behaviour } from './scripted-milvus.ts';

/** Public methods that make no RPC for any arguments. */
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
const run = (file: string, variant: Variant, args?: string[]) =>
  runOnScriptedMilvus(file, variant, { collector: `127.0.0.1:${receiver.grpcPort}`, args });

before(async () => {
  await ensureDist();
  receiver = await startReceiver();
});
after(() => receiver.stop());

/** The program's records of its calls. The time to settle counts only for calls that send nothing. */
function recordsOf({ report, calls }: ScriptedRun): Record<string, unknown> {
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

/** Defines tests that compare runs of a program with the preload to one without. */
function compareRuns(
  program: string,
  variants: readonly VariantName[],
  { sorted = false } = {},
): { plain: () => ScriptedRun } {
  let plain: ScriptedRun;
  const traced = {} as Record<VariantName, ScriptedRun>;
  before(async () => {
    await Promise.all([
      run(program, PLAIN).then((result) => {
        plain = result;
      }),
      ...variants.map(async (variant) => {
        traced[variant] = await run(program, VARIANTS[variant]);
      }),
    ]);
    assert.equal(plain.code, 0, plain.stderr);
  });
  const makesFewCalls = (variant: VariantName) => 'FEW_CASES' in VARIANTS[variant].env;
  // A variant with fewer calls is compared with these of the plain run.
  const only = (table: Record<string, unknown>, variant: VariantName) => {
    if (!makesFewCalls(variant)) return table;
    const made = new Set(Object.keys(traced[variant].report.records));
    return Object.fromEntries(
      Object.entries(table).filter(([name]) => made.has(name) || !(name in plain.report.records)),
    );
  };

  for (const variant of variants) {
    test(`values, errors and arguments, ${variant}`, () => {
      assert.ok(traced[variant].report.records, traced[variant].stderr);
      assertAlike(only(recordsOf(plain), variant), recordsOf(traced[variant]));
    });
    test(`messages and headers on the wire, ${variant}`, () => {
      assertAlike(only(messagesByCase(plain.calls), variant), messagesByCase(traced[variant].calls));
    });
    test(`each call has exactly one traceparent, ${variant}`, () => {
      assert.deepEqual(wrongTraceHeaders(traced[variant].calls, VARIANTS[variant]), []);
    });
    test(`output, exit code and events of the process, ${variant}`, () => {
      const [without, withIt] = [outsideOf(plain, sorted), outsideOf(traced[variant], sorted)];
      if (sorted && makesFewCalls(variant)) {
        // It prints fewer lines, but no others.
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

describe('every method, with good and bad arguments, on servers that succeed and fail', () => {
  const { plain } = compareRuns('calls.mjs', ['as it is by default', 'with every option on'], {
    sorted: true,
  });
  const methods = () => (plain().report.methods as [string, string][]).map(([name]) => name);

  test('every row of the table of operations is called', () => {
    // Only the constructor of a Global cluster's client can call it: test/preload/global-cluster.test.ts.
    const operations = Object.keys(OPERATIONS).filter((name) => name !== '_initGlobalConnection');
    const called = new Set(methods());
    assert.deepEqual(
      operations.filter((name) => !called.has(name)),
      [],
    );
    const recorded = Object.keys(plain().report.records);
    for (const name of operations) assert.ok(recorded.includes(`success › ${name} › good arguments`), name);
  });

  test('calls with good arguments reach the server and succeed', () => {
    const sent = new Set(plain().calls.filter(isOfTheApp).map(caseOf));
    const records = plain().report.records;
    for (const name of methods()) {
      const record = records[`success › ${name} › good arguments`];
      if (record === undefined) continue;
      assert.equal(sent.has(`success › ${name} › good arguments`), !WITHOUT_RPC.includes(name), name);
      assert.ok('resolved' in record || 'returned' in record, `${name}: ${JSON.stringify(record)}`);
      // An empty record would be the same in every run.
      assert.doesNotMatch(JSON.stringify(record), /cannot be looked at/);
    }
  });

  test('every behaviour of the server was used', () => {
    const met = new Set(plain().calls.map(({ behaviour }) => behaviour));
    for (const behaviour of Object.keys(BEHAVIOURS) as Behaviour[]) assert.ok(met.has(behaviour), behaviour);
  });

  test('every call was settled', () => {
    const endless = Object.entries<{ never?: string }>(plain().report.records).filter(
      ([, { never }]) => never,
    );
    assert.deepEqual(endless, []);
  });
});

describe('other ways of using the SDK', () => {
  const { plain } = compareRuns('ways.mjs', Object.keys(VARIANTS) as VariantName[]);

  test('the REST client is used, and adds no trace context itself', () => {
    assert.ok(plain().report.traced.calls > 100);
    assert.equal(plain().report.traced.withTraceparent, 0);
  });
});

describe('an app that crashes by an error of a call', { concurrency: 2 }, () => {
  for (const crash of [
    'a TypeError out of the SDK',
    'an Error out of the SDK',
    'an Error with nobody to await it',
    'a failure of gRPC',
    "a value of the app's own",
  ]) {
    test(`${crash}: the output and the exit code are the same`, async () => {
      const [plain, traced] = await Promise.all([
        run('crash.mjs', PLAIN, [crash]),
        run('crash.mjs', VARIANTS['as it is by default'], [crash]),
      ]);
      assert.equal(plain.code, 1, plain.stderr);
      const output = (result: ScriptedRun) => {
        const outside = outsideOf(result);
        // Stack frames differ, because the call goes through other code.
        return { ...outside, stderr: outside.stderr.filter((line) => !/^\s+at /.test(line)) };
      };
      assertAlike(output(plain), output(traced));
    });
  }
});

test('the stack of an error has the line of the app that made the call, if it has it without the preload', async () => {
  const [plain, traced] = await Promise.all([
    run('stacks.mjs', PLAIN),
    run('stacks.mjs', VARIANTS['as it is by default']),
  ]);
  const named = Object.entries<any>(plain.report.records).filter(([, { namesTheApp }]) => namesTheApp);
  assert.ok(named.length > 0);
  const lost = named.filter(([method]) => !traced.report.records[method].namesTheApp);
  assert.deepEqual(
    lost.map(([method]) => `${method}: ${traced.report.records[method].stack}`),
    [],
  );
});
