/** The OpenTelemetry SDK that is registered in this process, by any copy of @opentelemetry/api. */
import { trace } from '@opentelemetry/api';

/** Global key under which every copy of API 1.x stores its registrations. Source: API 1.10, global-utils. */
export const API = Symbol.for('opentelemetry.js.api.1');

/** One property for each registered part: trace, context, propagation, metrics, logs. Of API 1.0 to 1.10. */
export interface Registrations {
  version: string;
  trace?: unknown;
  context?: unknown;
}

export const registrations = (): Registrations | undefined =>
  (globalThis as Record<symbol, Registrations | undefined>)[API];

export interface RegisteredSdk {
  /** Version of the API that it has registered with. */
  apiVersion: string;
  /** Whether this package's copy of the API can use it: an older API shares nothing with it. */
  shared: boolean;
}

/** Undefined when no SDK has registered a tracer provider. */
export function registeredSdk(): RegisteredSdk | undefined {
  const registered = registrations();
  if (registered?.trace === undefined) return undefined;
  return { apiVersion: registered.version, shared: registered.trace === trace.getTracerProvider() };
}
