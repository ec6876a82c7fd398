/** The way from a batch of spans to the collector: made at the first batch, its answers told as outcomes. */
import { context } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, suppressTracing } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { loadChunk } from './chunks.ts';
import { oneLine } from './diagnostics.ts';
import { EXPORTER_FORMAT, signalUrl, tracesProtocol } from './otlp-target.ts';
import { type Settings, withoutCredentials } from './settings.ts';
import type { Outcome, Send } from './span-queue.ts';

export type ExporterName = 'otlp' | 'zipkin';

/** A sender on one of OpenTelemetry's exporters, which is loaded and made when the first batch is sent. */
export function createSender(name: ExporterName, settings: Settings): Send {
  let exporter: SpanExporter | undefined;
  return async (spans) => {
    const resource = spans[0]?.resource;
    if (resource?.asyncAttributesPending) await resource.waitForAsyncAttributes?.();
    return new Promise<Outcome>((resolve) => {
      const timeoutMs = settings.batchTimeoutMs;
      const timer = setTimeout(
        () =>
          resolve({ kind: 'later', reason: `no answer within ${timeoutMs} ms (OTEL_BSP_EXPORT_TIMEOUT)` }),
        timeoutMs,
      ).unref();
      const settle = (outcome: Outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      try {
        // Suppressed: what the exporter sets up (channels, sockets) and sends is nobody's trace.
        context.with(suppressTracing(context.active()), () => {
          exporter ??= createExporter(name, settings);
          exporter.export(spans, (result) => settle(outcomeOf(result)));
        });
      } catch (error) {
        settle({ kind: 'refused', reason: shortReason(error) });
      }
    });
  };
}

interface OtlpConfig {
  url?: string;
}

function createExporter(name: ExporterName, settings: Settings): SpanExporter {
  if (name === 'zipkin') {
    const { ZipkinExporter } = loadChunk<{ ZipkinExporter: new (config: OtlpConfig) => SpanExporter }>(
      'exporter-zipkin',
    );
    return new ZipkinExporter({ url: zipkinUrl(settings) });
  }
  const { OTLPTraceExporter } = loadChunk<{ OTLPTraceExporter: new (config: OtlpConfig) => SpanExporter }>(
    `exporter-trace-otlp-${EXPORTER_FORMAT[tracesProtocol(settings)]}`,
  );
  return new OTLPTraceExporter(signalUrl(settings, 'traces'));
}

export const zipkinUrl = (settings: Settings): string =>
  settings.zipkinEndpoint ?? 'http://localhost:9411/api/v2/spans';

/** gRPC codes that OTLP calls retryable, and RESOURCE_EXHAUSTED, which collectors send under memory pressure. */
const RETRYABLE_GRPC = new Set([1, 4, 8, 10, 11, 14, 15]);
const RETRYABLE_HTTP = new Set([429, 502, 503, 504]);

function outcomeOf({ code, error }: ExportResult): Outcome {
  if (code === ExportResultCode.SUCCESS) return { kind: 'accepted' };
  const status = (error as { code?: unknown } | undefined)?.code;
  // Without a number nobody answered: the connection failed.
  const retryable =
    typeof status !== 'number' || (status < 100 ? RETRYABLE_GRPC : RETRYABLE_HTTP).has(status);
  return { kind: retryable ? 'later' : 'refused', reason: shortReason(error) };
}

/** One line without a stack: gRPC's details, or the error's message. */
export function shortReason(error: unknown): string {
  const { details, message, code } = (error ?? {}) as {
    details?: unknown;
    message?: unknown;
    code?: unknown;
  };
  const text = [details, message, code].find((part) => typeof part === 'string' && part !== '');
  return withoutCredentials(oneLine(String(text ?? 'no reason given'))).slice(0, 200);
}

/** A question that helps when nobody answered, and nowhere else. */
export const connectionHint = (reason: string): string =>
  /ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|UNREACH|no answer|No connection/i.test(reason)
    ? ' Is a collector listening there?'
    : '';

/** Spans as the bodies of OTLP requests, for a sender that is not OpenTelemetry's. */
export function serializeBatches(batches: readonly ReadableSpan[][], settings: Settings): Uint8Array[] {
  const { ProtobufTraceSerializer, JsonTraceSerializer } =
    loadChunk<Record<string, { serializeRequest(spans: readonly ReadableSpan[]): Uint8Array | undefined }>>(
      'otlp-serializers',
    );
  const serializer = tracesProtocol(settings) === 'http/json' ? JsonTraceSerializer : ProtobufTraceSerializer;
  return batches.flatMap((batch) => serializer?.serializeRequest(batch) ?? []);
}
