/**
 * What is needed only with a second SDK, or a second copy of this package, in the process: the lines, and the
 * registration of Sentry's parts. A separate part of the bundle.
 */
import { fileURLToPath } from 'node:url';
import { getCallSites } from 'node:util';
import type { ProxyTracerProvider } from '@opentelemetry/api';
import { packageJsonIn } from '../package-json.ts';
import type { RegisteredSdk, Registrations } from '../registered-sdk.ts';
import { hasSentry } from '../sentry.ts';
import { oneLine } from './diagnostics.ts';
import { isDroppedByLangfuse } from './langfuse.ts';
import { addsScopes, isSentryMixedIn, isSentryWithoutTraces } from './sentry-scopes.ts';

export { areScopesShared } from './sentry-scopes.ts';

/** The line about an SDK that started first. */
export function earlierSdkLine(earlier: RegisteredSdk): string {
  if (earlier.shared && isSentryWithoutTraces()) return SENTRY_WITHOUT_TRACES;
  return earlier.shared && isDroppedByLangfuse() ? DROPPED_BY_LANGFUSE : describeEarlierSdk(earlier);
}

/** The line about an SDK that started later. @param destination of the preload's spans */
export const laterSdkLine = (destination: string): string =>
  isSentryMixedIn() ? describeMixedSentry(destination) : describeLaterSdk(destination, hasSentry());

/** An SDK that started first. */
const describeEarlierSdk = ({ apiVersion, shared }: RegisteredSdk): string =>
  shared
    ? 'Two OpenTelemetry SDKs found: the one that started first exports all spans, milvus-otel adds those of Milvus. To export with milvus-otel, load it first or alone.'
    : `Two OpenTelemetry SDKs found: the one that started first has @opentelemetry/api ${oneLine(apiVersion)}, older than that of milvus-otel, so Milvus is not traced. Load milvus-otel first or alone, or install one version of @opentelemetry/api.`;

/** Sentry started first, and records no spans. */
const SENTRY_WITHOUT_TRACES =
  'Sentry started first with its tracing off: no spans are exported, those of Milvus neither. To export with milvus-otel, load it before Sentry; to export with Sentry, set its tracesSampleRate.';

/** An SDK that started first, with Langfuse's span processor alone. */
const DROPPED_BY_LANGFUSE =
  'Two OpenTelemetry SDKs found: the one that started first exports all spans, but its LangfuseSpanProcessor drops those of Milvus. To keep them, give it a shouldExportSpan that returns true for the scope milvus-otel. To export with milvus-otel, load it first or alone.';

/** An SDK that started later. */
const describeLaterSdk = (destination: string, hasSentry = false): string =>
  `Two OpenTelemetry SDKs found: milvus-otel exports all spans (to ${oneLine(destination)}), the app's SDK none.${hasSentry ? ' Sentry still gets errors.' : ''} To export with the app's SDK, remove the preload and give that SDK new MilvusInstrumentation() from milvus-otel/instrumentation.`;

/** Sentry started later, and its context manager could not be registered. */
export const SHARED_SCOPES =
  "Sentry's errors mix the data of concurrent requests, since the app's bundle has another version of @opentelemetry/api than milvus-otel. Install milvus-otel in the app, or load Sentry before it.";

/** Sentry 11 with `enableOpenTelemetrySetup`, which started later. */
const describeMixedSentry = (destination: string): string =>
  `Sentry and milvus-otel share each trace: Sentry exports its spans, milvus-otel the others (to ${oneLine(destination)}), so both have gaps. To give each whole traces, pass enableOpenTelemetrySetup: false to Sentry.init; to export with Sentry, load it before milvus-otel.`;

/** An SDK that has removed the preload from OpenTelemetry's API, and has registered itself. */
export const REPLACED =
  "Two OpenTelemetry SDKs found: the app's SDK has replaced milvus-otel and exports all spans, those of Milvus too. To export with milvus-otel, remove the app's SDK.";

/** The app has called `disable()` of the API. */
export const KEPT_ON =
  "The app turned OpenTelemetry's API off; the preload keeps it on. To turn the preload off, set OTEL_SDK_DISABLED=true.";

/** A tracer that does not use OpenTelemetry's API. */
export const DATADOG =
  'Traces will be split between dd-trace and milvus-otel: both write the trace context of outgoing calls. Load only one.';

/** Two copies of this package. */
export const describeSecondCopy = (first: string, second: string): string =>
  `Loaded twice: using ${oneLine(first)}, ignoring ${oneLine(second)}. Load only one.`;

const PLAIN = { enumerable: true, configurable: true, writable: true };

/** `chosen` gets the next value that is written to a part, and returns the one to keep. */
function onNextWrite(
  api: Registrations,
  part: 'trace' | 'context',
  chosen: (value: unknown) => unknown,
): void {
  const registered = api[part];
  Reflect.defineProperty(api, part, {
    enumerable: true,
    configurable: true,
    get: () => registered,
    set(value) {
      Reflect.defineProperty(api, part, { ...PLAIN, value: chosen(value) });
    },
  });
}

/**
 * The registration of a provider that begins now succeeds, but the registered one stays. Sentry 10 registers
 * its context manager only after such an answer. Returns the answer to the first read: that none is
 * registered.
 */
export function acceptProvider(api: Registrations): undefined {
  const provider = api.trace as ProxyTracerProvider;
  provider.setDelegate = () => {};
  onNextWrite(api, 'trace', () => provider);
  acceptVersion(api);
}

/** The same for a context manager, which stays when it is Sentry's: then `replaced` is called. */
export function acceptContexts(api: Registrations, replaced: () => void): undefined {
  const manager = api.context;
  onNextWrite(api, 'context', (given) => {
    if (!addsScopes(given)) return manager;
    replaced();
    return given;
  });
  acceptVersion(api);
}

/**
 * The copy of the API that registers a part now reads the version next, and refuses one that is not its own.
 * The preload may have another one, for instance in a layer over the app's image.
 */
function acceptVersion(api: Registrations): void {
  const { version } = api;
  const own = versionOfCaller();
  if (own === undefined || own === version) return;
  Object.defineProperty(api, 'version', {
    enumerable: true,
    configurable: true,
    get() {
      Object.defineProperty(api, 'version', { ...PLAIN, value: version });
      return own;
    },
  });
}

/** Version of the copy of the API that is running. Undefined when it is in a bundle. */
function versionOfCaller(): string | undefined {
  for (const { scriptName } of getCallSites()) {
    const file = scriptName.startsWith('file:') ? fileURLToPath(scriptName) : scriptName;
    const [, folder] = /^(.*[\\/]@opentelemetry[\\/]api)[\\/]/.exec(file) ?? [];
    const version = folder === undefined ? undefined : packageJsonIn(folder)?.version;
    if (typeof version === 'string') return version;
  }
  return undefined;
}
