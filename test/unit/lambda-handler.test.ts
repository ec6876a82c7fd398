import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Instrumentation } from '../../src/instrumentations/adapted/aws-lambda.ts';

type Handler = (...args: unknown[]) => unknown;

const context = {
  awsRequestId: '1',
  functionName: 'ask',
  invokedFunctionArn: 'arn:aws:lambda:eu-west-1:123456789012:function:ask',
  getRemainingTimeInMillis: () => 5_000,
};

let taskRoot: string | undefined;
before(() => {
  taskRoot = process.env.LAMBDA_TASK_ROOT;
  process.env.LAMBDA_TASK_ROOT = path.join(import.meta.dirname, '../fixtures/lambda');
  process.env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs22.x';
});
after(() => {
  if (taskRoot === undefined) delete process.env.LAMBDA_TASK_ROOT;
  else process.env.LAMBDA_TASK_ROOT = taskRoot;
  delete process.env.AWS_EXECUTION_ENV;
});

/** The exports as a runtime client gets them, and the limits of the flushes. */
function patched<Exports extends object>(exports: Exports, lambdaHandler = 'plain.handler') {
  const flushes: number[] = [];
  const instrumentation = new Instrumentation({
    enabled: false,
    lambdaHandler,
    flush: async (limitMs: number) => void flushes.push(limitMs),
  } as ConstructorParameters<typeof Instrumentation>[0]);
  const [definition] = (
    instrumentation as unknown as {
      getModuleDefinitions(): { files: { patch(exports: object): Exports }[] }[];
    }
  ).getModuleDefinitions();
  const file = definition?.files[0];
  assert.ok(file !== undefined);
  return { given: file.patch(exports), flushes };
}

describe('the handler of a function', () => {
  test('is replaced where its property cannot be redefined, and the module keeps its own', async () => {
    const handler = async () => 'answer';
    const exports = Object.defineProperty({}, 'handler', { get: () => handler, enumerable: true });
    const { given, flushes } = patched(exports as { handler: Handler });
    assert.notEqual(given.handler, handler);
    assert.equal((exports as { handler: Handler }).handler, handler);
    assert.equal(await given.handler({}, context), 'answer');
    assert.deepEqual(flushes, [4_900]);
  });

  test('keeps the properties that a runtime client reads: number of parameters, name and marks', () => {
    const mark = Symbol.for('aws.lambda.runtime.handler.streaming');
    async function answer(_event: unknown, _stream: unknown, _context: unknown) {}
    const handler = Object.assign(answer, { [mark]: 'response' });
    const { given } = patched({ handler });
    assert.deepEqual(
      [given.handler.length, given.handler.name, given.handler[mark]],
      [3, 'answer', 'response'],
    );
  });

  test('answers by its callback once the spans are sent', async () => {
    const { given, flushes } = patched({
      handler: (event: unknown, _context: unknown, callback: Handler) => void callback(null, event),
    });
    const answer = await new Promise((resolve) => {
      const returned = given.handler({ a: 1 }, context, (_error, value) =>
        resolve({ value, flushes: flushes.length }),
      );
      assert.equal(returned, undefined);
    });
    assert.deepEqual(answer, { value: { a: 1 }, flushes: 1 });
  });

  test('throws its own error, after the spans are sent', async () => {
    const { given, flushes } = patched({
      handler: (): unknown => {
        throw new Error('failed');
      },
    } as { handler: Handler });
    await assert.rejects(async () => given.handler({}, context), /failed/);
    assert.equal(flushes.length, 1);
  });

  test('runs untraced, once, when an invocation cannot be traced', async () => {
    let calls = 0;
    const { given } = patched({ handler: async (event: unknown) => [event, ++calls] } as {
      handler: Handler;
    });
    // Upstream parses the ARN.
    assert.deepEqual(await given.handler(null, { getRemainingTimeInMillis: () => 1 }), [null, 1]);
  });

  test('is found below other exports, and below the default one', async () => {
    const nested = patched({ api: { ask: async () => 1 } }, 'plain.api.ask').given;
    assert.equal(await (nested.api.ask as Handler)({}, context), 1);
    const { given, flushes } = patched({ default: { handler: async () => 2 } });
    assert.equal(await (given.default.handler as Handler)({}, context), 2);
    assert.equal(flushes.length, 1);
  });

  test('that does not exist leaves the exports unchanged', () => {
    const exports = { other: () => {} };
    assert.equal(patched(exports).given, exports);
  });
});
