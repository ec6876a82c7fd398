/**
 * The private parts of OpenTelemetry's classes that the preload reads, each behind a check: where a version of the SDK has
 * them in another form, the preload does without. All are those of @opentelemetry/sdk-trace 3.0.
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

/** The parts of the SDK's tracer that make a span. */
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

/** A span of the SDK, with its times as it starts. */
export interface SdkSpan extends Span {
  startTime: Span['startTime'];
  /** performance.now(), read just after Date.now(), which is `startTime`. */
  readonly _performanceStartTime: number;
  /** What an event's time by the monotonic clock is off, against performance.timeOrigin. */
  _performanceOffset: number;
  /** Its end is reckoned from `startTime` when that is false. */
  readonly _startTimeProvided: boolean;
}

export const isSdkSpan = (span: object): span is SdkSpan =>
  typeof (span as Partial<SdkSpan>)._performanceStartTime === 'number' &&
  typeof (span as Partial<SdkSpan>)._startTimeProvided === 'boolean';
