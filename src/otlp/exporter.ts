/** The way from a batch of spans to the collector: made at the first batch, its answers told as outcomes. */
import { context } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, suppressTracing } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { type Settings, withoutCredentials } from '../config/settings.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import { loadChunk } from '../sdk/lazy-modules.ts';
import { EncodedSpans } from '../trace/encoded-spans.ts';
import type { SpanBatch, SpanList } from '../trace/span-batch.ts';
import type { Outcome, Send } from '../trace/span-queue.ts';
import type { Rejection } from './partial-success.ts';
import { tracesProtocol, tracesTarget } from './target.ts';

export type ExporterName = 'otlp' | 'zipkin';

/**
 * Sends a batch: gives what of it was rejected, and rejects with an error that has the status, a number, as its `code`. A batch that
 * cannot be sent at all throws at once.
 */
export type Exporter = (batch: SpanBatch) => Promise<Rejection | undefined>;

/** Whether the queue of this exporter keeps spans as bytes, not as objects. */
export const keepsBytes = (name: ExporterName, settings: Settings): boolean =>
  name === 'otlp' && tracesProtocol(settings) !== 'http/json';

/** A sender on an exporter that is loaded and made when the first batch is sent. */
export function createSender(name: ExporterName, settings: Settings): Send<SpanBatch> {
  let exporter: Exporter | undefined;
  return async (batch) => {
    await settled(batch.resource);
    return new Promise<Outcome>((resolve) => {
      const timeoutMs = settings.batchTimeoutMs;
      const late = () =>
        resolve({ kind: 'later', reason: `no answer within ${timeoutMs} ms (OTEL_BSP_EXPORT_TIMEOUT)` });
      const timer = Number.isFinite(timeoutMs) ? setTimeout(late, timeoutMs).unref() : undefined;
      const settle = (outcome: Outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      try {
        // Suppressed: what the exporter sets up (channels, sockets) and sends is nobody's trace.
        context.with(suppressTracing(context.active()), () => {
          exporter ??= createExporter(name, settings);
          exporter(batch).then(
            (rejected) => settle(acceptance(batch, rejected)),
            (error) => settle(failureOf(batch, error)),
          );
        });
      } catch (error) {
        settle({ kind: 'refused', reason: shortReason(error) });
      }
    });
  };
}

/** Resolves when what a resource has to find out is found out. */
async function settled(resource: Partial<Resource> | undefined): Promise<void> {
  if (resource?.asyncAttributesPending) await resource.waitForAsyncAttributes?.();
}

interface SpanExporter {
  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void;
}

function createExporter(name: ExporterName, settings: Settings): Exporter {
  if (name === 'zipkin') {
    const { ZipkinExporter } = loadChunk<{ ZipkinExporter: new (config: { url: string }) => SpanExporter }>(
      'exporter-zipkin',
    );
    const exporter = new ZipkinExporter({ url: zipkinUrl(settings) });
    return (batch) => {
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      exporter.export((batch as SpanList).spans, ({ code, error }) => {
        if (code === ExportResultCode.SUCCESS) resolve(undefined);
        else reject(error);
      });
      return promise;
    };
  }
  const way = tracesProtocol(settings) !== 'grpc' ? 'http' : needsGrpcJs(settings) ? 'grpc-js' : 'grpc';
  return loadChunk<{ createExporter(settings: Settings): Exporter }>(`otlp-over-${way}`).createExporter(
    settings,
  );
}

/** Whether a variable is set that only grpc-js heeds: for a proxy, or for TLS where that is used. */
const needsGrpcJs = (settings: Settings): boolean =>
  settings.forGrpcJs.proxy || (settings.forGrpcJs.tls && tracesTarget(settings).url.startsWith('https:'));

export const zipkinUrl = (settings: Settings): string =>
  settings.zipkinEndpoint ?? 'http://localhost:9411/api/v2/spans';

/** gRPC codes that OTLP calls retryable, and RESOURCE_EXHAUSTED, which collectors send under memory pressure. */
const RETRYABLE_GRPC = new Set([1, 4, 8, 10, 11, 14, 15]);
const RETRYABLE_HTTP = new Set([429, 502, 503, 504]);

/**
 * What servers say of a message beyond their limit: gRPC for Go and JavaScript, Java, Rust, a web server before them. The codes
 * that they say it by mean other things too.
 */
const TOO_LARGE = /larger than max|exceeds maximum size|message length too large|status code 413/i;
const TOO_LARGE_HTTP = 413;

function acceptance({ count }: SpanBatch, rejected: Rejection | undefined): Outcome {
  if (rejected === undefined) return { kind: 'accepted' };
  const reason = shortReason({ message: rejected.reason });
  return { kind: 'accepted', rejected: { count: Math.min(rejected.count, count), reason } };
}

function failureOf({ count }: SpanBatch, error: unknown): Outcome {
  const reason = shortReason(error);
  if (isTooLarge(error, reason)) return count > 1 ? { kind: 'too large' } : { kind: 'refused', reason };
  const status = (error as { code?: unknown } | undefined)?.code;
  // Without a number nobody answered: the connection failed.
  const retryable =
    typeof status !== 'number' || (status < 100 ? RETRYABLE_GRPC : RETRYABLE_HTTP).has(status);
  return { kind: retryable ? 'later' : 'refused', reason };
}

const isTooLarge = (error: unknown, reason: string): boolean =>
  (error as { code?: unknown } | undefined)?.code === TOO_LARGE_HTTP || TOO_LARGE.test(reason);

/** grpc-js goes on with how the time was spent: another line each time, and each would be written. */
const DEADLINE = /^Deadline exceeded after .*/;

/** One line without a stack: gRPC's details, or the error's message. */
export function shortReason(error: unknown): string {
  const { details, message, code } = (error ?? {}) as {
    details?: unknown;
    message?: unknown;
    code?: unknown;
  };
  const text = [details, message, code].find((part) => typeof part === 'string' && part !== '');
  const line = oneLine(String(text ?? 'no reason given')).replace(
    DEADLINE,
    'no answer in time (OTEL_EXPORTER_OTLP_TIMEOUT)',
  );
  return withoutCredentials(line).slice(0, 200);
}

/** A question that helps when nobody answered, and nowhere else. */
export const connectionHint = (reason: string): string =>
  /ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|UNREACH|no answer|No connection/i.test(reason)
    ? ' Is a collector listening there?'
    : '';

/** Batches as the bodies of OTLP requests, for a sender that is not OpenTelemetry's. */
export const requestBodies = (batches: readonly SpanBatch[]): Uint8Array[] => batches.map(requestOf);

/** A batch as the body of an OTLP request. */
export const requestOf = (batch: SpanBatch): Uint8Array =>
  batch instanceof EncodedSpans
    ? batch.request()
    : jsonSerializer().serializeRequest((batch as SpanList).spans);

const jsonSerializer = () =>
  loadChunk<{
    JsonTraceSerializer: {
      serializeRequest(spans: readonly ReadableSpan[]): Uint8Array;
    };
  }>('otlp-json').JsonTraceSerializer;
