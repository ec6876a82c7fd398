/**
 * The span of one call of a bundled SDK, read from the HTTP/2 stream: name and attributes from the request
 * message, the outcome from the answer and its trailers. Loaded with the first such call. A failure in here
 * never fails the call.
 */
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2';
import {
  type Attributes,
  context,
  defaultTextMapSetter,
  diag,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ATTR, parseServerAddress, type ServerAddress } from '../milvus/attributes.ts';
import { type OperationMetrics, operationMetrics, type Series } from '../milvus/metrics.ts';
import { nameOf } from '../milvus/operation-span.ts';
import { sendContext } from '../milvus/propagation.ts';
import { type Failure, failureOfGrpc, UNIMPLEMENTED, UNIMPLEMENTED_FAILURE } from '../milvus/status.ts';
import { FirstMessage } from '../milvus/wire/grpc-frame.ts';
import { statusOfClosedStream, statusOfHttp, timeoutMs } from '../milvus/wire/grpc-status.ts';
import { rpcOf } from '../milvus/wire/message-fields.ts';
import { firstName, readWireRequest, readWireResponse, shownReason } from '../milvus/wire/wire-operation.ts';
import { SCHEMA_URL, SCOPE, VERSION } from '../version.ts';
import { type Connection, OPENING, SERVICE_PATH } from './bundles.ts';

/** gRPC's port for an address without one. */
const GRPC_PORT = 443;

type Stream = ReturnType<ClientHttp2Session['request']>;
type Headers = Record<string, unknown>;

export class BundledCalls {
  private readonly options: CallOptions;

  /** @param captureFilter Put the filter expression into `db.query.text`. */
  constructor(captureFilter: boolean) {
    this.options = {
      tracer: trace.getTracerProvider().getTracer(SCOPE, VERSION, { schemaUrl: SCHEMA_URL }),
      metrics: operationMetrics(metrics.getMeter(SCOPE, VERSION, { schemaUrl: SCHEMA_URL })),
      captureFilter,
    };
  }

  /**
   * Undefined for a call that must have no span.
   *
   * @param ofGrpc the span that instrumentation-grpc has created for the call: it becomes the operation's
   *   span.
   */
  start(headers: OutgoingHttpHeaders, connection: Connection, ofGrpc?: Span): BundledCall | undefined {
    const rpc = String(headers[':path']).slice(SERVICE_PATH.length);
    const active = context.active();
    const isFirst = connection.calls++ === 0;
    // All calls that wait for a connection run in the context of the first one, so their parents are unknown.
    const isOfUnknownCaller = active.getValue(OPENING) === connection && !isFirst;
    const isLeftOut = isOfUnknownCaller || trace.getSpan(active) === undefined;
    if (ofGrpc === undefined && isLeftOut && rpcOf(rpc).internal) return undefined;
    return new BundledCall(rpc, headers, connection.session, this.options, ofGrpc);
  }
}

interface CallOptions {
  tracer: Tracer;
  metrics: OperationMetrics | undefined;
  captureFilter: boolean;
}

export class BundledCall {
  private readonly span: Span;
  private readonly isSpanOfGrpc: boolean;
  private readonly headers: OutgoingHttpHeaders;
  private readonly rpc: string;
  private readonly session: ClientHttp2Session;
  private readonly options: CallOptions;
  private readonly server: ServerAddress | undefined;
  private readonly startMs = performance.now();
  private readonly request: FirstMessage;
  private readonly response: FirstMessage;
  private operation: string;
  /** Also the attributes of the metric. */
  private attributes: Attributes;
  private grpcStatus: number | undefined;
  private httpStatus: number | undefined;
  private details = '';
  private ended = false;
  /** Undefined until the request is read, and while metrics are off. */
  private series: Series | undefined;

  constructor(
    rpc: string,
    headers: OutgoingHttpHeaders,
    session: ClientHttp2Session,
    options: CallOptions,
    ofGrpc?: Span,
  ) {
    this.rpc = rpc;
    this.session = session;
    this.options = options;
    const { request, response } = rpcOf(rpc);
    this.request = new FirstMessage(request);
    this.response = new FirstMessage(response);
    this.operation = firstName(rpc);
    const server = parseServerAddress(String(headers[':authority'] ?? ''), GRPC_PORT);
    this.server = server;
    this.attributes = {
      [ATTR.system]: 'milvus',
      [ATTR.operation]: this.operation,
      ...(server === undefined ? {} : { [ATTR.serverAddress]: server.address }),
      ...(server?.port === undefined ? {} : { [ATTR.serverPort]: server.port }),
    };
    const database = headers.dbname;
    if (typeof database === 'string' && database !== '') this.attributes[ATTR.namespace] = database;
    this.isSpanOfGrpc = ofGrpc !== undefined;
    const { attributes } = this;
    this.span =
      ofGrpc?.setAttributes(attributes) ??
      options.tracer.startSpan(this.name(), { kind: SpanKind.CLIENT, attributes: { ...attributes } });
    const requestId = headers['client-request-id'];
    if (typeof requestId === 'string') this.span.setAttribute(ATTR.clientRequestId, requestId);
    this.headers = this.isSpanOfGrpc ? headers : withTraceContext(headers, this.span);
  }

  /** @param request creates the stream of the call. */
  send(request: (headers: OutgoingHttpHeaders) => Stream): Stream {
    let stream: Stream;
    try {
      stream = request(this.headers);
    } catch (error) {
      this.guarded(() => this.finish(failureOfGrpc(UNAVAILABLE, '')));
      throw error;
    }
    this.guarded(() => this.watch(stream));
    return stream;
  }

  private watch(stream: Stream): void {
    this.watchWrites(stream);
    const read = (piece: unknown) =>
      this.guarded(() => {
        if (piece instanceof Uint8Array) this.response.read(piece);
      });
    // A `data` listener starts the flow of a stream, so it is added with the consumer's own.
    const consumed = (event: string | symbol) => {
      if (event !== 'data') return;
      stream.off('newListener', consumed);
      stream.on('data', read);
    };
    stream.on('newListener', consumed);
    const readHeaders = (headers: Headers) => {
      const { 'grpc-status': status, 'grpc-message': details, ':status': httpStatus } = headers;
      if (httpStatus !== undefined) this.httpStatus = Number(httpStatus);
      if (status === undefined) return;
      this.grpcStatus = Number(status);
      this.details = decoded(details);
    };
    // The SDK's promise settles right after the end, and the process may exit then: the span does not wait
    // for 'close'.
    const finish = () =>
      this.guarded(() => {
        if (this.grpcStatus !== undefined) this.finish(this.failure());
      });
    stream.on('response', (headers: Headers) => {
      readHeaders(headers);
      finish();
    });
    stream.on('trailers', (headers: Headers) => {
      readHeaders(headers);
      if (this.response.done) finish();
    });
    stream.on('end', finish);
    stream.once('close', () => this.guarded(() => this.finish(this.failure(stream))));
  }

  /** The message is in the first writes; then the stream's own methods are restored. */
  private watchWrites(stream: Stream): void {
    const watched = stream as unknown as Record<'write' | 'end', (...args: unknown[]) => unknown>;
    for (const method of ['write', 'end'] as const) {
      const original = watched[method];
      watched[method] = (...args: unknown[]) => {
        this.guarded(() => {
          if (args[0] instanceof Uint8Array) this.request.read(args[0]);
          if (!this.request.done && method === 'write') return;
          Reflect.deleteProperty(watched, 'write');
          Reflect.deleteProperty(watched, 'end');
          this.describeRequest();
        });
        return Reflect.apply(original, stream, args);
      };
    }
  }

  private describeRequest(): void {
    const { values } = this.request;
    if (values === undefined) return;
    const { operation, collection, database, attributes, filters } = readWireRequest(this.rpc, values);
    this.operation = operation;
    this.attributes = {
      ...this.attributes,
      [ATTR.operation]: operation,
      ...(collection === undefined ? {} : { [ATTR.collection]: collection }),
      ...(database === undefined ? {} : { [ATTR.namespace]: database }),
    };
    this.series ??= this.options.metrics?.started(this.attributes);
    this.span.updateName(this.name()).setAttributes({ ...this.attributes, ...attributes });
    if (this.options.captureFilter && filters.length > 0)
      this.span.setAttribute(ATTR.queryText, filters.join('; '));
  }

  private name(): string {
    const { [ATTR.collection]: collection, [ATTR.namespace]: namespace } = this.attributes;
    return nameOf(this.operation, collection as string, namespace as string, this.server);
  }

  /** The failure that gRPC or HTTP reports; undefined on success. */
  private failure(closed?: Stream): Failure | undefined {
    if (this.grpcStatus === 0) return undefined;
    if (this.grpcStatus === UNIMPLEMENTED) return UNIMPLEMENTED_FAILURE;
    if (this.grpcStatus !== undefined) return failureOfGrpc(this.grpcStatus, this.details);
    if (this.httpStatus !== undefined && this.httpStatus !== 200)
      return failureOfGrpc(statusOfHttp(this.httpStatus), `HTTP ${this.httpStatus}`);
    const deadlineMs = timeoutMs(this.headers['grpc-timeout']);
    const status = statusOfClosedStream({
      rstCode: closed?.rstCode ?? 0,
      isConnectionLost: this.session.destroyed,
      isTimedOut: deadlineMs !== undefined && performance.now() - this.startMs >= deadlineMs - TIMER_SLACK_MS,
    });
    return failureOfGrpc(status, '');
  }

  private finish(transportFailure: Failure | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.series ??= this.options.metrics?.started(this.attributes);
    const { values } = this.response;
    const answer =
      transportFailure === undefined && values !== undefined
        ? readWireResponse(this.rpc, this.operation, values)
        : undefined;
    const failure = transportFailure ?? answer?.failure;
    if (answer !== undefined) this.span.setAttributes(answer.attributes);
    if (failure !== undefined) {
      const outcome: Attributes = { [ATTR.errorType]: failure.errorType };
      if (failure.statusCode !== undefined) outcome[ATTR.statusCode] = failure.statusCode;
      this.attributes = { ...this.attributes, ...outcome };
      this.span.setAttributes(outcome);
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: this.describe(failure.reason) });
    }
    if (!this.isSpanOfGrpc) this.span.end();
    if (this.series !== undefined)
      this.options.metrics?.ended(this.series, this.span, this.startMs, this.attributes, answer?.rows);
  }

  private describe(reason: string): string {
    const { values, truncated } = this.request;
    return reason && shownReason(this.rpc, reason, values, !truncated, this.options.captureFilter);
  }

  private guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      diag.debug('A call of a bundled Milvus SDK could not be read', error);
    }
  }
}

/** gRPC's timer for the deadline may fire a little early, compared with the span's clock. */
const TIMER_SLACK_MS = 20;
const UNAVAILABLE = 14;

/** One traceparent, also where the SDK's own option `trace` has written another. */
function withTraceContext(headers: OutgoingHttpHeaders, span: Span): OutgoingHttpHeaders {
  const carrier: Record<string, string> = {};
  sendContext(trace.setSpan(context.active(), span), carrier, defaultTextMapSetter);
  const sent = { ...headers };
  if (carrier.traceparent !== undefined) delete sent.tracestate;
  return Object.assign(sent, carrier);
}

/** gRPC percent-encodes it. */
function decoded(details: unknown): string {
  const text = typeof details === 'string' ? details : '';
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
