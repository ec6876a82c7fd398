/**
 * Upstream wraps the handler in its module's own exports, which a bundle does not let anyone change, and has no bound for what is
 * sent before the function is frozen. Here the module is left alone: what loads it gets an object that differs in the handler.
 */
import { realpathSync } from 'node:fs';
import { types } from 'node:util';
import { diag, type MeterProvider, type TracerProvider } from '@opentelemetry/api';
import type { InstrumentationNodeModuleDefinition } from '@opentelemetry/instrumentation';
import {
  AwsLambdaInstrumentation,
  type AwsLambdaInstrumentationConfig,
} from '@opentelemetry/instrumentation-aws-lambda';

/** The runtime client's mark on a handler that streams its answer. */
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

export interface LambdaConfig extends AwsLambdaInstrumentationConfig {
  /** The function's handler as Lambda names it: folder/module.name, or module.object.name. */
  lambdaHandler: string;
  /** Sends what has ended, for at most `limitMs`. Never rejects. */
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
        // Nothing was changed that could be changed back.
        file.unpatch = () => {};
      }
    }
    return definitions;
  }

  // Without their forceFlush, which has no bound: wrap() does what upstream does with it.
  override setTracerProvider(provider: TracerProvider): void {
    super.setTracerProvider({ getTracer: (...args) => provider.getTracer(...args) });
  }

  override setMeterProvider(provider: MeterProvider): void {
    super.setMeterProvider({ getMeter: (...args) => provider.getMeter(...args) });
  }
}

/** What comes after the module: `['a', 'b']` of `folder/module.a.b`. */
function handlerNames(lambdaHandler: string): string[] {
  return lambdaHandler
    .slice(lambdaHandler.lastIndexOf('/') + 1)
    .split('.')
    .slice(1);
}

/** As hooks know a file. */
function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return file;
  }
}

/** A module's exports with the handler replaced, where the runtime client finds it: by its names, or below the default export. */
function withHandler(exports: object, names: string[], replace: (handler: Handler) => Handler): object {
  const replaced = replaceIn(exports, names, replace) ?? replaceIn(exports, ['default', ...names], replace);
  if (replaced === undefined) return exports;
  // The exports of an ES module as import-in-the-middle shows them: what is set there is what importers get.
  if (types.isProxy(exports)) return Object.assign(exports, replaced);
  return replaced;
}

/** An object that inherits everything but what `names` lead to; undefined when that is no function. */
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

/** For the answer to leave in time. */
const RESERVE_MS = 100;

interface LambdaContext {
  getRemainingTimeInMillis?(): number;
}

/** The handler under a span, its answer held back until that has been sent. */
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
    // Upstream hands no callback on where it expects none, but the runtime client may.
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
      // Upstream reads the event's fields, and null is an event too.
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
    // Nothing but the callback answers there, or the runtime client objects to what is no promise.
    if (callback !== undefined || isStreaming(handler)) return result;
    return send().then(() => result);
  };
  return like(handler, outer);
}

/** The runtime client looks at a handler's number of parameters, and at symbols that say how it answers. */
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
