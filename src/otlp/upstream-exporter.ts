/** OTLP by OpenTelemetry's own transports, for the parts of the bundle that bring one. */
import type { Agent } from 'node:http';
import type { Socket } from 'node:net';
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { Settings } from '../config/settings.ts';
import type { SpanBatch } from '../trace/span-batch.ts';
import { EXPORT } from './connection.ts';
import { type Exporter, requestOf } from './exporter.ts';
import { type Rejection, rejectionIn } from './partial-success.ts';
import { signalUrl, tracesProtocol } from './target.ts';

interface TransportOptions {
  /** For HTTP: what makes its connections. */
  agentFactory?: (protocol: string) => Promise<Agent>;
}

/** What a transport's package offers. */
export interface Transport {
  optionsOf(config: { url?: string }, contentType: string): TransportOptions;
  /** The function behind OpenTelemetry's OTLP exporters: the transport below, a serializer above it. */
  createDelegate(
    options: TransportOptions,
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
  const options = optionsOf(
    signalUrl(settings, 'traces'),
    isJson ? 'application/json' : 'application/x-protobuf',
  );
  const { agentFactory } = options;
  if (agentFactory !== undefined)
    options.agentFactory = async (protocol) => holdingNothing(await agentFactory(protocol));
  const delegate = createDelegate(
    options,
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

/** Spans that are on their way must not keep the app from ending: what has no answer then is awaited within the bound of its end. */
function holdingNothing(agent: Agent): Agent {
  const { createConnection, reuseSocket } = agent as Agent & {
    createConnection(...given: unknown[]): Socket | undefined;
  };
  return Object.assign(agent, {
    createConnection: (...given: unknown[]) => createConnection.apply(agent, given)?.unref(),
    reuseSocket(...given: Parameters<Agent['reuseSocket']>) {
      reuseSocket.apply(agent, given);
      (given[0] as Socket).unref();
    },
  });
}
