/**
 * Span attributes from requests and responses of the SDK. Pure functions over any values: a field that is
 * absent or has another type is left out. They read only names, counts and levels, and copy nothing from
 * vectors or rows.
 */
import type { AttributeValue } from '@opentelemetry/api';
import {
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_TEXT,
  ATTR_DB_RESPONSE_STATUS_CODE,
  ATTR_DB_SYSTEM_NAME,
  ATTR_ERROR_TYPE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
} from '@opentelemetry/semantic-conventions';

type Fields = Record<string, unknown>;

export const ATTR = {
  system: ATTR_DB_SYSTEM_NAME,
  operation: ATTR_DB_OPERATION_NAME,
  collection: ATTR_DB_COLLECTION_NAME,
  namespace: ATTR_DB_NAMESPACE,
  queryText: ATTR_DB_QUERY_TEXT,
  // Not imported: the package's entry for attributes in development is a megabyte.
  returnedRows: 'db.response.returned_rows',
  statusCode: ATTR_DB_RESPONSE_STATUS_CODE,
  errorType: ATTR_ERROR_TYPE,
  serverAddress: ATTR_SERVER_ADDRESS,
  serverPort: ATTR_SERVER_PORT,
  partitions: 'milvus.partition.names',
  consistency: 'milvus.consistency_level',
  annsField: 'milvus.anns_field',
  searchNq: 'milvus.search.nq',
  searchLimit: 'milvus.search.limit',
  queryLimit: 'milvus.query.limit',
  requestRows: 'milvus.request.rows',
  clientRequestId: 'milvus.client_request_id',
  insertCount: 'milvus.response.insert_count',
  upsertCount: 'milvus.response.upsert_count',
  deleteCount: 'milvus.response.delete_count',
  cost: 'milvus.response.cost',
  retries: 'milvus.request.retries',
} as const;

/** Milvus' consistency levels by number. Source: common.proto, ConsistencyLevel. */
const CONSISTENCY_LEVELS = ['Strong', 'Session', 'Bounded', 'Eventually', 'Customized'];

const fields = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? (value as Fields) : {};

const name = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

/** A count that the server sends as a number or, for 64 bits, as text. */
function count(value: unknown): number | undefined {
  if (typeof value !== 'number' && (typeof value !== 'string' || value === '')) return undefined;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** Receives attributes one by one, such as a span. An intermediate object would cost time in each call. */
export interface AttributeSink {
  setAttribute(key: string, value: AttributeValue): unknown;
}

function put(sink: AttributeSink, key: string, value: AttributeValue | undefined): void {
  if (value !== undefined) sink.setAttribute(key, value);
}

/**
 * The collection that a request is about. Most requests have `collection_name`; segment and load-balance
 * calls and the REST client have `collectionName`; flush has `collection_names`, which is used when it has
 * one element. Source: SDK 3.0.6.
 */
export function collectionName(request: unknown): string | undefined {
  const { collection_name, collectionName: camelCase, collection_names } = fields(request);
  const only =
    Array.isArray(collection_names) && collection_names.length === 1 ? collection_names[0] : undefined;
  return name(collection_name) ?? name(camelCase) ?? name(only);
}

/** The database that a request names; most requests use the client's. */
export function databaseName(request: unknown): string | undefined {
  const { db_name, dbName } = fields(request);
  return name(db_name) ?? name(dbName);
}

/**
 * The id that the SDK sends along with the call, for Milvus' access log. Source: getClientRequestId, SDK
 * 2.6.11 on.
 */
export function clientRequestId(request: unknown): string | undefined {
  const given = fields(request);
  return name(given.client_request_id ?? given['client-request-id']);
}

/**
 * Number of query vectors in one search: `data`, `vector` or `vectors` is one vector (number[], a sparse
 * object, bytes, a text) or an array of them. For a hybrid search it is that of the first sub-search; a
 * search by `ids` has one for each. An unknown shape gives undefined. Source: SearchReq, SearchSimpleReq,
 * HybridSearchReq, SDK 2.3.5 to 3.0.6.
 */
export function queryVectors(request: unknown, searches = subSearches(request)): number | undefined {
  if (searches !== undefined) return vectorsIn(fields(searches[0]).data);
  const { data, vector, vectors, ids } = fields(request);
  // By primary keys, the server looks up one vector for each.
  if (Array.isArray(ids) && ids.length > 0) return ids.length;
  return vectorsIn(vectors ?? vector ?? data);
}

function vectorsIn(given: unknown): number | undefined {
  if (typeof given === 'string' || ArrayBuffer.isView(given)) return 1;
  if (!Array.isArray(given)) return typeof given === 'object' && given !== null ? 1 : undefined;
  if (given.length === 0) return undefined;
  const first = given[0];
  if (typeof first === 'number' || typeof first === 'boolean' || first === undefined) return 1;
  // A sparse vector in coordinate form is one vector: [{ index, value }, …].
  if ('index' in fields(first) && 'value' in fields(first)) return 1;
  return given.length;
}

/**
 * A hybrid search carries sub-searches, each with its own `anns_field`, in `data`. Source:
 * isHybridSearchRequest.
 */
export function isHybridSearch(request: unknown): boolean {
  const { data } = fields(request);
  return Array.isArray(data) && Boolean(fields(data[0]).anns_field);
}

/** The sub-searches of a hybrid search: `data`, or `search` of the REST client. */
function subSearches(request: unknown): unknown[] | undefined {
  const { data, search } = fields(request);
  if (isHybridSearch(request)) return data as unknown[];
  return Array.isArray(search) ? search : undefined;
}

const ownVectorField = (request: unknown): string | undefined => {
  const { anns_field, annsField } = fields(request);
  return name(anns_field) ?? name(annsField);
};

function partitions(several: unknown, only: string | undefined): string[] | undefined {
  if (Array.isArray(several) && several.length > 0) {
    return several.every((item) => typeof item === 'string') ? [...several] : undefined;
  }
  return only === undefined ? undefined : [only];
}

/** Optional fields of every request: partitions and consistency level. Most requests have neither. */
export function readRequest(request: unknown, sink: AttributeSink): void {
  const { partition_names, partitionNames, partition_name, partitionName } = fields(request);
  const several = partition_names ?? partitionNames;
  const only = name(partition_name) ?? name(partitionName);
  if (several !== undefined || only !== undefined) put(sink, ATTR.partitions, partitions(several, only));
  const { consistency_level, consistencyLevel } = fields(request);
  const level = consistency_level ?? consistencyLevel;
  put(sink, ATTR.consistency, typeof level === 'number' ? CONSISTENCY_LEVELS[level] : name(level));
}

/** Field and limit may be in `search_params`, as in LangChain; the SDK then reads them only there. */
export function readSearchRequest(request: unknown, sink: AttributeSink): void {
  const { limit, topk, search_params } = fields(request);
  const long = fields(search_params);
  const searches = subSearches(request);
  const field =
    searches === undefined
      ? ownVectorField(request)
      : searches.map((search) => ownVectorField(search) ?? '?').join(',');
  put(sink, ATTR.annsField, name(long.anns_field) ?? field);
  put(sink, ATTR.searchNq, queryVectors(request, searches));
  put(sink, ATTR.searchLimit, count(long.topk) ?? count(limit) ?? count(topk));
}

export function readQueryRequest(request: unknown, sink: AttributeSink): void {
  put(sink, ATTR.queryLimit, count(fields(request).limit));
}

/** Rows of an insert or upsert, read before the call, since the SDK moves `data` to `fields_data`. */
export function readRowsRequest(request: unknown, sink: AttributeSink): void {
  const { fields_data, data } = fields(request);
  const rows = fields_data ?? data;
  if (Array.isArray(rows)) put(sink, ATTR.requestRows, rows.length);
}

/**
 * The filter expressions of a request: `filter`, or `expr` in older code, and those of a hybrid search's
 * sub-searches. Sensitive.
 */
export function filterTexts(request: unknown): readonly string[] {
  const own = filterText(request);
  const searches = subSearches(request);
  if (searches === undefined) return own === undefined ? NONE : [own];
  return [own, ...searches.map(filterText)].filter((text) => text !== undefined);
}

const NONE: readonly string[] = [];

function filterText(request: unknown): string | undefined {
  const { filter, expr } = fields(request);
  return name(filter) ?? name(expr);
}

/**
 * The cost that newer servers report, in the server's own unit: `status.extra_info.report_value`, or `cost`
 * of the REST API.
 */
export function readCost(response: unknown, sink: AttributeSink): void {
  const { status, extra_info, cost } = fields(response);
  const info = fields(fields(status).extra_info ?? extra_info);
  put(sink, ATTR.cost, count(info.report_value) ?? count(cost));
}

/** Hits of a search: `results` is Hit[] for one query vector, Hit[][] for several. No hit is read. */
export const searchRows = (response: unknown): number | undefined => hitsIn(fields(response).results);

/**
 * The same for the REST client, which has them in `data`, and makes groups of them when there are several
 * vectors.
 */
export const httpSearchRows = (response: unknown): number | undefined => hitsIn(fields(response).data);

function hitsIn(results: unknown): number | undefined {
  if (!Array.isArray(results)) return undefined;
  return Array.isArray(results[0])
    ? results.reduce<number>((rows, hits) => rows + (Array.isArray(hits) ? hits.length : 0), 0)
    : results.length;
}

/** Rows of a query or get. */
export function queryRows(response: unknown): number | undefined {
  const { data } = fields(response);
  return Array.isArray(data) ? data.length : undefined;
}

export function readInsertResponse(response: unknown, sink: AttributeSink): void {
  put(sink, ATTR.insertCount, count(fields(response).insert_cnt));
}

export function readUpsertResponse(response: unknown, sink: AttributeSink): void {
  put(sink, ATTR.upsertCount, count(fields(response).upsert_cnt));
}

export function readDeleteResponse(response: unknown, sink: AttributeSink): void {
  put(sink, ATTR.deleteCount, count(fields(response).delete_cnt));
}

/** Answers of the REST API carry their counts in `data`. Source: types/Http.d.ts, SDK 3.0.6. */
export function readHttpCounts(response: unknown, sink: AttributeSink): void {
  const { insertCount, upsertCount, deleteCount } = fields(fields(response).data);
  put(sink, ATTR.insertCount, count(insertCount));
  put(sink, ATTR.upsertCount, count(upsertCount));
  put(sink, ATTR.deleteCount, count(deleteCount));
}

/** Host and port of a Milvus server, as attributes. */
export interface ServerAddress {
  address: string;
  /** Undefined when it is Milvus' own default, 19530. */
  port: number | undefined;
}

const MILVUS_PORT = 19530;

/** `address:port`, for the name of a span. */
export function serverTarget({ address, port = MILVUS_PORT }: ServerAddress): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/**
 * Parses the address that a client was created with; scheme, credentials, port and path are optional.
 * Undefined for an empty address.
 *
 * @param defaultPort the client's port for an address without one.
 */
export function parseServerAddress(given: string, defaultPort: number): ServerAddress | undefined {
  const bare = given
    .replace(/^[a-z]*:\/\//i, '')
    // Up to the last @: a password that was not encoded may hold @ and /.
    .replace(/^.*@/, '')
    .replace(/\/.*$/, '');
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(bare);
  const host = match?.[1]?.replace(/^\[|\]$/g, '');
  if (!host) return undefined;
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  return { address: host, port: port === MILVUS_PORT ? undefined : port };
}
