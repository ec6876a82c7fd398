/**
 * Upstream replaces the handler in its module's exports, which are read-only in a bundle, and has no time
 * limit for sending before the freeze. Here the module is unchanged: its importer gets an object with another
 * handler.
 */
import { realpathSync } from 'node:fs';
import { types } from 'node:util';
import { diag, type MeterProvider, type TracerProvider } from '@opentelemetry/api';
import type { InstrumentationNodeModuleDefinition } from '@opentelemetry/instrumentation';
import {
  AwsLambdaInstrumentation,
  type AwsLambdaInstrumentationConfig,
} from '@opentelemetry/instrumentation-aws-lambda';

/** Symbol by which the runtime client marks a handler that streams its answer. */
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

export interface LambdaConfig extends AwsLambdaInstrumentationConfig {
  /** The function's handler as Lambda names it: folder/module.name, or module.object.name. */
  lambdaHandler: string;
  /** Sends ended spans, for at most `limitMs`. Never rejects. */
  flush(limitMs: number): Promise<void>;
}

type Handler = (...args: unknown[]) => unknown;

export class Instrumentation extends AwsLambdaInstrumentation {
  override init(): InstrumentationNodeModuleDefinition[] {
    const { lambdaHandler, flush } = this.getConfig() as LambdaConfig;
    const names = handlerNames(lambdaHandler);
    const definitions = [super.init()].flat() as InstrumentationNodeModuleDefinition[];
    for (const definition of definitions) {
      definition.name = realPath(definition.name);
      for (const file of definition.files) {
        const { patch } = file;
        const traced = (handler: Handler): Handler => {
          // Upstream knows the handler by the first of the names.
          const holder = { [names[0] as string]: handler };
          patch(holder);
          return holder[names[0] as string] as Handler;
        };
        file.patch = (exports: object) =>
          withHandler(exports, names, (handler) => wrap(handler, traced, flush));
        // The module is unchanged, so there is nothing to restore.
        file.unpatch = () => {};
      }
    }
    return definitions;
  }

  // Without their forceFlush, which has no time limit: wrap() sends instead.
  override setTracerProvider(provider: TracerProvider): void {
    super.setTracerProvider({ getTracer: (...args) => provider.getTracer(...args) });
  }

  override setMeterProvider(provider: MeterProvider): void {
    super.setMeterProvider({ getMeter: (...args) => provider.getMeter(...args) });
  }
}

/** The names after the module: `['a', 'b']` of `folder/module.a.b`. */
function handlerNames(lambdaHandler: string): string[] {
  return lambdaHandler
    .slice(lambdaHandler.lastIndexOf('/') + 1)
    .split('.')
    .slice(1);
}

/** The file name as hooks get it. */
function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

/**
 * A module's exports with the handler replaced, where the runtime client finds it: by its names, or below the
 * default export.
 */
function withHandler(exports: object, names: string[], replace: (handler: Handler) => Handler): object {
  const replaced = replaceIn(exports, names, replace) ?? replaceIn(exports, ['default', ...names], replace);
  if (replaced === undefined) return exports;
  // Exports of an ES module, as import-in-the-middle provides them: importers get the values that are set
  // there.
  if (types.isProxy(exports)) return Object.assign(exports, replaced);
  return replaced;
}

/**
 * An object that inherits all properties except the function at `names`; undefined when there is no function.
 */
function replaceIn(
  object: object,
  [name, ...inner]: string[],
  replace: (handler: Handler) => Handler,
): object | undefined {
  const value: unknown = name === undefined ? undefined : (object as Record<string, unknown>)[name];
  let replacement: unknown;
  if (inner.length === 0) replacement = typeof value === 'function' ? replace(value as Handler) : undefined;
  else if (typeof value === 'object' && value !== null) replacement = replaceIn(value, inner, replace);
  if (replacement === undefined || name === undefined) return undefined;
  return Object.create(object, {
    [name]: { value: replacement, enumerable: true, configurable: true, writable: true },
  });
}

/** Time reserved for the answer itself, in ms. */
const RESERVE_MS = 100;

interface LambdaContext {
  getRemainingTimeInMillis?(): number;
}

/** The handler with a span. Its answer waits until the spans are sent. */
function wrap(handler: Handler, trace: (handler: Handler) => Handler, flush: LambdaConfig['flush']): Handler {
  interface Invocation {
    args: unknown[];
    reached: boolean;
  }
  // From the outer function to the inner one, which upstream calls before it returns.
  let current: Invocation | undefined;

  const inner: Handler = function (this: unknown, ...given) {
    const { args } = current as Invocation;
    (current as Invocation).reached = true;
    // Upstream drops a callback that it does not expect, but the runtime client may pass one.
    return Reflect.apply(handler, this, [args[0], ...given.slice(1), ...args.slice(given.length)]);
  };
  const traced = trace(like(handler, inner));

  const outer: Handler = function (this: unknown, ...args) {
    const context = args.find(isContext);
    const send = () => flush(Math.max(0, (context?.getRemainingTimeInMillis?.() ?? Infinity) - RESERVE_MS));
    const callback = args.findLast((arg) => typeof arg === 'function') as Handler | undefined;
    const answering = (...answer: unknown[]) => void send().then(() => callback?.(...answer));
    const invocation = { args: args.map((arg) => (arg === callback ? answering : arg)), reached: false };
    let result: unknown;
    current = invocation;
    try {
      // Upstream reads the event's fields, and an event may be null.
      result = Reflect.apply(traced, this, [args[0] ?? {}, ...invocation.args.slice(1)]);
    } catch (error) {
      if (!invocation.reached) {
        diag.error('An invocation could not be traced', error);
        return Reflect.apply(handler, this, args);
      }
      if (callback !== undefined || isStreaming(handler)) throw error;
      return send().then(() => Promise.reject(error));
    } finally {
      current = undefined;
    }
    if (isPromise(result))
      return result.then(
        (value) => send().then(() => value),
        (error) => send().then(() => Promise.reject(error)),
      );
    // Only the callback answers there: the runtime client rejects a result that is not a promise.
    if (callback !== undefined || isStreaming(handler)) return result;
    return send().then(() => result);
  };
  return like(handler, outer);
}

/** The runtime client reads a handler's number of parameters, and symbols for the way that it answers. */
function like(handler: Handler, replacement: Handler): Handler {
  const {
    prototype: _,
    arguments: __,
    caller: ___,
    ...descriptors
  } = Object.getOwnPropertyDescriptors(handler);
  return Object.defineProperties(replacement, descriptors as PropertyDescriptorMap);
}

const isStreaming = (handler: Handler): boolean => STREAMING in handler;

const isPromise = (value: unknown): value is Promise<unknown> =>
  typeof (value as Promise<unknown> | undefined)?.then === 'function';

const isContext = (value: unknown): value is LambdaContext =>
  typeof (value as LambdaContext | undefined)?.getRemainingTimeInMillis === 'function';
