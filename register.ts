/**
 * The entry point: environment → settings → telemetry → instrumentations → shutdown. Settings are read here
 * only. An error in here must not fail the app: one line reports it, and the app runs untraced.
 */
import { join } from 'node:path';
import { metrics } from '@opentelemetry/api';
import type { Instrumentation } from '@opentelemetry/instrumentation';
import { isOff, readSettings, type Settings } from './src/config/settings.ts';
import { activateOnLoad, type Lambda } from './src/instrumentations/activation.ts';
import { BundledApps } from './src/instrumentations/bundles.ts';
import { patchLinked } from './src/instrumentations/require-hook.ts';
import { describeSelection, selectInstrumentations } from './src/instrumentations/selection.ts';
import { MilvusInstrumentation } from './src/milvus/instrumentation.ts';
import { installedSdk, SDK, unknownSdk } from './src/milvus/sdk-version.ts';
import { shownEndpoint, tracesProtocol } from './src/otlp/target.ts';
import { registeredSdk } from './src/registered-sdk.ts';
import { startFromFile } from './src/sdk/declarative-config.ts';
import {
  createDiagnostics,
  describeMisspelling,
  describeProblem,
  showOpenTelemetryMessages,
  stderrWithout,
} from './src/sdk/diagnostics.ts';
import { keepRegistration } from './src/sdk/kept-registration.ts';
import { loadChunk } from './src/sdk/lazy-modules.ts';
import { logs } from './src/sdk/logs-api.ts';
import {
  asOurs,
  hasDatadog,
  secondSdk,
  watchInstrumentations,
  watchRegistration,
} from './src/sdk/other-sdk.ts';
import { appFile, packageName, serviceNameOf } from './src/sdk/resource.ts';
import { adopt, startTelemetry } from './src/sdk/start-telemetry.ts';
import { flushAtExit } from './src/shutdown/exit-hooks.ts';
import { VERSION } from './src/version.ts';

declare const __dirname: string;

type Bundled = typeof import('./src/instrumentations/bundled-milvus.ts');

const LOADED = Symbol.for('milvus-otel.loaded');

export function register(): void {
  const settings = readSettings(process.env);
  if (settings.sdkDisabled) return;
  const write = stderrWithout(process.env);
  const diagnostics = createDiagnostics(settings.logLevel, write);
  // When it is loaded twice (by NODE_OPTIONS and the command line, for instance), the first one is used. The
  // second one checks that before it loads anything: src/register.cjs.
  const entryPoint = join(__dirname, 'register.cjs');
  (globalThis as Record<symbol, unknown>)[LOADED] = (other: string) => {
    if (other !== entryPoint) diagnostics.warn(secondSdk().describeSecondCopy(entryPoint, other));
  };
  try {
    for (const problem of settings.problems) diagnostics.warn(describeProblem(problem));
    for (const misspelling of settings.misspellings) diagnostics.warn(describeMisspelling(misspelling));
    const selection = selectInstrumentations(settings);
    for (const warning of selection.warnings) diagnostics.warn(warning);

    const { captureFilter, rpcSpans } = settings;
    const makeMilvus = () => asOurs(() => new MilvusInstrumentation({ captureFilter, rpcSpans }));
    if (hasDatadog()) diagnostics.warn(secondSdk().DATADOG);
    const earlier = registeredSdk();
    if (earlier !== undefined) {
      diagnostics.warn(secondSdk().earlierSdkLine(earlier));
      if (selection.milvus && earlier.shared) adopt(makeMilvus());
      return;
    }

    const serviceName =
      serviceNameOf(settings) ??
      process.env.AWS_LAMBDA_FUNCTION_NAME ??
      packageName(appFile(process.argv[1], process.env)) ??
      'milvus-client';
    // Only OpenTelemetry reports errors inside a configuration file.
    showOpenTelemetryMessages(settings.logLevel ?? (settings.configFile ? 'warn' : undefined), write);
    const telemetry = settings.configFile
      ? startFromFile(settings.configFile)
      : startTelemetry(settings, serviceName, diagnostics);

    const instrumentations: Instrumentation[] = [];
    const start = (one: Instrumentation) => {
      instrumentations.push(one);
      telemetry.adopt(one);
    };
    // Before the app loads the SDK: its constructors copy methods, later patches reach no client.
    if (selection.milvus) start(makeMilvus());
    const surroundings = {
      metricsOn: settings.configFile ? isReal(metrics.getMeterProvider()) : !isOff(settings.metricsExporter),
      logsOn: settings.configFile ? isReal(logs.getLoggerProvider()) : !isOff(settings.logsExporter),
      lambda: lambdaOf(process.env, async (limitMs) => {
        await telemetry.send(Math.min(limitMs, settings.flushTimeoutMs));
      }),
      warn: diagnostics.warn,
      bundledApps: selection.milvus
        ? new BundledApps(
            (line) => diagnostics.warn(line),
            () => new (loadChunk<Bundled>('bundled-milvus').BundledCalls)(captureFilter),
          )
        : undefined,
    };
    const giveWay = activateOnLoad(selection.entries, surroundings, start, {
      [SDK]: (url) => {
        const sdk = selection.milvus ? installedSdk(url) : undefined;
        const unknown = unknownSdk(sdk);
        if (unknown !== undefined) diagnostics.warn(unknown);
        if (sdk?.isLinked) patchLinked(SDK, sdk.folder);
      },
      'dd-trace': () => diagnostics.warn(secondSdk().DATADOG),
    });
    const keep = () =>
      keepRegistration(
        () => diagnostics.info(secondSdk().KEPT_ON),
        () => {
          if (!registeredSdk()?.shared) return;
          // Otherwise the spans of one trace would go to two backends.
          for (const one of instrumentations) telemetry.adopt(one);
          diagnostics.warn(secondSdk().REPLACED);
        },
      );
    watchRegistration(() => {
      const { areScopesShared, laterSdkLine, SHARED_SCOPES } = secondSdk();
      diagnostics.warn(laterSdkLine(destination(settings)));
      // Sentry registers its parts one after the other.
      queueMicrotask(() => {
        if (areScopesShared()) diagnostics.warn(SHARED_SCOPES);
      });
    }, keep);
    keep();
    watchInstrumentations((name) => {
      giveWay(name);
      diagnostics.info(`Using the app's instrumentation ${name} instead of the preload's.`);
    });
    flushAtExit(telemetry, settings.flushTimeoutMs);
    const on = describeSelection(selection);
    diagnostics.info(`Started ${VERSION}: ${summary(settings, serviceName)}, instrumentations ${on}.`);
  } catch (error) {
    diagnostics.warn(
      `Start failed: ${String((error as Error)?.message ?? error).replace(/[.\s]+$/, '')}. The app runs untraced.`,
    );
  }
}

function lambdaOf(env: NodeJS.ProcessEnv, flush: Lambda['flush']): Lambda | undefined {
  const { AWS_LAMBDA_FUNCTION_NAME: name, AWS_LAMBDA_RUNTIME_API: runtimeApi, _HANDLER: handler } = env;
  return name === undefined || handler === undefined ? undefined : { handler, runtimeApi, flush };
}

/** Whether a configuration file has created it: the API's no-op provider has no shutdown. */
const isReal = (provider: object): boolean => 'shutdown' in provider;

const summary = (settings: Settings, serviceName: string): string =>
  settings.configFile
    ? `OTEL_CONFIG_FILE=${settings.configFile}`
    : `service ${serviceName}, spans to ${destination(settings)}, sampler ${settings.sampler}${settings.sampler.endsWith('ratio') ? ` ${settings.samplerRatio}` : ''}`;

const destination = (settings: Settings): string =>
  settings.configFile ??
  settings.tracesExporter
    .map((name) => (name === 'otlp' ? `${shownEndpoint(settings)} (${tracesProtocol(settings)})` : name))
    .join(' and ');
