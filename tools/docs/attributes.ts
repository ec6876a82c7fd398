/** Meaning of attributes and metrics, for docs/semantic-conventions.md. A test compares it with the code. */
import {
  ATTR_RPC_METHOD,
  ATTR_RPC_STATUS_CODE,
  ATTR_RPC_SYSTEM_NAME,
  METRIC_DB_CLIENT_OPERATION_DURATION,
} from '@opentelemetry/semantic-conventions';
import { ATTR } from '../../src/milvus/attributes.ts';
import {
  DURATION_BOUNDARIES,
  METRIC_ACTIVE_OPERATIONS,
  METRIC_RETRIES,
  METRIC_RETURNED_ROWS,
  ROWS_BOUNDARIES,
} from '../../src/milvus/metrics.ts';
import { ATTR_POOL_NAME, ATTR_POOL_STATE, POOL_METRIC } from '../../src/milvus/pool-metrics.ts';
import { ATTR_COMPONENT_NAME, ATTR_COMPONENT_TYPE, QUEUE_METRIC } from '../../src/trace/queue-metrics.ts';

export interface AttributeDocumentation {
  type: 'string' | 'string[]' | 'int' | 'double';
  example: string | number | string[];
  /** Its meaning, and when it is set. */
  when: string;
  level: 'always' | 'per operation' | 'on failure' | 'opt-in';
  /** Set when the span starts, so that samplers can use it. */
  atCreation?: true;
}

export const ATTRIBUTE_DOCUMENTATION: Readonly<Record<keyof typeof ATTR, AttributeDocumentation>> = {
  system: {
    type: 'string',
    example: 'milvus',
    when: 'The database.',
    level: 'always',
    atCreation: true,
  },
  operation: {
    type: 'string',
    example: 'search',
    when: "The SDK's method; a hybrid search is `hybridSearch`.",
    level: 'always',
    atCreation: true,
  },
  collection: {
    type: 'string',
    example: 'quick_setup',
    when: 'The collection, when the request names one.',
    level: 'per operation',
    atCreation: true,
  },
  namespace: {
    type: 'string',
    example: 'default',
    when: "The database of the call: the request's, else the client's at the time the RPC is sent.",
    level: 'always',
    atCreation: true,
  },
  queryText: {
    type: 'string',
    example: 'color == "red"',
    when: 'The filter expression, when OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER is true.',
    level: 'opt-in',
  },
  returnedRows: {
    type: 'int',
    example: 10,
    when: 'Hits of a search (the sum over its vectors), or rows of a query or get.',
    level: 'per operation',
  },
  statusCode: {
    type: 'string',
    example: '100',
    when: "Milvus' code, the name of the gRPC status, or the HTTP status.",
    level: 'on failure',
  },
  errorType: {
    type: 'string',
    example: 'CollectionNotFound',
    when: "The name of Milvus' code, or the code itself; else the name of the gRPC status, or the class of the thrown error.",
    level: 'on failure',
  },
  serverAddress: {
    type: 'string',
    example: 'milvus.example',
    when: "Host in the client's address, when known.",
    level: 'always',
    atCreation: true,
  },
  serverPort: {
    type: 'int',
    example: 19531,
    when: "Port in the client's address, unless it is 19530.",
    level: 'always',
    atCreation: true,
  },
  partitions: {
    type: 'string[]',
    example: ['2026', '2027'],
    when: 'Partitions, when the request names any.',
    level: 'per operation',
  },
  consistency: {
    type: 'string',
    example: 'Strong',
    when: 'Consistency level, when the request has one.',
    level: 'per operation',
  },
  annsField: {
    type: 'string',
    example: 'embedding',
    when: 'Vector field of a search, when given; for a hybrid search those of its sub-searches, separated by commas.',
    level: 'per operation',
  },
  searchNq: {
    type: 'int',
    example: 1,
    when: 'Query vectors of a search; for a hybrid search those of its first sub-search.',
    level: 'per operation',
  },
  searchLimit: {
    type: 'int',
    example: 10,
    when: 'Limit of a search, for each vector, when given.',
    level: 'per operation',
  },
  queryLimit: {
    type: 'int',
    example: 100,
    when: 'Limit of a query, when given.',
    level: 'per operation',
  },
  requestRows: {
    type: 'int',
    example: 1000,
    when: 'Rows in the request of an insert or upsert.',
    level: 'per operation',
  },
  clientRequestId: {
    type: 'string',
    example: '6f1c0a4e',
    when: "The request's `client_request_id`, which finds the call in Milvus' access log.",
    level: 'per operation',
  },
  insertCount: {
    type: 'int',
    example: 1000,
    when: 'Rows that the server inserted.',
    level: 'per operation',
  },
  upsertCount: {
    type: 'int',
    example: 1000,
    when: 'Rows that the server upserted.',
    level: 'per operation',
  },
  deleteCount: {
    type: 'int',
    example: 3,
    when: 'Rows that the server deleted.',
    level: 'per operation',
  },
  cost: {
    type: 'double',
    example: 21,
    when: "Cost of the call in the server's unit, when the server reports it.",
    level: 'per operation',
  },
  retries: {
    type: 'int',
    example: 2,
    when: 'Retries of its RPCs, when there were any.',
    level: 'per operation',
  },
};

/** Attributes of the span of an RPC, by name. */
export const RPC_ATTRIBUTE_DOCUMENTATION: Readonly<Record<string, AttributeDocumentation>> = {
  [ATTR_RPC_SYSTEM_NAME]: {
    type: 'string',
    example: 'grpc',
    when: 'The RPC system.',
    level: 'always',
    atCreation: true,
  },
  [ATTR_RPC_METHOD]: {
    type: 'string',
    example: 'milvus.proto.milvus.MilvusService/Search',
    when: 'The service and its RPC.',
    level: 'always',
    atCreation: true,
  },
  [ATTR.serverAddress]: ATTRIBUTE_DOCUMENTATION.serverAddress,
  [ATTR.serverPort]: ATTRIBUTE_DOCUMENTATION.serverPort,
  [ATTR_RPC_STATUS_CODE]: {
    type: 'string',
    example: 'OK',
    when: 'Name of the gRPC status, when the call has one.',
    level: 'always',
  },
  [ATTR.errorType]: {
    type: 'string',
    example: 'UNAVAILABLE',
    when: 'Name of the gRPC status, when it is not OK.',
    level: 'on failure',
  },
};

export const METRIC_ATTRIBUTES = (Object.keys(ATTRIBUTE_DOCUMENTATION) as (keyof typeof ATTR)[]).filter(
  (key) =>
    ATTRIBUTE_DOCUMENTATION[key].atCreation === true || ATTRIBUTE_DOCUMENTATION[key].level === 'on failure',
);
const [OF_OPERATION, AT_CREATION] = [
  METRIC_ATTRIBUTES.map((key) => ATTR[key]),
  METRIC_ATTRIBUTES.filter((key) => ATTRIBUTE_DOCUMENTATION[key].atCreation).map((key) => ATTR[key]),
];

export interface MetricDocumentation {
  name: string;
  instrument: 'histogram' | 'counter' | 'up-down counter';
  unit: string;
  /** Of a histogram. */
  boundaries?: readonly number[];
  when: string;
  /** All possible attributes. */
  attributes: readonly string[];
}

export const OPERATION_METRICS: readonly MetricDocumentation[] = [
  {
    name: METRIC_DB_CLIENT_OPERATION_DURATION,
    instrument: 'histogram',
    unit: 's',
    boundaries: DURATION_BOUNDARIES,
    when: 'Each operation: the duration of its span.',
    attributes: OF_OPERATION,
  },
  {
    name: METRIC_RETURNED_ROWS,
    instrument: 'histogram',
    unit: '{row}',
    boundaries: ROWS_BOUNDARIES,
    when: 'Each search, query and get that succeeds: its `db.response.returned_rows`.',
    attributes: AT_CREATION,
  },
  {
    name: METRIC_ACTIVE_OPERATIONS,
    instrument: 'up-down counter',
    unit: '{operation}',
    when: 'Operations in flight: started and not ended.',
    attributes: AT_CREATION,
  },
  {
    name: METRIC_RETRIES,
    instrument: 'counter',
    unit: '{retry}',
    when: 'RPCs that the SDK sends again.',
    attributes: AT_CREATION,
  },
];

export const POOL_METRICS: readonly MetricDocumentation[] = [
  {
    name: POOL_METRIC.count,
    instrument: 'up-down counter',
    unit: '{connection}',
    when: 'Connections that a call uses, and idle ones.',
    attributes: [ATTR_POOL_NAME, ATTR_POOL_STATE],
  },
  {
    name: POOL_METRIC.limit,
    instrument: 'up-down counter',
    unit: '{connection}',
    when: 'Connections that may be open at a time: `pool.max` of the clients, 10 each by default.',
    attributes: [ATTR_POOL_NAME],
  },
  {
    name: POOL_METRIC.pending,
    instrument: 'up-down counter',
    unit: '{request}',
    when: 'RPCs that wait for a connection.',
    attributes: [ATTR_POOL_NAME],
  },
];

const [PROCESSOR, EXPORTER] = [
  [ATTR_COMPONENT_TYPE, ATTR_COMPONENT_NAME],
  [ATTR_COMPONENT_TYPE, ATTR_COMPONENT_NAME, ATTR.serverAddress, ATTR.serverPort],
];

export const QUEUE_METRICS: readonly MetricDocumentation[] = [
  {
    name: QUEUE_METRIC.size,
    instrument: 'up-down counter',
    unit: '{span}',
    when: 'Spans that have ended and wait for their first attempt.',
    attributes: PROCESSOR,
  },
  {
    name: QUEUE_METRIC.capacity,
    instrument: 'up-down counter',
    unit: '{span}',
    when: 'Maximum number of spans that are kept, queued and in flight together: OTEL_BSP_MAX_QUEUE_SIZE.',
    attributes: PROCESSOR,
  },
  {
    name: QUEUE_METRIC.processed,
    instrument: 'counter',
    unit: '{span}',
    when: 'Spans passed to the exporter. With `error.type`: spans lost before; `queue_full` means that the queue was full.',
    attributes: [...PROCESSOR, ATTR.errorType],
  },
  {
    name: QUEUE_METRIC.inFlight,
    instrument: 'up-down counter',
    unit: '{span}',
    when: 'Spans in a request, or waiting for another attempt.',
    attributes: EXPORTER,
  },
  {
    name: QUEUE_METRIC.exported,
    instrument: 'counter',
    unit: '{span}',
    when: 'Spans that the collector accepted. With `error.type`: lost spans; `rejected` means in a partial success, other values are the status of the failure.',
    attributes: [...EXPORTER, ATTR.errorType],
  },
];

/** Attributes of the conventions, and of gRPC's spans, that are not set, with the reason. */
export const ATTRIBUTES_NOT_SET: Readonly<Record<string, string>> = {
  'db.query.summary': 'The name of the span has the same content: operation and collection.',
  'db.query.parameter.<key>': 'Values of filter templates are user data.',
  'db.operation.batch.size':
    'No call of the SDK is a batch of operations; the conventions exclude the rows of one insert. See `milvus.request.rows`.',
  'db.stored_procedure.name': 'Milvus has none.',
  'network.peer.address':
    'The client connects to a proxy, not to the nodes that hold the data, and the address of the proxy is `server.address`.',
  'network.peer.port': 'As above.',
};

/** Methods of HttpClient, which are all operations. Source: dist/milvus/http/*.js, SDK 3.0.6. */
export const HTTP_METHODS: readonly string[] = [
  'search',
  'hybridSearch',
  'query',
  'get',
  'insert',
  'upsert',
  'delete',
  'createDatabase',
  'listDatabases',
  'describeDatabase',
  'dropDatabase',
  'alterDatabaseProperties',
  'dropDatabaseProperties',
  'createCollection',
  'describeCollection',
  'dropCollection',
  'addCollectionField',
  'alterCollectionProperties',
  'alterCollectionFieldProperties',
  'dropCollectionProperties',
  'listCollections',
  'hasCollection',
  'renameCollection',
  'getCollectionStatistics',
  'flushCollection',
  'loadCollection',
  'releaseCollection',
  'getCollectionLoadState',
  'compactCollection',
  'getCompactionState',
  'refreshLoad',
  'createAlias',
  'listAliases',
  'describeAlias',
  'dropAlias',
  'alterAlias',
  'createImportJobs',
  'listImportJobs',
  'getImportJobProgress',
  'createIndex',
  'listIndexes',
  'describeIndex',
  'dropIndex',
  'alterIndexProperties',
  'dropIndexProperties',
  'createPartition',
  'listPartitions',
  'hasPartition',
  'getPartitionStatistics',
  'loadPartitions',
  'releasePartitions',
  'dropPartition',
  'createUser',
  'listUsers',
  'describeUser',
  'updateUserPassword',
  'dropUser',
  'grantRoleToUser',
  'revokeRoleFromUser',
  'createRole',
  'listRoles',
  'describeRole',
  'dropRole',
  'grantPrivilegeToRole',
  'revokePrivilegeFromRole',
];
