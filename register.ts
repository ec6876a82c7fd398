/**
 * The front door: environment → settings → telemetry → instrumentations → ends. Only here is process.env read, and
 * nothing in here may fail the app: what goes wrong is said in one line, and the app runs untraced.
 */
import { startFromFile } from './src/configured-telemetry.ts';
import {
  createDiagnostics,
  describeMisspelling,
  describeProblem,
  showOpenTelemetryMessages,
} from './src/diagnostics.ts';
import { flushAtEnd } from './src/exit.ts';
import { activateOnLoad } from './src/instrumentations/activation.ts';
import { selectInstrumentations } from './src/instrumentations/selection.ts';
import { MilvusInstrumentation } from './src/milvus/instrumentation.ts';
import { SDK, unknownSdk } from './src/milvus/sdk-version.ts';
import { shownEndpoint, tracesProtocol } from './src/otlp-target.ts';
import { appFile, packageName, serviceNameOf } from './src/resource.ts';
import { readSettings, type Settings } from './src/settings.ts';
import { isOff } from './src/signals.ts';
import { startTelemetry } from './src/telemetry.ts';
import { VERSION } from './src/version.ts';

const LOADED = Symbol.for('milvus-otel.loaded');

export function register(): void {
  // By two paths (NODE_OPTIONS and the command line, say), the first one counts.
  if ((globalThis as Record<symbol, unknown>)[LOADED] !== undefined) return;
  (globalThis as Record<symbol, unknown>)[LOADED] = VERSION;

  const settings = readSettings(process.env);
  if (settings.sdkDisabled) return;
  const diagnostics = createDiagnostics(settings.logLevel);
  try {
    for (const problem of settings.problems) diagnostics.warn(describeProblem(problem));
    for (const misspelling of settings.misspellings) diagnostics.warn(describeMisspelling(misspelling));
    const selection = selectInstrumentations(settings);
    for (const warning of selection.warnings) diagnostics.warn(warning);

    const serviceName = serviceNameOf(settings) ?? packageName(appFile(process.argv[1], process.env)) ?? 'milvus-client';
    // What is wrong in a configuration file, only OpenTelemetry knows.
    showOpenTelemetryMessages(settings.logLevel ?? (settings.configFile ? 'warn' : undefined));
    const telemetry = settings.configFile
      ? startFromFile(settings.configFile)
      : startTelemetry(settings, serviceName, diagnostics);

    // Before the app loads the SDK: its constructors copy methods, later patches reach no client.
    const { captureFilter, rpcSpans } = settings;
    if (selection.milvus) telemetry.adopt(new MilvusInstrumentation({ captureFilter, rpcSpans }));
    const surroundings = {
      metricsOn: !isOff(settings.metricsExporter),
      logsOn: !isOff(settings.logsExporter),
      inLambda: process.env.AWS_LAMBDA_FUNCTION_NAME !== undefined,
    };
    activateOnLoad(selection.entries, surroundings, telemetry.adopt, {
      name: SDK,
      resolved: (url) => {
        const unknown = selection.milvus ? unknownSdk(url) : undefined;
        if (unknown !== undefined) diagnostics.warn(unknown);
      },
    });
    flushAtEnd(telemetry, settings.flushTimeoutMs);
    diagnostics.info(`${VERSION} traces ${summary(settings, serviceName)}.`);
  } catch (error) {
    diagnostics.warn(
      `the app runs untraced, because the start failed: ${(error as Error)?.message ?? error}`,
    );
  }
}

const summary = (settings: Settings, serviceName: string): string =>
  settings.configFile
    ? `as ${settings.configFile} says`
    : `the service ${serviceName} to ${destination(settings)}, sampler ${settings.sampler}`;

const destination = (settings: Settings): string =>
  settings.tracesExporter
    .map((name) => (name === 'otlp' ? `${shownEndpoint(settings)} (${tracesProtocol(settings)})` : name))
    .join(' and ');
