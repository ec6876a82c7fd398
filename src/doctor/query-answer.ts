/** Answers of trace stores → spans: Jaeger's query API, and Tempo's own, which is OTLP in JSON. Pure. */

export interface FoundSpan {
  /** Hex digits, lower case, 16 of them. */
  spanId: string;
  parentSpanId: string | undefined;
  name: string;
  kind: 'client' | 'server' | 'other';
  service: string;
  /** Since the epoch, with fractions. */
  startMs: number;
  endMs: number;
  attributes: Record<string, unknown>;
}

interface JaegerSpan {
  spanID: string;
  operationName: string;
  processID: string;
  references?: { refType: string; spanID: string }[];
  /** In µs. */
  startTime: number;
  duration: number;
  tags?: { key: string; value: unknown }[];
}

/** Undefined when the answer is of neither; empty when there is no such trace. */
export function spansOf(answer: unknown): FoundSpan[] | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined;
  const { data, errors, batches, resourceSpans, trace } = answer as Record<string, any>;
  if (Array.isArray(data)) return data.flatMap(jaegerSpans);
  const otlp = batches ?? resourceSpans ?? trace?.resourceSpans ?? trace?.batches;
  if (Array.isArray(otlp)) return otlp.flatMap(otlpSpans);
  // Jaeger's "trace not found".
  return Array.isArray(errors) ? [] : undefined;
}

function jaegerSpans({
  spans = [],
  processes = {},
}: {
  spans?: JaegerSpan[];
  processes?: Record<string, { serviceName?: string }>;
}): FoundSpan[] {
  return spans.map((span) => {
    const attributes = Object.fromEntries((span.tags ?? []).map(({ key, value }) => [key, value]));
    return {
      spanId: span.spanID.padStart(16, '0'),
      parentSpanId: span.references?.find(({ refType }) => refType === 'CHILD_OF')?.spanID.padStart(16, '0'),
      name: span.operationName,
      kind: kindOf(attributes['span.kind']),
      service: processes[span.processID]?.serviceName ?? '',
      startMs: span.startTime / 1_000,
      endMs: (span.startTime + span.duration) / 1_000,
      attributes,
    };
  });
}

const kindOf = (kind: unknown): FoundSpan['kind'] =>
  kind === 'client' || kind === 'SPAN_KIND_CLIENT' || kind === 3
    ? 'client'
    : kind === 'server' || kind === 'SPAN_KIND_SERVER' || kind === 2
      ? 'server'
      : 'other';

type OtlpAttributes = { key: string; value?: Record<string, unknown> }[];

const plain = (attributes: OtlpAttributes = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value ?? {})[0]]));

function otlpSpans(batch: {
  resource?: { attributes?: OtlpAttributes };
  scopeSpans?: { spans?: any[] }[];
  instrumentationLibrarySpans?: { spans?: any[] }[];
}): FoundSpan[] {
  const service = String(plain(batch.resource?.attributes)['service.name'] ?? '');
  return (batch.scopeSpans ?? batch.instrumentationLibrarySpans ?? []).flatMap(({ spans = [] }) =>
    spans.map((span) => ({
      spanId: hexId(span.spanId) ?? '',
      parentSpanId: hexId(span.parentSpanId),
      name: String(span.name ?? ''),
      kind: kindOf(span.kind),
      service,
      startMs: msOf(span.startTimeUnixNano),
      endMs: msOf(span.endTimeUnixNano),
      attributes: plain(span.attributes),
    })),
  );
}

/** Whole microseconds: nanoseconds since the epoch do not fit a double. */
const msOf = (nanoseconds: unknown): number => Number(BigInt(String(nanoseconds ?? 0)) / 1_000n) / 1_000;

/** OTLP's JSON has hex, Tempo's protobuf JSON has base64. */
function hexId(id: unknown): string | undefined {
  if (typeof id !== 'string' || id === '') return undefined;
  return /^[0-9a-f]{16}$/i.test(id) ? id.toLowerCase() : Buffer.from(id, 'base64').toString('hex');
}
