/**
 * Another OpenTelemetry SDK in the same process, started by the app or by another preload. OpenTelemetry's
 * API keeps the tracer provider that was registered first, and each instrumentation exists once.
 */
import { type ProxyTracerProvider, trace } from '@opentelemetry/api';
import { API, type Registrations, registrations } from '../registered-sdk.ts';
import { hasSentry } from '../sentry.ts';
import { loadChunk } from './lazy-modules.ts';
import type * as SecondSdk from './second-sdk.ts';

/** The part that few apps need: those with a second SDK. */
export const secondSdk = (): typeof SecondSdk => loadChunk<typeof SecondSdk>('second-sdk');

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
 * copy of the API. A registration assigns the API's object to the global and then reads the part; a use of
 * the API reads the global first. Where the global cannot be redefined, attempts are not noticed. Source: API
 * 1.0 to 1.10, registerGlobal.
 *
 * Sentry's context manager replaces the preload's, which `replaced` reports: Sentry keeps the scopes of its
 * errors in contexts, and without it concurrent requests share one scope.
 */
export function watchRegistration(attempted: () => void, replaced: () => void): void {
  const registered = registrations();
  if (registered?.trace === undefined) return;
  // A copy, since the version in the object of API 1.10 cannot be redefined.
  let api: Registrations | undefined = { ...registered };
  /** Set between an assignment and the next read of the global. */
  let stopWaiting: (() => void) | undefined;
  let isNoticed = false;
  let isReplaced = false;
  const stopWatching = () => Object.defineProperty(globalThis, API, { ...PLAIN, value: api });
  const registering: Record<Part, (found: Registrations) => unknown> = {
    trace(found) {
      const provider = found.trace;
      // Sentry registers a context manager too, before or after.
      if (!hasSentry() || isReplaced) stopWatching();
      if (!isNoticed) attempted();
      isNoticed = true;
      return hasSentry() ? secondSdk().acceptProvider(found) : provider;
    },
    context(found) {
      if (!hasSentry()) return found.context;
      return secondSdk().acceptContexts(found, () => {
        isReplaced = true;
        if (isNoticed) stopWatching();
        queueMicrotask(replaced);
      });
    },
  };
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
      stopWaiting = undefined;
      api = value;
      if (value?.trace === undefined) return;
      stopWaiting = onNextRead(value, (part) => {
        stopWaiting = undefined;
        return registering[part](value);
      });
    },
  });
}

type Part = 'trace' | 'context';
const PARTS: readonly Part[] = ['trace', 'context'];
const PLAIN = { enumerable: true, configurable: true, writable: true };

/** `answer` gives the value of the next read of a part, unless the returned function was called before. */
function onNextRead(api: Registrations, answer: (part: Part) => unknown): () => void {
  const registered = PARTS.filter((part) => part in api).map((part) => [part, api[part]] as const);
  const restore = () => {
    for (const [part, value] of registered) Reflect.defineProperty(api, part, { ...PLAIN, value });
  };
  for (const [part] of registered)
    Reflect.defineProperty(api, part, {
      enumerable: true,
      configurable: true,
      get() {
        restore();
        return answer(part);
      },
      set(value) {
        restore();
        api[part] = value;
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
