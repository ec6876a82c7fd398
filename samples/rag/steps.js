// The only tracing code of this service: spans for its two steps, which no instrumentation can know of. It is optional.
// Without the preload the API does nothing.
import { SpanStatusCode, trace } from '@opentelemetry/api';

const tracer = trace.getTracer('rag-sample');

/** Gives what `work` gives. Numbers only in the attributes: questions and texts are the users' own. */
export function step(name, attributes, work) {
  return tracer.startActiveSpan(name, { attributes }, (span) => {
    try {
      return work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}
