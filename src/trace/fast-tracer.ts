/** The tracer of operations when the preload has started the SDK. Its spans are in fast-span.ts. */
import {
  type Context,
  context,
  isSpanContextValid,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  TraceFlags,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { isTracingSuppressed } from '@opentelemetry/core';
import { SamplingDecision, type SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Clock } from './clock.ts';
import { FastSpan } from './fast-span.ts';
import { isSdkTracer, type SdkTracer } from './sdk-internals.ts';

const NO_LINKS: Link[] = [];

/** Largest number of attributes of an operation's span: a lower limit needs the SDK's spans. */
const MOST_ATTRIBUTES = 32;

/**
 * Returns `provider` with fast spans for the tracer called `name`. Returns it unchanged when the SDK has
 * other private fields than expected, or when attributes are limited.
 */
export function withFastSpans(provider: TracerProvider, name: string, clock: Clock): TracerProvider {
  return {
    getTracer(...given) {
      const tracer = provider.getTracer(...given);
      return given[0] === name && isSdkTracer(tracer) && isUnlimited(tracer)
        ? new FastTracer(tracer, clock)
        : tracer;
    },
  };
}

const isUnlimited = ({ _spanLimits: limits }: SdkTracer): boolean =>
  limits.attributeValueLengthLimit === Infinity && limits.attributeCountLimit >= MOST_ATTRIBUTES;

class FastTracer implements Tracer {
  readonly sdk: SdkTracer;
  readonly clock: Clock;

  constructor(sdk: SdkTracer, clock: Clock) {
    this.sdk = sdk;
    this.clock = clock;
  }

  /** @param options its attributes are valid, and become those of the span itself. */
  startSpan(name: string, options: SpanOptions = {}, parent: Context = context.active()): Span {
    const { sdk } = this;
    const { kind = SpanKind.INTERNAL, attributes = {}, links, startTime, root } = options;
    if (links !== undefined || startTime !== undefined || root || isTracingSuppressed(parent))
      return sdk.startSpan(name, options, parent);
    const above = trace.getSpanContext(parent);
    const isChild = above !== undefined && isSpanContextValid(above);
    const spanId = sdk._idGenerator.generateSpanId();
    const traceId = isChild ? above.traceId : sdk._idGenerator.generateTraceId();
    const sampling = sdk._sampler.shouldSample(parent, traceId, name, kind, attributes, NO_LINKS);
    const { decision } = sampling;
    const recordEnd = sdk._tracerMetrics.startSpan(above, decision);
    const own: SpanContext = {
      traceId,
      spanId,
      traceFlags: decision === SamplingDecision.RECORD_AND_SAMPLED ? TraceFlags.SAMPLED : TraceFlags.NONE,
      traceState: sampling.traceState ?? (isChild ? above.traceState : undefined),
    };
    if (decision === SamplingDecision.NOT_RECORD) return trace.wrapSpanContext(own);
    const span = new FastSpan(this, name, kind, attributes, own, isChild ? above : undefined, parent);
    span.recordEnd = recordEnd;
    if (sampling.attributes !== undefined) span.setAttributes(sampling.attributes);
    sdk._spanProcessor.onStart(span as unknown as Parameters<SpanProcessor['onStart']>[0], parent);
    return span;
  }

  startActiveSpan: Tracer['startActiveSpan'] = (...given: unknown[]) =>
    (this.sdk.startActiveSpan as (...given: unknown[]) => never)(...given);
}
