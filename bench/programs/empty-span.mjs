// The least that tracing of Milvus can be, with OpenTelemetry's own parts: a span without an attribute for
// each RPC, one header, and the SDK's batch processor with its OTLP/gRPC exporter.
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
const isMilvus = Symbol('speaks to Milvus');
// Where each unary call comes by with its metadata and its callback, those that the exporter makes included.
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
