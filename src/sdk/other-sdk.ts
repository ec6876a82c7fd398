/**
 * Another OpenTelemetry in the same process, of the app's own or of another preload. There is one tracer provider, the
 * one that was registered first, as OpenTelemetry's API has it; and of each instrumentation there is one.
 */
import { type ProxyTracerProvider, trace } from '@opentelemetry/api';

/** Where every copy of the API, of whatever version 1, keeps what is registered. Source: API 1.10, global-utils. */
const API = Symbol.for('opentelemetry.js.api.1');

export interface Earlier {
  /** Version of the API that it has registered with. */
  apiVersion: string;
  /** Whether this API sees it: an older one than ours is another world. */
  shared: boolean;
}

/** The SDK that was started before us, if there is one. */
export function earlierSdk(): Earlier | undefined {
  const registered = (globalThis as Record<symbol, unknown>)[API] as
    | { version: string; trace?: unknown }
    | undefined;
  if (registered?.trace === undefined) return undefined;
  return { apiVersion: registered.version, shared: registered.trace === trace.getTracerProvider() };
}

/** Whether what asks for a tracer now is one of our own instrumentations. */
let making = false;

/** Runs what makes an instrumentation of ours, so that it is not taken for somebody else's. */
export function asOurs<T>(make: () => T): T {
  const before = making;
  making = true;
  try {
    return make();
  } finally {
    making = before;
  }
}

/** Datadog's tracer, which registers nothing with OpenTelemetry unless it is asked to. Source: dd-trace 6, bootstrap.js. */
export const hasDatadog = (): boolean => Symbol.for('dd-trace') in globalThis;

/**
 * Calls `attempted` once, when another tracer provider is registered after ours, also by a bundled copy of the API. A
 * registration assigns API's object to the global again and then reads its `trace`; a use of the API reads the global
 * first. Where the global cannot be redefined, attempts go unnoticed. Source: API 1.0 to 1.10, registerGlobal.
 */
export function watchRegistration(attempted: () => void): void {
  let api = (globalThis as Record<symbol, unknown>)[API] as Registered | undefined;
  if (api?.trace === undefined) return;
  /** Set between an assignment and the next read of the global. */
  let stopWaiting: (() => void) | undefined;
  const plain = { enumerable: true, configurable: true, writable: true };
  Reflect.defineProperty(globalThis, API, {
    enumerable: true,
    configurable: true,
    get() {
      stopWaiting?.();
      stopWaiting = undefined;
      return api;
    },
    set(value: Registered | undefined) {
      stopWaiting?.();
      api = value;
      if (value?.trace === undefined) return;
      stopWaiting = onNextRead(value, () => {
        stopWaiting = undefined;
        Object.defineProperty(globalThis, API, { ...plain, value });
        attempted();
      });
    },
  });
}

interface Registered {
  trace?: unknown;
}

/** Calls `onRead` when `trace` is read, unless the function that is returned was called before. */
function onNextRead(api: Registered, onRead: () => void): () => void {
  const provider = api.trace;
  const restore = () =>
    Reflect.defineProperty(api, 'trace', {
      enumerable: true,
      configurable: true,
      writable: true,
      value: provider,
    });
  Reflect.defineProperty(api, 'trace', {
    enumerable: true,
    configurable: true,
    get() {
      restore();
      onRead();
      return provider;
    },
    set(value) {
      restore();
      api.trace = value;
    },
  });
  return restore;
}

/**
 * Tells of each instrumentation that somebody else makes, before it patches anything: the first thing that it does is
 * to ask our provider for a tracer of its own name. `made` is given the name, as in OTEL_NODE_ENABLED_INSTRUMENTATIONS.
 */
export function watchInstrumentations(made: (name: string) => void): void {
  const provider = (trace.getTracerProvider() as ProxyTracerProvider).getDelegate();
  const getTracer = provider.getTracer;
  provider.getTracer = function (this: typeof provider, name, ...rest) {
    if (!making && typeof name === 'string' && name.startsWith(PACKAGE)) made(name.slice(PACKAGE.length));
    return getTracer.call(this, name, ...rest);
  };
}

const PACKAGE = '@opentelemetry/instrumentation-';
