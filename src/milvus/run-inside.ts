/** Runs the SDK's method in its operation's context. */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { type Context, type ContextManager, context } from '@opentelemetry/api';

type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

/**
 * Calls `method`, and gives or throws what it does.
 *
 * As context.with would, in fewer steps. AsyncLocalStorage.run copies the values of all storages when it begins and when it
 * ends, and what the app does next holds a value more, which each later copy takes along. An AsyncResource
 * keeps what was there before, and puts it back as it was.
 */
export function runInside(inside: Context, method: AnyFunction, self: unknown, args: unknown[]): unknown {
  const storage = COPIES_VALUES ? storageOfContexts() : undefined;
  const framesOfOurs = storage === undefined ? FRAMES_OF_WITH : FRAMES_OF_RESOURCE;
  const stackTraceLimit = raiseStackTraceLimit(framesOfOurs);
  try {
    // Not `method` itself, since context.with makes null of an undefined `this`, and another function for any other.
    return storage === undefined
      ? context.with(inside, Reflect.apply, undefined, method, self, args)
      : new AsyncResource('milvus-otel').runInAsyncScope(
          entered,
          undefined,
          storage,
          inside,
          method,
          self,
          args,
        );
  } finally {
    if (stackTraceLimit !== undefined) Error.stackTraceLimit = stackTraceLimit;
  }
}

function entered(
  storage: AsyncLocalStorage<Context>,
  inside: Context,
  method: AnyFunction,
  self: unknown,
  args: unknown[],
): unknown {
  storage.enterWith(inside);
  return Reflect.apply(method, self, args);
}

/** Since Node 24; before, a storage keeps its value in the resource itself, and `run` costs next to nothing. */
const COPIES_VALUES =
  Number.parseInt(process.versions.node, 10) >= 24 && !process.execArgv.includes('--no-async-context-frame');

/** Undefined: contexts are kept in another way. Source: AsyncLocalStorageContextManager, OpenTelemetry JS 1.x to 3.0. */
function storageOfContexts(): AsyncLocalStorage<Context> | undefined {
  const manager = (
    context as unknown as { _getContextManager?(): Partial<ContextManager> }
  )._getContextManager?.() as { _asyncLocalStorage?: unknown } | undefined;
  const storage = manager?._asyncLocalStorage;
  return storage instanceof AsyncLocalStorage ? storage : undefined;
}

/** Between an app's call and the SDK's method. Reflect.apply has none. */
const FRAMES_OF_RESOURCE = 5;
const FRAMES_OF_WITH = 6;

/**
 * Our frames must not push the app's own line out of the stack of what a method throws before it waits for
 * anything. Gives the limit to set back; undefined when it was left alone.
 */
function raiseStackTraceLimit(by: number): number | undefined {
  const limit = Error.stackTraceLimit;
  if (typeof limit !== 'number' || !(limit > 0)) return undefined;
  try {
    Error.stackTraceLimit = limit + by;
  } catch {
    // The intrinsics are frozen; outside strict mode it fails without a word.
  }
  return Error.stackTraceLimit === limit + by ? limit : undefined;
}
