/**
 * The calls of Milvus' gRPC service: the operation of each, and the numbers of the fields that are read from
 * its request and answer. Source: milvus.proto, common.proto and schema.proto of milvus-io/milvus-proto, as
 * @zilliz/milvus2-sdk-node 3.0.6 has them in dist/milvus/proto-json. test/unit/message-fields.test.ts
 * compares this file with them.
 */
import type { Field, MessageFields, Values } from './message-reader.ts';

export interface Rpc {
  /** The SDK's method, where its name differs from the RPC's; a function when it depends on the request. */
  operation?: string | ((request: Values) => string);
  request: MessageFields;
  response: MessageFields;
  /** The SDK also makes this call internally, before the app's call. */
  internal?: true;
  /** The request holds secrets, which are not read, so a reason of the server is never shown. */
  hasSecrets?: true;
  /** The request always has a consistency level: an absent field means 0, Strong. */
  hasLevel?: true;
}

const text = (name: string): Field => ({ name, as: 'text' });
const texts = (name: string): Field => ({ name, as: 'texts' });
const number = (name: string): Field => ({ name, as: 'number' });
const message = (name: string, fields: MessageFields): Field => ({ name, as: 'message', fields });

/** common.proto, KeyValuePair; an entry of a map has the same numbers. */
const KEY_VALUE: MessageFields = { 1: text('key'), 2: text('value') };
const pairs = (name: string): Field => ({ name, as: 'messages', fields: KEY_VALUE });

const DATABASE: MessageFields = { 2: text('db_name') };
/** The first fields of nearly all requests. */
const COLLECTION: MessageFields = { ...DATABASE, 3: text('collection_name') };
const PARTITION: MessageFields = { ...COLLECTION, 4: text('partition_name') };
const PARTITIONS: MessageFields = { ...COLLECTION, 4: texts('partition_names') };
const LOADING: MessageFields = {
  2: text('collection_name'),
  3: texts('partition_names'),
  4: text('db_name'),
};
const FLUSH_STATE: MessageFields = { 3: text('db_name'), 4: text('collection_name') };
const SNAPSHOT = FLUSH_STATE;
/** Requests with collection and database after the subject of the call. */
const LATE: MessageFields = { 4: text('collection_name'), 5: text('db_name') };

/** common.proto, Status. */
const STATUS: MessageFields = {
  1: number('error_code'),
  2: text('reason'),
  3: number('code'),
  6: pairs('extra_info'),
};
/** An answer with a status, which has the same field number in all answers. */
const ANSWER: MessageFields = { 1: message('status', STATUS) };
const NOTHING: MessageFields = {};

/** milvus.proto, MutationResult. */
const MUTATION: MessageFields = {
  ...ANSWER,
  6: number('insert_cnt'),
  7: number('delete_cnt'),
  8: number('upsert_cnt'),
};

/** Values of templates, primary keys, rerankers, a highlighter: only their presence is read. */
const templates: Field = { name: 'expr_template_values', as: 'entries' };
const NO_KEYS: Field = { name: 'ids', as: 'message' };
const RERANKERS: Field = { name: 'function_score', as: 'message' };
const HIGHLIGHTER: Field = { name: 'highlighter', as: 'message' };

/** common.proto, PlaceholderGroup: the vectors or texts of a search, of which only the type is read. */
const PLACEHOLDER_GROUP: MessageFields = {
  1: { name: 'placeholders', as: 'messages', fields: { 2: number('type') } },
};
/** common.proto, PlaceholderType. */
export const VARCHAR = 21;

const SEARCH: MessageFields = {
  ...PARTITIONS,
  5: text('dsl'),
  6: message('placeholder_group', PLACEHOLDER_GROUP),
  8: texts('output_fields'),
  9: pairs('search_params'),
  12: number('nq'),
  14: number('consistency_level'),
  15: number('use_default_consistency'),
  18: templates,
  19: RERANKERS,
  21: HIGHLIGHTER,
  22: NO_KEYS,
};
const HYBRID_SEARCH: MessageFields = {
  ...PARTITIONS,
  5: { name: 'requests', as: 'messages', fields: SEARCH },
  6: pairs('rank_params'),
  10: texts('output_fields'),
  11: number('consistency_level'),
  12: number('use_default_consistency'),
  13: RERANKERS,
};
const QUERY: MessageFields = {
  ...COLLECTION,
  4: text('expr'),
  5: texts('output_fields'),
  6: texts('partition_names'),
  9: pairs('query_params'),
  11: number('consistency_level'),
  12: number('use_default_consistency'),
  13: templates,
};
const ROWS: MessageFields = { ...PARTITION, 7: number('num_rows') };

/** schema.proto, SearchResultData: the hits of each query vector. */
const SEARCH_ANSWER: MessageFields = {
  ...ANSWER,
  2: message('results', { 6: { name: 'topks', as: 'sum' } }),
};

const column = (element: Omit<Field, 'name'>): Field =>
  message('column', { 1: { name: 'rows', ...element } });
const VARINTS = { as: 'varints' } as const;
const ENTRIES = { as: 'entries' } as const;
const fixed = (elementBytes: number) => ({ as: 'fixed', elementBytes }) as const;
/**
 * schema.proto, ScalarField: the number of elements of a column, by its type. The answer of a query always
 * has a column of scalars, the primary key; vectors are not read.
 */
const SCALARS: MessageFields = {
  1: column(fixed(1)),
  2: column(VARINTS),
  3: column(VARINTS),
  4: column(fixed(4)),
  5: column(fixed(8)),
  6: column(ENTRIES),
  7: column(ENTRIES),
  8: column(ENTRIES),
  9: column(ENTRIES),
};
/** schema.proto, FieldData: a nullable column has one element per row in `valid_data`. */
const QUERY_ANSWER: MessageFields = {
  ...ANSWER,
  2: {
    name: 'columns',
    as: 'messages',
    fields: { 3: message('scalars', SCALARS), 7: { name: 'valid', as: 'fixed', elementBytes: 1 } },
  },
};

/** `delete_keys` of a request to alter properties. */
const altering = (fields: MessageFields, deleteKeys: number, alter: string, drop: string): Rpc => ({
  operation: ({ delete_keys }) => (delete_keys === undefined ? alter : drop),
  request: { ...fields, [deleteKeys]: texts('delete_keys') },
  response: STATUS,
});

/** A `type` that selects one of two operations; an absent field means 0, the first one. */
const either = (at: number, first: string, second: string, fields: MessageFields = NOTHING): Rpc => ({
  operation: ({ type }) => (type === 1 ? second : first),
  request: { ...fields, [at]: number('type') },
  response: STATUS,
});

const rpcs = <const Names extends string>(
  request: MessageFields,
  response: MessageFields,
  names: readonly Names[],
) => Object.fromEntries(names.map((name) => [name, { request, response }])) as Record<Names, Rpc>;

export const RPCS: Readonly<Record<string, Rpc>> = {
  // Data
  Search: { request: SEARCH, response: SEARCH_ANSWER, hasLevel: true },
  HybridSearch: { request: HYBRID_SEARCH, response: SEARCH_ANSWER, hasLevel: true },
  Query: {
    operation: ({ output_fields }) =>
      Array.isArray(output_fields) && output_fields.length === 1 && output_fields[0] === 'count(*)'
        ? 'count'
        : 'query',
    request: QUERY,
    response: QUERY_ANSWER,
    hasLevel: true,
  },
  Insert: { request: ROWS, response: MUTATION },
  Upsert: { request: ROWS, response: MUTATION },
  Delete: {
    request: { ...PARTITION, 5: text('expr'), 7: number('consistency_level'), 8: templates },
    response: MUTATION,
  },
  Flush: { request: { ...DATABASE, 3: texts('collection_names') }, response: ANSWER },
  ...rpcs(DATABASE, ANSWER, ['FlushAll']),
  ...rpcs(FLUSH_STATE, ANSWER, ['GetFlushState']),
  ...rpcs({ 3: text('db_name') }, ANSWER, ['GetFlushAllState']),
  ...rpcs(COLLECTION, ANSWER, ['GetPersistentSegmentInfo', 'GetQuerySegmentInfo']),
  LoadBalance: { request: { 5: text('collection_name'), 6: text('db_name') }, response: STATUS },
  GetMetrics: { operation: 'getMetric', request: NOTHING, response: ANSWER },
  Import: {
    operation: 'bulkInsert',
    request: { 1: text('collection_name'), 2: text('partition_name'), 7: text('db_name') },
    response: ANSWER,
  },
  ...rpcs(NOTHING, ANSWER, ['GetImportState']),
  ...rpcs({ 1: text('collection_name'), 3: text('db_name') }, ANSWER, ['ListImportTasks']),
  // Database
  ...rpcs(DATABASE, STATUS, ['CreateDatabase', 'DropDatabase']),
  ...rpcs(DATABASE, ANSWER, ['DescribeDatabase']),
  ...rpcs(NOTHING, ANSWER, ['ListDatabases']),
  AlterDatabase: altering(DATABASE, 5, 'alterDatabase', 'dropDatabaseProperties'),
  // Collection
  CreateCollection: {
    request: {
      ...COLLECTION,
      // schema.proto, CollectionSchema.
      4: message('schema', { 12: text('external_spec') }),
      6: number('consistency_level'),
    },
    response: STATUS,
    hasLevel: true,
  },
  ...rpcs(COLLECTION, STATUS, [
    'DropCollection',
    'LoadCollection',
    'ReleaseCollection',
    'AddCollectionField',
    'CreateAlias',
    'AlterAlias',
    'AddCollectionFunction',
    'AlterCollectionFunction',
    'DropCollectionFunction',
  ]),
  AddCollectionStructField: { operation: 'addCollectionField', request: COLLECTION, response: STATUS },
  ...rpcs(COLLECTION, ANSWER, [
    'HasCollection',
    'GetCollectionStatistics',
    'TruncateCollection',
    'ListAliases',
    'AlterCollectionSchema',
    'ListSnapshots',
    'ListRestoreSnapshotJobs',
    'ListRefreshExternalCollectionJobs',
  ]),
  RefreshExternalCollection: { request: COLLECTION, response: ANSWER, hasSecrets: true },
  DescribeCollection: { request: COLLECTION, response: ANSWER, internal: true },
  BatchDescribeCollection: {
    operation: 'batchDescribeCollections',
    request: { 1: text('db_name'), 2: texts('collection_names') },
    response: ANSWER,
  },
  ShowCollections: { request: { ...DATABASE, 5: texts('collection_names') }, response: ANSWER },
  AlterCollection: altering(COLLECTION, 6, 'alterCollectionProperties', 'dropCollectionProperties'),
  AlterCollectionField: {
    operation: 'alterCollectionFieldProperties',
    request: COLLECTION,
    response: STATUS,
  },
  ...rpcs(DATABASE, STATUS, ['RenameCollection', 'DropAlias']),
  ...rpcs(DATABASE, ANSWER, ['DescribeAlias']),
  ManualCompaction: { operation: 'compact', request: LATE, response: ANSWER },
  ...rpcs(NOTHING, ANSWER, ['GetCompactionState', 'GetCompactionStateWithPlans']),
  ...rpcs(LATE, ANSWER, ['GetReplicas']),
  ...rpcs(LOADING, ANSWER, ['GetLoadingProgress', 'GetLoadState']),
  ...rpcs({ 4: text('db_name'), 5: text('collection_name') }, STATUS, ['CreateSnapshot']),
  ...rpcs(SNAPSHOT, STATUS, ['DropSnapshot']),
  ...rpcs(SNAPSHOT, ANSWER, ['DescribeSnapshot', 'RestoreSnapshot', 'PinSnapshotData']),
  ...rpcs(NOTHING, ANSWER, ['GetRestoreSnapshotState', 'GetRefreshExternalCollectionProgress']),
  ...rpcs(NOTHING, STATUS, ['UnpinSnapshotData']),
  // Index
  ...rpcs(COLLECTION, STATUS, ['CreateIndex', 'DropIndex']),
  ...rpcs(COLLECTION, ANSWER, [
    'DescribeIndex',
    'GetIndexStatistics',
    'GetIndexState',
    'GetIndexBuildProgress',
  ]),
  AlterIndex: altering(COLLECTION, 6, 'alterIndexProperties', 'dropIndexProperties'),
  // Partition
  ...rpcs(PARTITION, STATUS, ['CreatePartition', 'DropPartition']),
  ...rpcs(PARTITION, ANSWER, ['HasPartition', 'GetPartitionStatistics']),
  ...rpcs(PARTITIONS, STATUS, ['LoadPartitions', 'ReleasePartitions']),
  ShowPartitions: {
    operation: 'listPartitions',
    request: { ...COLLECTION, 5: texts('partition_names') },
    response: ANSWER,
  },
  // Resource
  ...rpcs(NOTHING, STATUS, [
    'CreateResourceGroup',
    'DropResourceGroup',
    'UpdateResourceGroups',
    'TransferNode',
  ]),
  UpdateReplicateConfiguration: { request: NOTHING, response: STATUS, hasSecrets: true },
  TransferReplica: { request: { 4: text('collection_name'), 6: text('db_name') }, response: STATUS },
  ...rpcs(NOTHING, ANSWER, ['ListResourceGroups', 'DescribeResourceGroup', 'GetReplicateConfiguration']),
  // User
  CreateCredential: { operation: 'createUser', request: NOTHING, response: STATUS, hasSecrets: true },
  UpdateCredential: { operation: 'updateUser', request: NOTHING, response: STATUS, hasSecrets: true },
  DeleteCredential: { operation: 'deleteUser', request: NOTHING, response: STATUS },
  ListCredUsers: { operation: 'listUsers', request: NOTHING, response: ANSWER },
  ...rpcs(NOTHING, STATUS, ['CreateRole', 'AlterRole', 'DropRole']),
  OperateUserRole: either(4, 'addUserToRole', 'removeUserFromRole'),
  SelectRole: {
    operation: ({ role }) => (role === undefined ? 'listRoles' : 'describeRole'),
    request: { 2: message('role', NOTHING) },
    response: ANSWER,
  },
  SelectUser: { operation: 'describeUser', request: NOTHING, response: ANSWER },
  OperatePrivilege: either(3, 'grantPrivilege', 'revokePrivilege'),
  OperatePrivilegeV2: either(4, 'grantPrivilegeV2', 'revokePrivilegeV2', {
    5: text('db_name'),
    6: text('collection_name'),
  }),
  OperatePrivilegeGroup: either(4, 'addPrivilegesToGroup', 'removePrivilegesFromGroup'),
  SelectGrant: { operation: 'listGrants', request: NOTHING, response: ANSWER },
  ...rpcs(NOTHING, STATUS, ['CreatePrivilegeGroup', 'DropPrivilegeGroup', 'RestoreRBAC']),
  ...rpcs(NOTHING, ANSWER, ['ListPrivilegeGroups', 'BackupRBAC']),
  // Server
  Connect: { request: NOTHING, response: ANSWER, internal: true },
  ...rpcs(NOTHING, ANSWER, ['GetVersion', 'CheckHealth', 'ListFileResources']),
  ...rpcs(NOTHING, STATUS, ['AddFileResource', 'RemoveFileResource']),
  RunAnalyzer: {
    request: {
      // Texts.
      3: { name: 'placeholder', as: 'entries' },
      6: text('db_name'),
      7: text('collection_name'),
    },
    response: ANSWER,
  },
};

/** An unknown call is named after its RPC, and none of its fields are read. */
const UNKNOWN: Rpc = { request: NOTHING, response: NOTHING };

export const rpcOf = (name: string): Rpc => (Object.hasOwn(RPCS, name) ? (RPCS[name] as Rpc) : UNKNOWN);

/** common.proto, ErrorCode: the names by which the SDK gives them. */
export const ERROR_CODES: Readonly<Record<number, string>> = {
  0: 'Success',
  1: 'UnexpectedError',
  2: 'ConnectFailed',
  3: 'PermissionDenied',
  4: 'CollectionNotExists',
  5: 'IllegalArgument',
  7: 'IllegalDimension',
  8: 'IllegalIndexType',
  9: 'IllegalCollectionName',
  10: 'IllegalTOPK',
  11: 'IllegalRowRecord',
  12: 'IllegalVectorID',
  13: 'IllegalSearchResult',
  14: 'FileNotFound',
  15: 'MetaFailed',
  16: 'CacheFailed',
  17: 'CannotCreateFolder',
  18: 'CannotCreateFile',
  19: 'CannotDeleteFolder',
  20: 'CannotDeleteFile',
  21: 'BuildIndexError',
  22: 'IllegalNLIST',
  23: 'IllegalMetricType',
  24: 'OutOfMemory',
  25: 'IndexNotExist',
  26: 'EmptyCollection',
  27: 'UpdateImportTaskFailure',
  28: 'CollectionNameNotFound',
  29: 'CreateCredentialFailure',
  30: 'UpdateCredentialFailure',
  31: 'DeleteCredentialFailure',
  32: 'GetCredentialFailure',
  33: 'ListCredUsersFailure',
  34: 'GetUserFailure',
  35: 'CreateRoleFailure',
  36: 'DropRoleFailure',
  37: 'OperateUserRoleFailure',
  38: 'SelectRoleFailure',
  39: 'SelectUserFailure',
  40: 'SelectResourceFailure',
  41: 'OperatePrivilegeFailure',
  42: 'SelectGrantFailure',
  43: 'RefreshPolicyInfoCacheFailure',
  44: 'ListPolicyFailure',
  45: 'NotShardLeader',
  46: 'NoReplicaAvailable',
  47: 'SegmentNotFound',
  48: 'ForceDeny',
  49: 'RateLimit',
  50: 'NodeIDNotMatch',
  51: 'UpsertAutoIDTrue',
  52: 'InsufficientMemoryToLoad',
  53: 'MemoryQuotaExhausted',
  54: 'DiskQuotaExhausted',
  55: 'TimeTickLongDelay',
  56: 'NotReadyServe',
  57: 'NotReadyCoordActivating',
  58: 'CreatePrivilegeGroupFailure',
  59: 'DropPrivilegeGroupFailure',
  60: 'ListPrivilegeGroupsFailure',
  61: 'OperatePrivilegeGroupFailure',
  62: 'SchemaMismatch',
  100: 'DataCoordNA',
  1000: 'DDRequestRace',
};
