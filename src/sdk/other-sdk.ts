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

/** Packages whose loading says that an SDK may be started. */
export const SDK_PACKAGES = [
  '@opentelemetry/sdk-node',
  '@opentelemetry/sdk-trace',
  '@opentelemetry/sdk-trace-node',
  '@opentelemetry/sdk-trace-base',
];

/**
 * Tells, once, when somebody tries to register another tracer provider than the one that is. An ES module has another
 * copy of the API than a CommonJS one, but all of them look here first, where what is registered is kept.
 */
export function watchRegistration(attempted: () => void): void {
  const registered = (globalThis as Record<symbol, unknown>)[API] as { trace?: unknown } | undefined;
  const provider = registered?.trace;
  if (watching || registered === undefined || provider === undefined) return;
  watching = true;
  const plain = { enumerable: true, configurable: true, writable: true };
  Object.defineProperty(registered, 'trace', {
    enumerable: true,
    configurable: true,
    get() {
      // A use of the provider reads it too.
      if (/\bsetGlobalTracerProvider\b/.test(new Error().stack ?? '')) {
        Object.defineProperty(registered, 'trace', { ...plain, value: provider });
        attempted();
      }
      return provider;
    },
    set: (value) => Object.defineProperty(registered, 'trace', { ...plain, value }),
  });
}

let watching = false;

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
