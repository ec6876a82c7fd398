/**
 * An app whose bundle has the SDK and gRPC inside: no hook sees its modules. What is left to see is the HTTP/2 requests
 * of gRPC: each call of Milvus gets a span and the trace context there. A part of its own, loaded when it is needed.
 */
import http2, { type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2';
import { syncBuiltinESMExports } from 'node:module';
import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { isTracingSuppressed } from '@opentelemetry/core';
import { VERSION } from '../version.ts';

// Heartbeats belong to nobody's request, and are a service of their own.
const SERVICE_PATH = '/milvus.proto.milvus.MilvusService/';
const MILVUS_PORT = 19530;

/** Before anybody makes a connection: sessions that are open already stay untraced. */
export function traceHttp2Calls(): void {
  const { connect } = http2;
  http2.connect = function (this: unknown, ...args: Parameters<typeof connect>) {
    const session = connect.apply(this, args);
    const { request } = session;
    session.request = function (this: ClientHttp2Session, headers, ...rest) {
      let span: Span | undefined;
      let sent = headers;
      try {
        span = startSpan(headers as OutgoingHttpHeaders | undefined);
        if (span !== undefined) sent = withTraceContext(headers as OutgoingHttpHeaders, span);
      } catch {
        // The call goes on as it is.
      }
      let stream: ReturnType<typeof request>;
      try {
        stream = request.call(this, sent, ...rest);
      } catch (error) {
        span?.setStatus({ code: SpanStatusCode.ERROR }).end();
        throw error;
      }
      if (span !== undefined) endWith(stream, span);
      return stream;
    };
    return session;
  } as typeof connect;
  syncBuiltinESMExports();
}

function startSpan(headers: OutgoingHttpHeaders | undefined): Span | undefined {
  const path = headers?.[':path'];
  if (typeof path !== 'string' || !path.startsWith(SERVICE_PATH)) return undefined;
  if (isTracingSuppressed(context.active())) return undefined;
  const rpc = path.slice(SERVICE_PATH.length);
  const operation = rpc.charAt(0).toLowerCase() + rpc.slice(1);
  const authority = String(headers?.[':authority'] ?? '');
  const [, host = authority, port] = /^(.*?)(?::(\d+))?$/.exec(authority) ?? [];
  const tracer = trace.getTracer('milvus-otel', VERSION);
  return tracer.startSpan(authority === '' ? operation : `${operation} ${authority}`, {
    kind: SpanKind.CLIENT,
    attributes: {
      'db.system.name': 'milvus',
      'db.operation.name': operation,
      ...(host === '' ? {} : { 'server.address': host }),
      ...(port === undefined || Number(port) === MILVUS_PORT ? {} : { 'server.port': Number(port) }),
    },
  });
}

/** What the app's own gRPC or SDK has set stays. */
function withTraceContext(headers: OutgoingHttpHeaders, span: Span): OutgoingHttpHeaders {
  const carrier: Record<string, string> = {};
  propagation.inject(trace.setSpan(context.active(), span), carrier);
  return { ...headers, ...carrier };
}

/** gRPC's status is in the trailers, or in the headers when there is no message. */
function endWith(stream: ReturnType<ClientHttp2Session['request']>, span: Span): void {
  let status: number | undefined;
  const read = (headers: Record<string, unknown>) => {
    if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status']);
  };
  stream.on('response', read).on('trailers', read);
  stream.once('close', () => {
    if (status !== undefined) span.setAttribute('rpc.grpc.status_code', status);
    if (status !== 0) {
      const reason = status === undefined ? 'cancelled' : String(status);
      span.setAttributes({ 'db.response.status_code': reason, 'error.type': reason });
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
  });
}
