// The minimal tracing of Milvus with OpenTelemetry's own parts: a span without attributes for each RPC, one
// header, the SDK's batch processor and its OTLP/gRPC exporter.
import { createRequire } from 'node:module';
import { ROOT_CONTEXT, SpanKind } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const processor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() });
const provider = new TracerProvider({
  resource: resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME }),
  spanProcessors: [processor],
});
const tracer = provider.getTracer('empty span');
process.once('beforeExit', () => processor.forceFlush());

const require = createRequire(import.meta.url);
const { Client } = createRequire(require.resolve('@zilliz/milvus2-sdk-node'))('@grpc/grpc-js');
const isMilvus = Symbol('is a client of Milvus');
// Every unary call passes here with its metadata and callback, including the exporter's.
const checkArguments = Client.prototype.checkOptionalUnaryResponseArguments;
Client.prototype.checkOptionalUnaryResponseArguments = function (...given) {
  const checked = checkArguments.apply(this, given);
  this[isMilvus] ??= this.getChannel().getTarget().endsWith(process.env.BENCH_MILVUS);
  if (!this[isMilvus]) return checked;
  const span = tracer.startSpan('search', { kind: SpanKind.CLIENT }, ROOT_CONTEXT);
  const { traceId, spanId } = span.spanContext();
  checked.metadata.set('traceparent', `00-${traceId}-${spanId}-01`);
  const { callback } = checked;
  checked.callback = (error, value) => {
    span.end();
    callback(error, value);
  };
  return checked;
};
