/**
 * The operations of the SDK, as data: method → readers of its request and response. A method that is not
 * listed has no span; each RPC inside it then gets one, named after the RPC.
 *
 * Source: every public method of MilvusClient that makes RPCs, SDK 2.2.24 to 3.0.6. Aliases (hybridSearch,
 * the RBAC aliases, …) are copies of these methods and carry their names.
 */
import {
  type AttributeSink,
  httpSearchRows,
  queryRows,
  readDeleteResponse,
  readHttpCounts,
  readInsertResponse,
  readQueryRequest,
  readRowsRequest,
  readSearchRequest,
  readUpsertResponse,
  searchRows,
} from './attributes.ts';

export interface Operation {
  /** The name in `db.operation.name`, when it differs from the method's. */
  name?: string;
  /** Attributes of the request, read before the call. */
  reads?: (request: unknown, sink: AttributeSink) => void;
  /** A failed RPC is the cause of any later error of the method, whatever its message is. */
  rpcIsCause?: true;
  /** Attributes of the response of a successful call. */
  answers?: (response: unknown, sink: AttributeSink) => void;
  /** Number of rows in the response of a successful call, for an attribute and a metric. */
  rows?: (response: unknown) => number | undefined;
  /** It returns an array of statuses. */
  statuses?: true;
  /** Fields of the request whose values no description may contain, even if filters may be shown. */
  secrets?: readonly string[];
}

const plain: Operation = {};

/** Operations with the same readers, by name. */
const same = <const Names extends string>(names: readonly Names[], operation: Operation = plain) =>
  Object.fromEntries(names.map((name) => [name, operation])) as Record<Names, Operation>;

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  // Data
  // SDK 2.5 looks for a vector field in the description that failed, and complains that there is none.
  search: { reads: readSearchRequest, rows: searchRows, rpcIsCause: true },
  query: { reads: readQueryRequest, rows: queryRows },
  get: { rows: queryRows },
  insert: { reads: readRowsRequest, answers: readInsertResponse },
  upsert: { reads: readRowsRequest, answers: readUpsertResponse },
  delete: { answers: readDeleteResponse },
  deleteEntities: { answers: readDeleteResponse },
  searchIterator: { reads: readSearchRequest },
  queryIterator: { reads: readQueryRequest },
  ...same([
    'count',
    'flush',
    'flushSync',
    'getMetric',
    'getFlushState',
    'flushAll',
    'flushAllSync',
    'getFlushAllState',
    'loadBalance',
    'getQuerySegmentInfo',
    'getPersistentSegmentInfo',
    'bulkInsert',
    'listImportTasks',
    'getImportState',
  ]),
  // Database
  ...same([
    'createDatabase',
    'listDatabases',
    'describeDatabase',
    'dropDatabase',
    'alterDatabase',
    'dropDatabaseProperties',
  ]),
  // Collection
  // A specification of an external source may hold keys of its store.
  ...same(['createCollection', 'refreshExternalCollection'], {
    secrets: ['external_source', 'external_spec'],
  }),
  ...same([
    'addCollectionField',
    'addCollectionFields',
    'hasCollection',
    'showCollections',
    'alterCollection',
    'alterCollectionProperties',
    'dropCollectionProperties',
    'alterCollectionFieldProperties',
    'describeCollection',
    'batchDescribeCollections',
    'getCollectionStatistics',
    'loadCollection',
    'loadCollectionAsync',
    'loadCollectionSync',
    'refreshLoad',
    'releaseCollection',
    'renameCollection',
    'dropCollection',
    'truncateCollection',
    'createAlias',
    'describeAlias',
    'listAliases',
    'dropAlias',
    'alterAlias',
    'compact',
    'getCompactionState',
    'getCompactionStateWithPlans',
    'getReplicas',
    'getLoadingProgress',
    'getLoadState',
    'getPkFieldName',
    'getPkFieldType',
    'getPkField',
    'alterCollectionSchema',
    'addFunctionField',
    'dropCollectionField',
    'dropFunctionField',
    'addCollectionFunction',
    'alterCollectionFunction',
    'dropCollectionFunction',
    'getRefreshExternalCollectionProgress',
    'listRefreshExternalCollectionJobs',
    'createSnapshot',
    'dropSnapshot',
    'listSnapshots',
    'describeSnapshot',
    'restoreSnapshot',
    'getRestoreSnapshotState',
    'listRestoreSnapshotJobs',
    'pinSnapshotData',
    'unpinSnapshotData',
  ]),
  // Index
  ...same([
    'createIndex',
    'describeIndex',
    'listIndexes',
    'getIndexState',
    'getIndexBuildProgress',
    'getIndexStatistics',
    'dropIndex',
    'alterIndex',
    'alterIndexProperties',
    'dropIndexProperties',
  ]),
  // Partition
  ...same([
    'createPartition',
    'hasPartition',
    'listPartitions',
    'showPartitions',
    'getPartitionStatistics',
    'loadPartitions',
    'loadPartitionsSync',
    'releasePartitions',
    'dropPartition',
  ]),
  // Resource
  // Addresses and tokens of clusters.
  updateReplicateConfiguration: { secrets: ['clusters'] },
  ...same([
    'getReplicateConfiguration',
    'createResourceGroup',
    'listResourceGroups',
    'describeResourceGroup',
    'updateResourceGroups',
    'dropResourceGroup',
    'transferReplica',
    'transferNode',
  ]),
  dropAllResourceGroups: { statuses: true },
  // User
  createUser: { secrets: ['password'] },
  updateUser: { secrets: ['oldPassword', 'newPassword'] },
  ...same([
    'deleteUser',
    'listUsers',
    'createRole',
    'alterRole',
    'dropRole',
    'addUserToRole',
    'removeUserFromRole',
    'describeRole',
    'listRoles',
    'describeUser',
    'selectRole',
    'selectUser',
    'grantRolePrivilege',
    'revokeRolePrivilege',
    'grantPrivilege',
    'revokePrivilege',
    'selectGrant',
    'listGrants',
    'hasRole',
    'createPrivilegeGroup',
    'dropPrivilegeGroup',
    'listPrivilegeGroups',
    'addPrivilegesToGroup',
    'removePrivilegesFromGroup',
    'grantPrivilegeV2',
    'revokePrivilegeV2',
    'backupRBAC',
    'restoreRBAC',
  ]),
  dropAllRoles: { statuses: true },
  // Server. `connect` itself returns before its RPC ends; _getServerInfo connects.
  _getServerInfo: { name: 'connect' },
  // A Global cluster's client first asks for the topology over HTTP: that is part of connecting.
  _initGlobalConnection: { name: 'connect' },
  ...same([
    'getVersion',
    'checkHealth',
    'runAnalyzer',
    'addFileResource',
    'removeFileResource',
    'listFileResources',
  ]),
};

/**
 * Methods of HttpClient (REST) with secrets, or with further attributes than name and collection. All its
 * other methods are operations too. Source: dist/milvus/http/*.js, SDK 3.0.6.
 */
export const HTTP_OPERATIONS: Readonly<Record<string, Operation>> = {
  search: { reads: readSearchRequest, rows: httpSearchRows },
  hybridSearch: { reads: readSearchRequest, rows: queryRows },
  query: { reads: readQueryRequest, rows: queryRows },
  get: { rows: queryRows },
  insert: { reads: readRowsRequest, answers: readHttpCounts },
  upsert: { reads: readRowsRequest, answers: readHttpCounts },
  delete: { answers: readHttpCounts },
  createUser: { secrets: ['password'] },
  updateUserPassword: { secrets: ['password', 'newPassword'] },
};
