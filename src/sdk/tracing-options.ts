/**
 * Sampler, limits and propagators from the settings. NodeSDK would read their variables itself, in one letter
 * case only.
 */
import type { TextMapPropagator } from '@opentelemetry/api';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  type SpanLimits,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { Settings } from '../config/settings.ts';
import { loadChunk } from './lazy-modules.ts';

type TracingOptions = Pick<Partial<NodeSDKConfiguration>, 'sampler' | 'spanLimits' | 'textMapPropagator'>;

export const tracingOptions = (settings: Settings): TracingOptions => ({
  sampler: samplerOf(settings),
  spanLimits: limitsOf(settings),
  textMapPropagator: propagatorOf(settings.propagators),
});

function samplerOf({ sampler, samplerRatio }: Settings): Sampler {
  const root = sampler.endsWith('always_on')
    ? new AlwaysOnSampler()
    : sampler.endsWith('always_off')
      ? new AlwaysOffSampler()
      : new TraceIdRatioBasedSampler(samplerRatio);
  return sampler.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

/** Only limits that are set, so that the SDK's own variables for the others still apply. */
function limitsOf(settings: Settings): SpanLimits {
  const limits: SpanLimits = {};
  const put = (limit: keyof SpanLimits, ...keys: (keyof Settings)[]) => {
    const key = keys.find((candidate) => settings.given.has(candidate as never));
    if (key !== undefined) limits[limit] = settings[key] as number;
  };
  put('attributeValueLengthLimit', 'spanAttributeValueLengthLimit', 'attributeValueLengthLimit');
  put('attributeCountLimit', 'spanAttributeCountLimit', 'attributeCountLimit');
  put('eventCountLimit', 'spanEventCountLimit');
  put('linkCountLimit', 'spanLinkCountLimit');
  put('attributePerEventCountLimit', 'eventAttributeCountLimit');
  put('attributePerLinkCountLimit', 'linkAttributeCountLimit');
  return limits;
}

/** Undefined: the SDK's default, the two W3C propagators. null: none. */
function propagatorOf(names: readonly string[]): TextMapPropagator | null {
  if (names.includes('none')) return null;
  const propagators = names.map((name): TextMapPropagator => {
    if (name === 'tracecontext') return new W3CTraceContextPropagator();
    if (name === 'baggage') return new W3CBaggagePropagator();
    const { B3Propagator, B3InjectEncoding } = loadChunk<B3>('propagator-b3');
    const { MULTI_HEADER, SINGLE_HEADER } = B3InjectEncoding;
    return new B3Propagator({ injectEncoding: name === 'b3multi' ? MULTI_HEADER : SINGLE_HEADER });
  });
  return propagators.length === 1 && propagators[0] !== undefined
    ? propagators[0]
    : new CompositePropagator({ propagators });
}

interface B3 {
  B3Propagator: new (config: { injectEncoding: number }) => TextMapPropagator;
  B3InjectEncoding: { SINGLE_HEADER: number; MULTI_HEADER: number };
}
