/**
 * A receiver's form of spans and requests, converted from OTLP's wire forms (gRPC, HTTP/protobuf, HTTP/JSON).
 * Pure functions.
 */

export type SpanKind = 'INTERNAL' | 'SERVER' | 'CLIENT' | 'PRODUCER' | 'CONSUMER';
export type StatusCode = 'UNSET' | 'OK' | 'ERROR';

/** One span as it was received. Times: ms since the epoch, with fractions down to the microsecond. */
export interface ReceivedSpan {
  /** 32 hex digits, lower case. */
  traceId: string;
  /** 16 hex digits, lower case. */
  spanId: string;
  /** 16 hex digits, lower case; undefined for a root. */
  parentSpanId: string | undefined;
  name: string;
  kind: SpanKind;
  /** service.name of the resource; '' when it has none. */
  service: string;
  /** Name of the instrumentation scope. */
  scope: string;
  scopeVersion: string;
  startMs: number;
  durationMs: number;
  /**
   * Plain values: string, boolean, number (64-bit integers too), bytes in base64, arrays of these, objects.
   */
  attributes: Record<string, unknown>;
  status: { code: StatusCode; message: string };
  resource: Record<string, unknown>;
  events: { name: string; attributes: Record<string, unknown> }[];
}

/** One request of any signal. Header names are lower case; a repeated header is joined by ', '. */
export interface ReceivedRequest {
  transport: 'grpc' | 'http';
  /** For instance /opentelemetry.proto.collector.trace.v1.TraceService/Export or /v1/traces. */
  path: string;
  headers: Record<string, string>;
}

/** One log record as it was received. */
export interface ReceivedLog {
  /** Name of the instrumentation scope. */
  scope: string;
  body: unknown;
  severityText: string;
  /** As in ReceivedSpan; undefined without a span. */
  traceId: string | undefined;
  spanId: string | undefined;
}

/** ExportLogsServiceRequest in any of the wire forms. */
export interface WireLogsRequest {
  resourceLogs?:
    | {
        scopeLogs?:
          | {
              scope?: { name?: string | null } | null;
              logRecords?:
                | {
                    body?: AnyValue | null;
                    severityText?: string | null;
                    traceId?: Uint8Array | string | null;
                    spanId?: Uint8Array | string | null;
                  }[]
                | null;
            }[]
          | null;
      }[]
    | null;
}

/** A 64-bit integer as the wire forms give it: number, decimal string, or Long. */
type Integer64 = number | string | { low: number; high: number; unsigned?: boolean } | null | undefined;

interface AnyValue {
  stringValue?: string | null;
  boolValue?: boolean | null;
  intValue?: Integer64;
  doubleValue?: number | null;
  arrayValue?: { values?: AnyValue[] | null } | null;
  kvlistValue?: { values?: KeyValue[] | null } | null;
  bytesValue?: Uint8Array | string | null;
}

interface KeyValue {
  key: string;
  value?: AnyValue | null;
}

interface WireSpan {
  traceId: Uint8Array | string;
  spanId: Uint8Array | string;
  parentSpanId?: Uint8Array | string | null;
  name?: string | null;
  kind?: number | string | null;
  startTimeUnixNano?: Integer64;
  endTimeUnixNano?: Integer64;
  attributes?: KeyValue[] | null;
  status?: { code?: number | string | null; message?: string | null } | null;
  events?: { name?: string | null; attributes?: KeyValue[] | null }[] | null;
}

/** ExportTraceServiceRequest in any of the wire forms. */
export interface WireTraceRequest {
  resourceSpans?:
    | {
        resource?: { attributes?: KeyValue[] | null } | null;
        scopeSpans?:
          | {
              scope?: { name?: string | null; version?: string | null } | null;
              spans?: WireSpan[] | null;
            }[]
          | null;
      }[]
    | null;
}

// The order is the enum's in trace.proto; 0 is "unspecified", which the specification says to read as
// internal.
const spanKinds: readonly SpanKind[] = ['INTERNAL', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const statusCodes: readonly StatusCode[] = ['UNSET', 'OK', 'ERROR'];

/** All spans of an export request, in its order. */
export function receivedSpans(request: WireTraceRequest): ReceivedSpan[] {
  const spans: ReceivedSpan[] = [];
  for (const resourceSpans of request.resourceSpans ?? []) {
    const resource = plainAttributes(resourceSpans.resource?.attributes);
    const service = typeof resource['service.name'] === 'string' ? resource['service.name'] : '';
    for (const { scope, spans: ofScope } of resourceSpans.scopeSpans ?? []) {
      for (const span of ofScope ?? []) {
        const startNs = bigint(span.startTimeUnixNano);
        spans.push({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId) || undefined,
          name: span.name ?? '',
          kind: enumValue(spanKinds, span.kind, 'SPAN_KIND_'),
          service,
          scope: scope?.name ?? '',
          scopeVersion: scope?.version ?? '',
          // Whole microseconds: nanoseconds since the epoch do not fit a double.
          startMs: Number(startNs / 1000n) / 1000,
          durationMs: Number(bigint(span.endTimeUnixNano) - startNs) / 1e6,
          attributes: plainAttributes(span.attributes),
          status: {
            code: enumValue(statusCodes, span.status?.code, 'STATUS_CODE_'),
            message: span.status?.message ?? '',
          },
          resource,
          events: (span.events ?? []).map((event) => ({
            name: event.name ?? '',
            attributes: plainAttributes(event.attributes),
          })),
        });
      }
    }
  }
  return spans;
}

/** All records of an export request, in its order. */
export function receivedLogs({ resourceLogs }: WireLogsRequest): ReceivedLog[] {
  const ofScopes = (resourceLogs ?? []).flatMap(({ scopeLogs }) => scopeLogs ?? []);
  return ofScopes.flatMap(({ scope, logRecords }) =>
    (logRecords ?? []).map(({ body, severityText, traceId, spanId }) => ({
      scope: scope?.name ?? '',
      body: plainValue(body),
      severityText: severityText ?? '',
      traceId: hex(traceId) || undefined,
      spanId: hex(spanId) || undefined,
    })),
  );
}

function plainAttributes(attributes: KeyValue[] | null | undefined): Record<string, unknown> {
  return Object.fromEntries((attributes ?? []).map(({ key, value }) => [key, plainValue(value)]));
}

/** In OTLP, an AnyValue without a field is no value: undefined. */
function plainValue(value: AnyValue | null | undefined): unknown {
  if (value == null) return undefined;
  if (value.stringValue != null) return value.stringValue;
  if (value.boolValue != null) return value.boolValue;
  if (value.intValue != null) return Number(bigint(value.intValue));
  if (value.doubleValue != null) return value.doubleValue;
  if (value.arrayValue != null) return (value.arrayValue.values ?? []).map(plainValue);
  if (value.kvlistValue != null) return plainAttributes(value.kvlistValue.values);
  if (value.bytesValue != null) return base64(value.bytesValue);
  return undefined;
}

function hex(id: Uint8Array | string | null | undefined): string {
  if (id == null) return '';
  return typeof id === 'string' ? id.toLowerCase() : Buffer.from(id).toString('hex');
}

/** JSON has bytes in base64 already. */
function base64(bytes: Uint8Array | string): string {
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('base64');
}

function bigint(value: Integer64): bigint {
  if (value == null) return 0n;
  if (typeof value !== 'object') return BigInt(value);
  const high = value.unsigned ? value.high >>> 0 : value.high;
  return (BigInt(high) << 32n) | BigInt(value.low >>> 0);
}

/** An enum is a number, or a name from some JSON exporters; an unknown one becomes the first. */
function enumValue<T extends string>(
  names: readonly T[],
  value: number | string | null | undefined,
  prefix: string,
): T {
  const index = typeof value === 'string' ? names.lastIndexOf(value.replace(prefix, '') as T) : (value ?? 0);
  return names[index] ?? (names[0] as T);
}
