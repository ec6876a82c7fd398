import { parseArgs } from 'node:util';
import {
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { DataType, getGRPCService } from '@zilliz/milvus2-sdk-node';
import { announce } from './side-process.ts';

/** Bench and tests search this collection: an Int64 key `id` and a FloatVector `vector` of dimension 5. */
export const STUB_COLLECTION = 'quick_setup';
export const STUB_DIMENSION = 5;

const SUCCESS = { error_code: 'Success', code: 0, reason: '' };
const HIT_IDS = ['1', '2', '3', '4', '5'];

const int64Column = {
  type: 'Int64',
  field_name: 'id',
  field_id: '100',
  scalars: { long_data: { data: HIT_IDS } },
};

/** What each method answers, in the shape of the SDK's protocol definition; a function reads the request. */
const ANSWERS: Record<string, object | ((request: any) => object)> = {
  Connect: {
    status: SUCCESS,
    identifier: '1',
    server_info: { build_tags: 'v2.5.11', deploy_mode: 'STANDALONE' },
  },
  GetVersion: { status: SUCCESS, version: 'v2.5.11' },
  CheckHealth: { status: SUCCESS, isHealthy: true },
  DescribeCollection: (request) => ({
    status: SUCCESS,
    collection_name: request.collection_name,
    collectionID: '1',
    db_name: 'default',
    shards_num: 1,
    num_partitions: '1',
    consistency_level: 'Bounded',
    schema: {
      name: request.collection_name,
      fields: [
        { fieldID: '100', name: 'id', is_primary_key: true, data_type: DataType.Int64 },
        {
          fieldID: '101',
          name: 'vector',
          data_type: DataType.FloatVector,
          type_params: [{ key: 'dim', value: String(STUB_DIMENSION) }],
        },
      ],
    },
  }),
  Search: {
    status: SUCCESS,
    collection_name: STUB_COLLECTION,
    session_ts: '1',
    results: {
      num_queries: '1',
      top_k: '5',
      scores: [0.9, 0.8, 0.7, 0.6, 0.5],
      ids: { int_id: { data: HIT_IDS } },
      topks: ['5'],
      primary_field_name: 'id',
      output_fields: ['id'],
      fields_data: [int64Column],
      all_search_count: '5',
    },
  },
  Query: {
    status: SUCCESS,
    collection_name: STUB_COLLECTION,
    output_fields: ['id'],
    primary_field_name: 'id',
    session_ts: '1',
    fields_data: [int64Column],
  },
  Insert: (request) => ({
    status: SUCCESS,
    IDs: { int_id: { data: Array.from({ length: request.num_rows }, (_, row) => String(row + 1)) } },
    succ_index: Array.from({ length: request.num_rows }, (_, row) => row),
    acknowledged: true,
    insert_cnt: String(request.num_rows),
    timestamp: '1',
  }),
};

export interface StubCall {
  /** The RPC's name, such as `Search`. */
  method: string;
  /** Every header as it came, by lower-case name; more than one value means that it was sent more than once. */
  metadata: Record<string, string[]>;
}

export interface StubMilvus {
  /** 127.0.0.1:port, without a scheme. */
  address: string;
  /** The calls so far, oldest first; always empty unless `record` was asked for. */
  calls(): StubCall[];
  stop(): Promise<void>;
}

/**
 * A gRPC server that speaks Milvus' protocol as the installed SDK defines it, and answers Connect, GetVersion,
 * CheckHealth, DescribeCollection, Search, Query and Insert with fixed values, any other call with UNIMPLEMENTED.
 * Fixed answers are encoded once and their requests are not decoded, so that it is never what a measurement waits for.
 * `port` 0 (the default) takes a free one; a busy port rejects, naming it.
 */
export async function startStubMilvus(
  options: { port?: number; record?: boolean } = {},
): Promise<StubMilvus> {
  const calls: StubCall[] = [];
  const server = new Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_concurrent_streams': 100_000,
  });
  for (const serviceName of ['MilvusService', 'ClientTelemetryService']) {
    const { service } = getGRPCService(
      { serviceName: `milvus.proto.milvus.${serviceName}` },
      { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
    ) as unknown as { service: Record<string, MethodDefinition<any, any>> };
    const definitions: Record<string, MethodDefinition<any, any>> = {};
    const handlers: UntypedServiceImplementation = {};
    for (const [method, definition] of Object.entries(service)) {
      if (definition.requestStream || definition.responseStream) continue;
      const answer = ANSWERS[method];
      const fixed =
        answer === undefined || typeof answer === 'function'
          ? undefined
          : definition.responseSerialize(answer as any);
      definitions[method] = fixed
        ? { ...definition, requestDeserialize: asIs, responseSerialize: asIs }
        : definition;
      const handle: handleUnaryCall<any, any> = (call, respond) => {
        if (options.record) calls.push({ method, metadata: headersOf(call.metadata) });
        if (fixed) respond(null, fixed);
        else if (typeof answer === 'function') respond(null, answer(call.request));
        else respond({ code: status.UNIMPLEMENTED, details: `unknown method ${method}` });
      };
      handlers[method] = handle;
    }
    server.addService(definitions, handlers);
  }
  const asked = `127.0.0.1:${options.port ?? 0}`;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(asked, ServerCredentials.createInsecure(), (error, bound) =>
      error
        ? reject(new Error(`The stub Milvus cannot listen on ${asked}: ${error.message}`))
        : resolve(bound),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    calls: () => [...calls],
    // Not the graceful tryShutdown: it waits for clients that keep their connection open.
    stop: async () => server.forceShutdown(),
  };
}

function asIs(message: Buffer): Buffer {
  return message;
}

/** Every header as it came, by lower-case name. */
export function headersOf(metadata: Metadata): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(metadata.toJSON())) {
    const texts = values.map(String);
    // Node's HTTP/2 joins repeated headers with a comma, and a traceparent itself never holds one.
    headers[name] = name === 'traceparent' ? texts.flatMap((text) => text.split(/\s*,\s*/)) : texts;
  }
  return headers;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, help: { type: 'boolean', default: false } },
  });
  if (values.help) {
    console.log('usage: node bench/stub-milvus.ts [--port <n>]');
    console.log('  --port <n>  port to listen on; 0, the default, takes a free one');
  } else {
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      console.error(`--port ${values.port} is not a port: give a whole number from 0 to 65535`);
      process.exit(2);
    }
    const stub = await startStubMilvus({ port });
    if (process.connected) announce(stub.address);
    else console.log(`stub Milvus on ${stub.address}`);
  }
}
