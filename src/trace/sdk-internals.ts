/**
 * The private fields of OpenTelemetry's classes that the preload reads, each behind a check: when a version
 * of the SDK differs, the preload does not use them. They are those of @opentelemetry/sdk-trace 3.0.
 */
import type { SpanContext, Tracer } from '@opentelemetry/api';
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type {
  IdGenerator,
  Sampler,
  SamplingDecision,
  Span,
  SpanLimits,
  SpanProcessor,
} from '@opentelemetry/sdk-trace';

/** The fields of the SDK's tracer that create a span. */
export interface SdkTracer extends Tracer {
  readonly _sampler: Sampler;
  readonly _idGenerator: IdGenerator;
  readonly _spanLimits: Required<SpanLimits>;
  readonly _spanProcessor: SpanProcessor & { readonly _spanProcessors?: readonly SpanProcessor[] };
  readonly _resource: Resource;
  readonly _tracerMetrics: {
    startSpan(parent: SpanContext | undefined, decision: SamplingDecision): (() => void) | undefined;
  };
  readonly instrumentationScope: InstrumentationScope;
}

export function isSdkTracer(tracer: Tracer): tracer is SdkTracer {
  const parts = tracer as Partial<SdkTracer>;
  return (
    typeof parts._sampler?.shouldSample === 'function' &&
    typeof parts._idGenerator?.generateSpanId === 'function' &&
    typeof parts._spanProcessor?.onEnd === 'function' &&
    typeof parts._tracerMetrics?.startSpan === 'function' &&
    parts._resource !== undefined &&
    parts.instrumentationScope !== undefined &&
    parts._spanLimits !== undefined
  );
}

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
