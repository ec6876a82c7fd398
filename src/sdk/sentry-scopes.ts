/** Sentry's options, and its scopes in OpenTelemetry's contexts. */
import { type ContextManager, createContextKey, ROOT_CONTEXT } from '@opentelemetry/api';
import { registrations } from '../registered-sdk.ts';
import { CARRIER, hasSentry } from '../sentry.ts';

/** Source: @sentry/opentelemetry 8 to 11. */
const SCOPES = createContextKey('sentry_scopes');

interface ClientOptions {
  tracesSampleRate?: unknown;
  tracesSampler?: unknown;
  /** Of Sentry 8 to 10: the app starts its own OpenTelemetry SDK. */
  skipOpenTelemetrySetup?: boolean;
  /** Of Sentry 11. */
  enableOpenTelemetrySetup?: boolean;
}
interface Carrier {
  defaultCurrentScope?: { getClient?(): { getOptions(): ClientOptions } | undefined };
}

/** Whether a context manager keeps Sentry's scopes in the contexts that it makes active. */
export function addsScopes(manager: unknown): boolean {
  try {
    const contexts = manager as ContextManager;
    return contexts.with(ROOT_CONTEXT, () => contexts.active().getValue(SCOPES) !== undefined);
  } catch {
    return false;
  }
}

/** Undefined before Sentry.init, and when a version of Sentry keeps them elsewhere. */
function clientOptions(): ClientOptions | undefined {
  try {
    const carriers = Object.values(Reflect.get(globalThis, CARRIER) ?? {});
    const clients = carriers.flatMap((one) => (one as Carrier).defaultCurrentScope?.getClient?.() ?? []);
    return clients[0]?.getOptions();
  } catch {
    return undefined;
  }
}

/** Whether Sentry is the registered SDK, and its tracing is off: then it records no spans. */
export function isSentryWithoutTraces(): boolean {
  const options = hasSentry() ? clientOptions() : undefined;
  if (options === undefined || options.skipOpenTelemetrySetup || !addsScopes(registrations()?.context))
    return false;
  return options.tracesSampleRate == null && options.tracesSampler == null;
}

/**
 * Whether Sentry has started, keeps its scopes in OpenTelemetry's contexts, and its context manager is not
 * registered.
 */
export function areScopesShared(): boolean {
  const options = hasSentry() ? clientOptions() : undefined;
  // Sentry 11 has the option, and keeps its scopes elsewhere when it is false.
  if (options === undefined || options.skipOpenTelemetrySetup || options.enableOpenTelemetrySetup === false)
    return false;
  return !addsScopes(registrations()?.context);
}

/** Whether Sentry's own spans get into the contexts of OpenTelemetry, although another SDK is registered. */
export const isSentryMixedIn = (): boolean =>
  hasSentry() && clientOptions()?.enableOpenTelemetrySetup === true;
