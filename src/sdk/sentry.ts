/** Sentry's SDK in the same process. Its versions 9 and 10 are built on OpenTelemetry, 11 only on request. */
import { type ContextManager, createContextKey, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { SCOPE } from '../version.ts';

/** Global of all Sentry SDKs: their data, by version. Source: @sentry/core 8 to 11, carrier. */
const CARRIER = '__SENTRY__';
/** Source: @sentry/opentelemetry 8 to 11. */
const SCOPES = createContextKey('sentry_scopes');

interface ClientOptions {
  tracesSampleRate?: unknown;
  tracesSampler?: unknown;
  /** Of Sentry 11. */
  enableOpenTelemetrySetup?: boolean;
}
interface Carrier {
  defaultCurrentScope?: { getClient?(): { getOptions(): ClientOptions } | undefined };
}

export const hasSentry = (): boolean => CARRIER in globalThis;

/** Whether a context manager keeps Sentry's scopes in the contexts that it makes active. */
export function addsScopes(manager: unknown): boolean {
  try {
    const contexts = manager as ContextManager;
    return contexts.with(ROOT_CONTEXT, () => contexts.active().getValue(SCOPES) !== undefined);
  } catch {
    return false;
  }
}

/** Undefined before Sentry.init. */
function clientOptions(): ClientOptions | undefined {
  const carriers: unknown = Reflect.get(globalThis, CARRIER);
  for (const carrier of Object.values(carriers ?? {}) as (Carrier | string | undefined)[]) {
    if (typeof carrier !== 'object') continue;
    const client = carrier.defaultCurrentScope?.getClient?.();
    if (client !== undefined) return client.getOptions();
  }
  return undefined;
}

/** Whether Sentry is the registered SDK and its tracing is off, so that no spans are recorded. */
export function isSentryWithoutTraces(): boolean {
  const options = hasSentry() ? clientOptions() : undefined;
  if (options === undefined || options.tracesSampleRate != null || options.tracesSampler != null)
    return false;
  return !trace.getTracer(SCOPE).startSpan('sampled?', { root: true }).isRecording();
}

/** Whether Sentry's own spans get into the contexts of OpenTelemetry, although another SDK is registered. */
export const isSentryMixedIn = (): boolean =>
  hasSentry() && clientOptions()?.enableOpenTelemetrySetup === true;
