/** Real spans that have ended, named s0, s1 and so on. */
import { ROOT_CONTEXT } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { type ReadableSpan, SamplingDecision, TracerProvider } from '@opentelemetry/sdk-trace';

export function endedSpans(
  count: number,
  resource?: Resource,
  decision = SamplingDecision.RECORD_AND_SAMPLED,
): ReadableSpan[] {
  const spans: ReadableSpan[] = [];
  const tracer = new TracerProvider({
    ...(resource === undefined ? {} : { resource }),
    sampler: { shouldSample: () => ({ decision }) },
    spanProcessors: [
      {
        onStart() {},
        onEnd: (span) => spans.push(span),
        forceFlush: async () => {},
        shutdown: async () => {},
      },
    ],
  }).getTracer('test');
  for (let index = 0; index < count; index++) tracer.startSpan(`s${index}`, {}, ROOT_CONTEXT).end();
  return spans;
}
