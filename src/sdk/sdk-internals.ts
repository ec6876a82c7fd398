/**
 * The private members of OpenTelemetry's classes that the preload uses, each behind a check: when a version
 * of the SDK differs, a public way is used, or none. Source: sdk-trace 3.0, sdk-node 0.300.
 */
import type { NodeSDK, NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import type { Span } from '@opentelemetry/sdk-trace';

/** A span of the SDK, with the fields of its start time. */
export interface SdkSpan extends Span {
  startTime: Span['startTime'];
  /** performance.now(), read just after Date.now(), which is `startTime`. */
  readonly _performanceStartTime: number;
  /** Offset of an event's monotonic time, relative to performance.timeOrigin. */
  _performanceOffset: number;
  /** When false, the end is computed from `startTime`. */
  readonly _startTimeProvided: boolean;
}

export const isSdkSpan = (span: object): span is SdkSpan =>
  typeof (span as Partial<SdkSpan>)._performanceStartTime === 'number' &&
  typeof (span as Partial<SdkSpan>)._startTimeProvided === 'boolean';

/**
 * A NodeSDK without logs. It has no option for that, and takes an unset OTEL_LOGS_EXPORTER for otlp.
 *
 * @param options without `logRecordProcessors`
 */
export function withoutLogs(
  Sdk: new (options: Partial<NodeSDKConfiguration>) => NodeSDK,
  options: Partial<NodeSDKConfiguration>,
): NodeSDK {
  if (!('configureLoggerProviderFromEnv' in Sdk.prototype)) {
    // Public, but it loads the packages of logs and registers a provider.
    return new Sdk({ ...options, logRecordProcessors: [] });
  }
  return Object.assign(new Sdk(options), { configureLoggerProviderFromEnv() {} });
}
