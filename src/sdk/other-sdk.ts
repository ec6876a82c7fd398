/**
 * Another OpenTelemetry SDK in the same process, started by the app or by another preload. OpenTelemetry's
 * API keeps the tracer provider that was registered first, and each instrumentation exists once.
 */
import { type ProxyTracerProvider, trace } from '@opentelemetry/api';
import { API, type Registrations, registrations } from '../registered-sdk.ts';

/** Whether the current request for a tracer comes from one of the preload's instrumentations. */
let making = false;

/** Runs code that creates an instrumentation of the preload, so that it is not taken for a foreign one. */
export function asOurs<T>(make: () => T): T {
  const before = making;
  making = true;
  try {
    return make();
  } finally {
    making = before;
  }
}

/** Datadog's tracer, which registers with OpenTelemetry only on request. Source: dd-trace 6, bootstrap.js. */
export const hasDatadog = (): boolean => Symbol.for('dd-trace') in globalThis;

/**
 * Calls `attempted` once, when another tracer provider is registered after the preload's, also by a bundled
 * copy of the API. A registration assigns the API's object to the global and then reads its `trace`; a use of
 * the API reads the global first. Where the global cannot be redefined, attempts are not noticed. Source: API
 * 1.0 to 1.10, registerGlobal.
 */
export function watchRegistration(attempted: () => void): void {
  let api = registrations();
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
    set(value: Registrations | undefined) {
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

/** Calls `onRead` when `trace` is read, unless the returned function was called before. */
function onNextRead(api: Registrations, onRead: () => void): () => void {
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
 * Calls `made` for each foreign instrumentation before it patches anything: an instrumentation first requests
 * a tracer of the same name as itself from the provider. `made` gets the name, as in
 * OTEL_NODE_ENABLED_INSTRUMENTATIONS.
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
