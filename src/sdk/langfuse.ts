/** Langfuse's span processor, which by default exports only the spans of language models. */
import { type ProxyTracerProvider, trace } from '@opentelemetry/api';
import { SCOPE } from '../version.ts';

/** Private parts of OpenTelemetry's SDK 2, which has no public way to list processors. */
interface Provider {
  _activeSpanProcessor?: { _spanProcessors?: LangfuseSpanProcessor[] };
}
/** Its option of the same name, or the default. Source: @langfuse/otel 5, span-processor. */
interface LangfuseSpanProcessor {
  shouldExportSpan?(span: { otelSpan: object }): boolean;
}

const MILVUS_SPAN = { name: 'search', attributes: {}, instrumentationScope: { name: SCOPE } };

/** Whether Langfuse's processor is the registered SDK's only one, and drops the spans of Milvus. */
export function isDroppedByLangfuse(): boolean {
  try {
    const provider = (trace.getTracerProvider() as ProxyTracerProvider).getDelegate() as Provider;
    const processors = provider._activeSpanProcessor?._spanProcessors ?? [];
    return (
      processors.length > 0 &&
      processors.every((one) => one.shouldExportSpan?.({ otelSpan: MILVUS_SPAN }) === false)
    );
  } catch {
    // The user's filter may throw.
    return false;
  }
}
