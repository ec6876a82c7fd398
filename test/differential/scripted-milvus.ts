/**
 * A Milvus whose RPCs answer by a script, and which records its calls. The address that a client connects to
 * selects the behaviour, so that requests and headers are the same for all behaviours.
 */
import {
  type handleUnaryCall,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { DataType, getGRPCService } from '@zilliz/milvus2-sdk-node';
import { headersOf } from '../../bench/stub-milvus.ts';

/** The collection that no scripted Milvus has: requests for it are answered CollectionNotExists. */
export const MISSING_COLLECTION = 'missing';

/** Each behaviour and its effect on a client. Connecting succeeds unless stated otherwise. */
export const BEHAVIOURS = {
  success: 'every RPC succeeds',
  'bad status': 'every RPC is answered CollectionNotExists inside a gRPC OK',
  'bad status later': 'as bad status, but DescribeCollection succeeds',
  'invalid argument': 'every RPC fails with the gRPC status INVALID_ARGUMENT',
  unimplemented: 'every RPC fails with the gRPC status UNIMPLEMENTED',
  internal: 'every RPC fails with the gRPC status INTERNAL, which the SDK retries',
  silent: 'no RPC is ever answered, so that each ends at its deadline',
  'refuses connections': 'Connect, too, fails with the gRPC status PERMISSION_DENIED',
} as const;
export type Behaviour = keyof typeof BEHAVIOURS;

export interface ScriptedCall {
  behaviour: Behaviour;
  /** The RPC's name, such as `Search`. */
  rpc: string;
  /**
   * Every header as it came, by lower-case name; more than one value means that it was sent more than once.
   */
  headers: Record<string, string[]>;
  /** The message, decoded; bytes as base64, 64-bit numbers as text, fields that were not sent left out. */
  request: unknown;
}

export interface ScriptedMilvus {
  /** 127.0.0.1:port, without a scheme, by behaviour. */
  addresses: Record<Behaviour, string>;
  /** The calls so far, oldest first. */
  calls(): ScriptedCall[];
  stop(): void;
}

const SUCCESS = { error_code: 'Success', code: 0, reason: '' };
const NOT_EXISTS = {
  error_code: 'CollectionNotExists',
  code: 100,
  reason: 'collection not found[database=default][collection=missing]',
  retriable: false,
  detail: 'collection not found',
};

const INT64_IDS = {
  type: 'Int64',
  field_name: 'id',
  field_id: '100',
  scalars: { long_data: { data: ['1', '2'] } },
};
/** Two vectors of dimension 2, which a transformer of the app may convert. */
const HALVES = {
  type: 'Float16Vector',
  field_name: 'half',
  field_id: '102',
  vectors: { dim: 2, float16_vector: Buffer.from([0, 60, 0, 64, 0, 66, 0, 68]) },
};

const describeCollection = (name: unknown) => ({
  collection_name: name,
  collectionID: '1',
  db_name: 'default',
  shards_num: 1,
  num_partitions: '1',
  consistency_level: 'Bounded',
  created_timestamp: '449000000000000001',
  schema: {
    name,
    fields: [
      { fieldID: '100', name: 'id', is_primary_key: true, data_type: DataType.Int64 },
      {
        fieldID: '101',
        name: 'vector',
        data_type: DataType.FloatVector,
        type_params: [{ key: 'dim', value: '4' }],
      },
      {
        fieldID: '102',
        name: 'half',
        data_type: DataType.Float16Vector,
        nullable: true,
        type_params: [{ key: 'dim', value: '2' }],
      },
    ],
  },
});

const searchResults = {
  results: {
    num_queries: '1',
    top_k: '2',
    scores: [0.9, 0.8],
    ids: { int_id: { data: ['1', '2'] } },
    topks: ['2'],
    primary_field_name: 'id',
    output_fields: ['id', 'half'],
    fields_data: [INT64_IDS, HALVES],
    search_iterator_v2_results: { token: 'scripted', last_bound: 0.5 },
  },
  collection_name: 'books',
  session_ts: '449000000000000002',
};

/** Content of a good answer besides its status, where the SDK needs more than an empty one. */
const CONTENT: Record<string, (request: Record<string, any>) => object> = {
  Connect: () => ({ identifier: '7', server_info: { build_tags: 'v2.6.0', deploy_mode: 'STANDALONE' } }),
  GetVersion: () => ({ version: 'v2.6.0' }),
  CheckHealth: () => ({ isHealthy: true }),
  DescribeCollection: (request) => describeCollection(request.collection_name),
  BatchDescribeCollection: () => ({ responses: [{ status: SUCCESS, ...describeCollection('books') }] }),
  Search: () => searchResults,
  HybridSearch: () => searchResults,
  Query: ({ output_fields = [] }) =>
    output_fields.includes('count(*)')
      ? {
          fields_data: [{ type: 'Int64', field_name: 'count(*)', scalars: { long_data: { data: ['5'] } } }],
        }
      : { output_fields: ['id', 'half'], fields_data: [INT64_IDS, HALVES], collection_name: 'books' },
  Insert: (request) => ({
    IDs: { int_id: { data: ['1'] } },
    succ_index: [0],
    insert_cnt: String(request.num_rows),
  }),
  Upsert: (request) => ({ IDs: { int_id: { data: ['1'] } }, upsert_cnt: String(request.num_rows) }),
  Delete: () => ({ delete_cnt: '2' }),
  ShowCollections: () => ({
    collection_names: ['books'],
    collection_ids: ['1'],
    created_utc_timestamps: ['1'],
    inMemory_percentages: ['100'],
  }),
  ShowPartitions: () => ({
    partition_names: ['_default'],
    partitionIDs: ['2'],
    created_utc_timestamps: ['1'],
    inMemory_percentages: ['100'],
  }),
  GetCollectionStatistics: () => ({ stats: [{ key: 'row_count', value: '5' }] }),
  GetPartitionStatistics: () => ({ stats: [{ key: 'row_count', value: '5' }] }),
  DescribeIndex: () => ({ index_descriptions: [{ index_name: 'flat', field_name: 'vector' }] }),
  GetLoadingProgress: () => ({ progress: '100' }),
  Flush: () => ({ coll_segIDs: { books: { data: ['3'] } } }),
  FlushAll: () => ({ flush_all_ts: '449000000000000003' }),
  GetFlushState: () => ({ flushed: true }),
  GetFlushAllState: () => ({ flushed: true }),
  GetMetrics: () => ({ response: '{"nodes":1}' }),
  ListResourceGroups: () => ({ resource_groups: ['__default_resource_group', 'spare'] }),
  DescribeResourceGroup: () => ({ resource_group: { name: 'spare', capacity: 1 } }),
  SelectRole: () => ({ results: [{ role: { name: 'reader' } }] }),
  SelectGrant: () => ({
    entities: [
      {
        role: { name: 'reader' },
        object: { name: 'Collection' },
        object_name: '*',
        grantor: { privilege: { name: 'Search' } },
      },
    ],
  }),
  ListDatabases: () => ({ db_names: ['default'], created_timestamp: ['1'], db_ids: ['1'] }),
};

type Definition = MethodDefinition<any, any> & {
  responseType: { type: { name: string; field: { name: string }[] } };
};

const services = ['MilvusService', 'ClientTelemetryService'].map((serviceName) => {
  // No defaults: a field that was not sent must not look sent.
  const { service } = getGRPCService(
    { serviceName: `milvus.proto.milvus.${serviceName}` },
    { keepCase: true, longs: String, enums: String, bytes: String, oneofs: true },
  ) as unknown as { service: Record<string, Definition> };
  return Object.entries(service).filter(
    ([, { requestStream, responseStream }]) => !requestStream && !responseStream,
  );
});

/** Starts one server per behaviour, each on a free port. */
export async function startScriptedMilvus(): Promise<ScriptedMilvus> {
  const calls: ScriptedCall[] = [];
  const servers: Server[] = [];
  const addresses = {} as Record<Behaviour, string>;
  for (const behaviour of Object.keys(BEHAVIOURS) as Behaviour[]) {
    const server = new Server({ 'grpc.max_receive_message_length': -1 });
    for (const unary of services) {
      server.addService(
        Object.fromEntries(unary),
        Object.fromEntries(
          unary.map(([rpc, definition]) => [
            rpc,
            scripted(behaviour, rpc, definition, (call) => calls.push(call)),
          ]),
        ),
      );
    }
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    servers.push(server);
    addresses[behaviour] = `127.0.0.1:${port}`;
  }
  return {
    addresses,
    calls: () => [...calls],
    // Not the graceful tryShutdown: it waits for clients that keep their connection open.
    stop: () => servers.forEach((server) => void server.forceShutdown()),
  };
}

function scripted(
  behaviour: Behaviour,
  rpc: string,
  definition: Definition,
  record: (call: ScriptedCall) => void,
): handleUnaryCall<any, any> {
  return (call: ServerUnaryCall<any, any>, respond: sendUnaryData<any>) => {
    const { request } = call;
    record({ behaviour, rpc, headers: headersOf(call.metadata.toJSON()), request });
    const succeed = () => respond(null, answer(definition, SUCCESS, CONTENT[rpc]?.(request)));
    // flushed: else the SDK would poll forever.
    const refuse = () => respond(null, answer(definition, NOT_EXISTS, { flushed: true }));
    if (rpc === 'ClientHeartbeat') return succeed();
    if (rpc === 'Connect') {
      if (behaviour !== 'refuses connections') return succeed();
      return respond({ code: status.PERMISSION_DENIED, details: 'who are you?' });
    }
    switch (behaviour) {
      case 'silent':
        return;
      case 'bad status':
        return refuse();
      case 'bad status later':
        return rpc === 'DescribeCollection' ? succeed() : refuse();
      case 'invalid argument':
        return respond({ code: status.INVALID_ARGUMENT, details: `${rpc} does not like it` });
      case 'unimplemented':
        return respond({ code: status.UNIMPLEMENTED, details: `unknown method ${rpc}` });
      case 'internal':
        return respond({ code: status.INTERNAL, details: 'try again' });
      default:
        return namesMissingCollection(request) ? refuse() : succeed();
    }
  };
}

function answer({ responseType }: Definition, given: object, content: object = {}): object {
  const { name, field } = responseType.type;
  if (name === 'Status') return given;
  const statusField = field.find((one) => one.name === 'status' || one.name === 'alter_status');
  return { ...content, ...(statusField === undefined ? {} : { [statusField.name]: given }) };
}

const namesMissingCollection = (request: object): boolean =>
  Object.values(request).flat().includes(MISSING_COLLECTION);
