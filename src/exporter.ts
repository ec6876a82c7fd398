/**
 * The exporter behind the batches: made when the first batch is sent, counts what has not arrived, and says in one
 * line when the collector cannot be reached and when it can again.
 */
import { context } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, suppressTracing } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace';
import { loadChunk } from './chunks.ts';
import type { Diagnostics } from './diagnostics.ts';
import { type Protocol, type Settings, withoutCredentials } from './settings.ts';

export class ObservedExporter implements SpanExporter {
  /** Spans that have ended and whose arrival is not confirmed, those in the queue included. */
  unsent = 0;
  /** Spans given up: dropped by a full queue or refused by the collector. */
  lost = 0;
  readonly #kind: 'otlp' | 'zipkin';
  readonly #settings: Settings;
  readonly #diagnostics: Diagnostics;
  #exporter: SpanExporter | undefined;
  #announced = false;

  constructor(kind: 'otlp' | 'zipkin', settings: Settings, diagnostics: Diagnostics) {
    this.#kind = kind;
    this.#settings = settings;
    this.#diagnostics = diagnostics;
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const finish = (result: ExportResult) => {
      this.unsent = Math.max(0, this.unsent - spans.length);
      this.#report(result, spans.length);
      done(result);
    };
    try {
      // Suppressed: whatever the exporter sets up (channels, sockets) is nobody's trace.
      context.with(suppressTracing(context.active()), () => {
        this.#exporter ??= createExporter(this.#kind, this.#settings);
        this.#exporter.export(spans, finish);
      });
    } catch (error) {
      finish({ code: ExportResultCode.FAILED, error: error as Error });
    }
  }

  async forceFlush(): Promise<void> {
    await this.#exporter?.forceFlush?.();
  }

  async shutdown(): Promise<void> {
    await this.#exporter?.shutdown();
  }

  /** Counts the sampled spans that enter `processor`, whose queue ends in this exporter. */
  counting(processor: SpanProcessor): SpanProcessor {
    return {
      onStart: (span, parent) => processor.onStart(span, parent),
      onEnd: (span) => {
        if ((span.spanContext().traceFlags & 1) === 1) {
          if (this.unsent >= this.#settings.maxQueueSize + this.#settings.maxExportBatchSize) this.lost++;
          else this.unsent++;
        }
        processor.onEnd(span);
      },
      forceFlush: () => processor.forceFlush(),
      shutdown: () => processor.shutdown(),
    };
  }

  #report(result: ExportResult, count: number): void {
    const target = this.#kind === 'otlp' ? endpoint(this.#settings) : 'Zipkin';
    if (result.code === ExportResultCode.SUCCESS) {
      if (!this.#announced) this.#diagnostics.info(`the first spans were accepted by ${target}.`);
      this.#announced = true;
      return;
    }
    this.lost += count;
    this.#diagnostics.warn(
      `traces cannot be sent to ${target} (${reason(result.error)}). Is a collector listening there? OTEL_EXPORTER_OTLP_ENDPOINT says where to send.`,
    );
  }
}

/** Where traces go, without credentials, for people to read. */
export function endpoint(settings: Settings): string {
  const fallback = protocol(settings) === 'grpc' ? 'http://localhost:4317' : 'http://localhost:4318';
  return withoutCredentials(settings.tracesEndpoint ?? settings.endpoint ?? fallback);
}

export const protocol = (settings: Settings): Protocol => settings.tracesProtocol ?? settings.protocol;

interface OtlpConfig {
  url?: string;
}

function createExporter(kind: 'otlp' | 'zipkin', settings: Settings): SpanExporter {
  if (kind === 'zipkin') {
    const { ZipkinExporter } = loadChunk<{ ZipkinExporter: new () => SpanExporter }>('exporter-zipkin');
    return new ZipkinExporter();
  }
  const chunk = { grpc: 'otlp-grpc', 'http/protobuf': 'otlp-proto', 'http/json': 'otlp-http' }[
    protocol(settings)
  ];
  const { OTLPTraceExporter } = loadChunk<{ OTLPTraceExporter: new (config: OtlpConfig) => SpanExporter }>(
    `exporter-trace-${chunk}`,
  );
  // An endpoint that cannot be used has been reported; upstream would read it again from the environment.
  const unusable = settings.problems.some(({ variable }) => ENDPOINT_VARIABLES.includes(variable));
  return new OTLPTraceExporter(unusable ? { url: fallbackUrl(settings) } : {});
}

const ENDPOINT_VARIABLES = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'];

function fallbackUrl(settings: Settings): string {
  if (settings.tracesEndpoint !== undefined) return settings.tracesEndpoint;
  const base = endpoint(settings);
  return protocol(settings) === 'grpc' ? base : `${base.replace(/\/$/, '')}/v1/traces`;
}

/** Short and without the stack: gRPC's details, or the error's message on one line. */
function reason(error: Error | undefined): string {
  const details = (error as { details?: unknown } | undefined)?.details;
  const text =
    typeof details === 'string' && details !== '' ? details : (error?.message ?? 'no reason given');
  return withoutCredentials(text.split('\n', 1)[0] ?? '').slice(0, 200);
}
