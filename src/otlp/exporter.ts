/**
 * Sends batches of spans to the collector. The sender is created with the first batch; answers become
 * outcomes.
 */
import { context } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, suppressTracing } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { type Protocol, type Settings, withoutCredentials } from '../config/settings.ts';
import { GRPC_STATUS_NAMES } from '../grpc-status.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import { loadChunk } from '../sdk/lazy-modules.ts';
import type { Outcome, Send } from '../trace/outcome.ts';
import type { SpanBatch } from '../trace/span-batch.ts';
import { type Rejection, rejectionIn } from './partial-success.ts';
import { reasonFor } from './reason.ts';
import { type OpenSender, OtlpError, type OtlpSender } from './sender.ts';
import { verdictOn } from './status.ts';
import { type OtlpTarget, tracesProtocol, tracesTarget } from './target.ts';
import { startTimeLimit } from './time-limit.ts';

export type ExporterName = 'otlp' | 'zipkin';

/** Sends one batch. Resolves with its partial success, rejects with the reason of a failure. */
type SendOnce = (batch: SpanBatch) => Promise<Rejection | undefined>;

/** The send function of a queue; the sender is loaded and created with the first batch. */
export function createSend(name: ExporterName, settings: Settings): Send {
  let sendOnce: SendOnce | undefined;
  return async (batch) => {
    await settled(batch.resource);
    try {
      // Suppressed: the sender's channels, sockets and requests must not create spans.
      return await context.with(suppressTracing(context.active()), async () => {
        sendOnce ??= name === 'zipkin' ? zipkin(settings) : otlp(settings);
        return acceptance(batch, await sendOnce(batch));
      });
    } catch (error) {
      return failureOf(batch, error, settings);
    }
  };
}

/** Resolves when the asynchronous attributes of a resource are known. */
async function settled(resource: Partial<Resource> | undefined): Promise<void> {
  if (resource?.asyncAttributesPending) await resource.waitForAsyncAttributes?.();
}

interface SpanExporter {
  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void;
}

function zipkin(settings: Settings): SendOnce {
  const { ZipkinExporter } = loadChunk<{ ZipkinExporter: new (config: { url: string }) => SpanExporter }>(
    'exporter-zipkin',
  );
  const exporter = new ZipkinExporter({ url: zipkinUrl(settings) });
  return (batch) => {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const stop = startTimeLimit(settings.batchTimeoutMs, () =>
      reject(
        new OtlpError(`no answer within ${settings.batchTimeoutMs} ms (OTEL_BSP_EXPORT_TIMEOUT)`, {
          isGrpc: false,
        }),
      ),
    );
    exporter.export(batch.spans.map(startedAtWholeMicrosecond), ({ code, error }) => {
      if (code === ExportResultCode.SUCCESS) resolve(undefined);
      else reject(new OtlpError(error?.message ?? '', { isGrpc: false }));
    });
    return promise.finally(stop);
  };
}

/** Zipkin's format has the start in whole µs, and its exporter does not round it. */
const startedAtWholeMicrosecond = (span: ReadableSpan): ReadableSpan => {
  const [seconds, nanoseconds] = span.startTime;
  return Object.create(span, { startTime: { value: [seconds, Math.floor(nanoseconds / 1_000) * 1_000] } });
};

function otlp(settings: Settings): SendOnce {
  const target = tracesTarget(settings);
  const sender = openSender(target);
  const exportMs = settings.tracesExportTimeoutMs ?? settings.exportTimeoutMs;
  const limitMs = Math.min(exportMs, settings.batchTimeoutMs);
  const variable = limitMs === exportMs ? target.variables.timeout : 'OTEL_BSP_EXPORT_TIMEOUT';
  const isJson = target.protocol === 'http/json';
  const serialize = serializerFor(target.protocol);
  return async (batch) => rejectionIn(await sender.send(serialize(batch), { ms: limitMs, variable }), isJson);
}

/** A sender whose requests do not keep the app alive. */
export function openSender(target: OtlpTarget): OtlpSender {
  const part = target.protocol === 'grpc' ? 'otlp-over-grpc' : 'otlp-over-http';
  return loadChunk<{ openSender: OpenSender }>(part).openSender(target, { keepsAlive: false });
}

export const zipkinUrl = (settings: Settings): string =>
  settings.zipkinEndpoint ?? 'http://localhost:9411/api/v2/spans';

function acceptance({ count }: SpanBatch, rejected: Rejection | undefined): Outcome {
  if (rejected === undefined) return { kind: 'accepted' };
  const reason = shortReason(rejected.reason);
  if (rejected.count === 0) return { kind: 'accepted', warning: reason };
  return { kind: 'accepted', rejected: { count: Math.min(rejected.count, count), reason } };
}

function failureOf({ count }: SpanBatch, error: unknown, settings: Settings): Outcome {
  // A split isolates the span that is the cause.
  if (error instanceof UnserializableError)
    return count > 1 ? { kind: 'too large' } : { kind: 'unserializable', reason: shortReason(error.message) };
  const reason = shortReason(reasonFor(error, tracesTarget(settings)));
  const verdict = verdictOn(error);
  const errorType = errorTypeOf(error);
  if (verdict.kind === 'retry') {
    const { isUnreachable } = error as OtlpError;
    const { afterMs, mayBeTooLarge } = verdict;
    return {
      kind: 'later',
      reason,
      errorType,
      isUnreachable,
      mayBeTooLarge,
      ...(afterMs === undefined ? {} : { afterMs }),
    };
  }
  return verdict.kind === 'too large' && count > 1
    ? { kind: 'too large' }
    : { kind: 'refused', reason, errorType };
}

/** `error.type` of the conventions: the status, else what Node calls the error. */
function errorTypeOf(error: unknown): string {
  if (error instanceof OtlpError && error.status !== undefined)
    return (error.isGrpc ? GRPC_STATUS_NAMES[error.status] : undefined) ?? String(error.status);
  const { code, name } = ((error as OtlpError).cause ?? error) as { code?: unknown; name?: string };
  return typeof code === 'string' ? code : (name ?? '_OTHER');
}

/** One line, without credentials and without a full stop. */
export const shortReason = (text: string): string =>
  withoutCredentials(oneLine(text === '' ? 'no reason given' : text))
    .slice(0, 300)
    .replace(/[.\s]+$/, '');

/** A fix for when there was no answer. */
export const connectionHint = (reason: string): string =>
  /ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|UNREACH|no answer|No connection/i.test(reason)
    ? ' Check that a collector listens there, or run npx milvus-otel doctor.'
    : '';

class UnserializableError extends Error {
  constructor(cause: unknown) {
    super(`a span could not be serialized: ${(cause as Error)?.message ?? cause}`);
  }
}

/** Returns the body of a batch's OTLP request. */
type Serialize = (batch: SpanBatch) => Uint8Array;

/** OpenTelemetry's serializer of a protocol; loaded with the first batch. */
function serializerFor(protocol: Protocol): Serialize {
  const part = protocol === 'http/json' ? 'otlp-json' : 'otlp-protobuf';
  const { serializer } = loadChunk<{
    serializer: { serializeRequest(spans: readonly ReadableSpan[]): Uint8Array };
  }>(part);
  return ({ spans }) => {
    try {
      return serializer.serializeRequest(spans);
    } catch (error) {
      throw new UnserializableError(error);
    }
  };
}

/** The bodies of the OTLP requests of batches, with the number of spans in each. */
export interface Bodies {
  requests: { count: number; body: Uint8Array }[];
  /** Why spans are in none of them. */
  error: string | undefined;
}

export function requestBodies(batches: readonly SpanBatch[], settings: Settings): Bodies {
  const serialize = serializerFor(tracesProtocol(settings));
  const bodies: Bodies = { requests: [], error: undefined };
  const add = (batch: SpanBatch): void => {
    try {
      bodies.requests.push({ count: batch.count, body: serialize(batch) });
    } catch (error) {
      if (batch.count > 1) for (const part of batch.split()) add(part);
      else bodies.error = shortReason((error as Error).message);
    }
  };
  for (const batch of batches) add(batch);
  return bodies;
}
