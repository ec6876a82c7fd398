/**
 * The private fields of OpenTelemetry's classes that the preload reads, each behind a check: when a version
 * of the SDK differs, the preload does not use them. They are those of @opentelemetry/sdk-trace 3.0.
 */
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
