/** OTLP by OpenTelemetry's own transports, for the parts of the bundle that bring one. */
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { EXPORT } from './connection.ts';
import { type Exporter, requestOf } from './exporter.ts';
import { signalUrl, tracesProtocol } from './otlp-target.ts';
import { type Rejection, rejectionIn } from './partial-success.ts';
import type { Settings } from './settings.ts';
import type { SpanBatch } from './span-batch.ts';

/** What a transport's package offers. */
export interface Transport {
  optionsOf(config: { url?: string }, contentType: string): unknown;
  /** The function behind OpenTelemetry's OTLP exporters: the transport below, a serializer above it. */
  createDelegate(
    options: unknown,
    serializer: {
      serializeRequest(batch: SpanBatch): Uint8Array;
      deserializeResponse(data: Uint8Array): unknown;
    },
    componentType: string,
    metricsHelper: { name: 'span'; countItems(batch: SpanBatch): number },
    meterProvider: undefined,
    ...grpc: string[]
  ): { export(batch: SpanBatch, done: (result: ExportResult) => void): void };
}

export function upstreamExporter(settings: Settings, { optionsOf, createDelegate }: Transport): Exporter {
  const protocol = tracesProtocol(settings);
  const [isGrpc, isJson] = [protocol === 'grpc', protocol === 'http/json'];
  let rejected: Rejection | undefined;
  const delegate = createDelegate(
    optionsOf(signalUrl(settings, 'traces'), isJson ? 'application/json' : 'application/x-protobuf'),
    {
      serializeRequest: requestOf,
      // Asked for right before the outcome of the same batch is told. What it would log, the queue says.
      deserializeResponse(data) {
        rejected = rejectionIn(data, isJson);
        return {};
      },
    },
    `otlp_${isGrpc ? 'grpc' : isJson ? 'http_json' : 'http'}_span_exporter`,
    { name: 'span', countItems: ({ count }) => count },
    undefined,
    ...(isGrpc ? ['TraceExportService', EXPORT] : []),
  );
  return (batch) => {
    const { promise, resolve, reject } = Promise.withResolvers<Rejection | undefined>();
    delegate.export(batch, ({ code, error }) => {
      const ofBatch = rejected;
      rejected = undefined;
      if (code === ExportResultCode.SUCCESS) resolve(ofBatch);
      else reject(error);
    });
    return promise;
  };
}
