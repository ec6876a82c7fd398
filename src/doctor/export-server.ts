/**
 * OTLP over gRPC on a free port of 127.0.0.1. Messages stay bytes; the caller decodes the fields that it
 * needs.
 */
import { type handleUnaryCall, Server, ServerCredentials } from '@grpc/grpc-js';
import { asIs, EXPORT } from '../otlp/grpc-sender.ts';

/** An empty ExportTraceServiceResponse: every span is accepted. */
export const ACCEPTED = Buffer.alloc(0);

export interface ExportServer {
  port: number;
  stop(): void;
}

/**
 * `answer` gets an ExportTraceServiceRequest, and responds with an ExportTraceServiceResponse or a status.
 *
 * @param maxBytes of a request; -1 for any
 * @param accepted paths of other methods, whose requests are accepted unread
 */
export async function startExportServer(
  answer: handleUnaryCall<Buffer, Buffer>,
  credentials = ServerCredentials.createInsecure(),
  maxBytes = -1,
  accepted: readonly string[] = [],
): Promise<ExportServer> {
  const server = new Server({ 'grpc.max_receive_message_length': maxBytes });
  const method = (path: string) => ({
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  });
  const accept: typeof answer = (_, respond) => respond(null, ACCEPTED);
  server.addService({ Export: method(EXPORT.traces) }, { Export: answer });
  for (const path of accepted) server.addService({ Export: method(path) }, { Export: accept });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return { port, stop: () => server.forceShutdown() };
}
