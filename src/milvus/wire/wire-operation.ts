/** Name, attributes and outcome of an operation, from the messages of its gRPC call. Pure functions. */
import type { Attributes, AttributeValue } from '@opentelemetry/api';
import {
  ATTR,
  collectionName,
  databaseName,
  readCost,
  readDeleteResponse,
  readInsertResponse,
  readRequest,
  readUpsertResponse,
} from '../attributes.ts';
import { withoutHidden } from '../hidden-text.ts';
import { hiddenValuesOf, namesIn } from '../hidden-values.ts';
import { type Failure, failureOfResponse } from '../status.ts';
import { ERROR_CODES, rpcOf, VARCHAR } from './message-fields.ts';
import type { Values } from './message-reader.ts';

/** The name of an operation whose request is not known yet. */
export const firstName = (rpc: string): string => {
  const { operation } = rpcOf(rpc);
  return typeof operation === 'string' ? operation : rpc.charAt(0).toLowerCase() + rpc.slice(1);
};

export interface WireRequest {
  operation: string;
  collection: string | undefined;
  database: string | undefined;
  /** Those of this request only. */
  attributes: Attributes;
  /** Sensitive. */
  filters: readonly string[];
}

export function readWireRequest(rpc: string, request: Values): WireRequest {
  const { operation, hasLevel } = rpcOf(rpc);
  const sink = new AttributeList();
  const { use_default_consistency: isDefaultLevel, consistency_level = hasLevel && 0 } = request;
  readRequest({ ...request, consistency_level: isDefaultLevel ? undefined : consistency_level }, sink);
  const searches = rpc === 'HybridSearch' ? listOf(request.requests) : undefined;
  if (rpc === 'Search') readSearch([request], request.search_params, sink);
  if (searches !== undefined) readSearch(searches, request.rank_params, sink);
  if (rpc === 'Query') sink.put(ATTR.queryLimit, numberOf(parameter(request.query_params, 'limit')));
  // 0 is left out on the wire.
  if (rpc === 'Insert' || rpc === 'Upsert') sink.put(ATTR.requestRows, request.num_rows ?? 0);
  return {
    operation: typeof operation === 'function' ? operation(request) : firstName(rpc),
    collection: collectionName(request),
    database: databaseName(request),
    attributes: sink.attributes,
    filters: hiddenValuesOf(request)?.expressions ?? [],
  };
}

/**
 * The server's reason, without its quotations of the request's filters. '' when quotations cannot be found:
 * the message was not read, or it has keys, rows, texts, secrets or other values that are never read.
 *
 * @param isWhole whether no field of the request was left out because of its length.
 * @param captureFilter whether filters may be shown.
 */
export function shownReason(
  rpc: string,
  reason: string,
  request: Values | undefined,
  isWhole: boolean,
  captureFilter: boolean,
): string {
  if (rpcOf(rpc).hasSecrets || valuesOf(request?.schema)?.external_spec !== undefined) return '';
  if (captureFilter) return reason;
  if (request === undefined || !isWhole) return '';
  const searches = listOf(request.requests);
  const all = [request, ...searches];
  if (all.some((message) => UNREAD.some((name) => message[name] !== undefined) || isTextSearch(message)))
    return '';
  const hidden = hiddenValuesOf(request);
  if (hidden === undefined) return reason;
  const fields = all.map(({ search_params }) => parameter(search_params, 'anns_field'));
  return withoutHidden(
    reason,
    [hidden],
    [...all.flatMap(namesIn), ...fields.filter((field) => field !== undefined)],
  );
}

/** Fields that show that a message has such values. */
const UNREAD = ['ids', 'expr_template_values', 'num_rows', 'function_score', 'highlighter', 'placeholder'];

const isTextSearch = ({ placeholder_group }: Values): boolean =>
  listOf(valuesOf(placeholder_group)?.placeholders).some(({ type }) => type === VARCHAR);

/**
 * The limit of a hybrid search is in its ranker's parameters. The vectors counted are those of its first
 * search.
 */
function readSearch(searches: Values[], parameters: unknown, sink: AttributeList): void {
  const fields = searches.map(({ search_params }) => parameter(search_params, 'anns_field') ?? '?');
  if (fields.some((field) => field !== '?')) sink.put(ATTR.annsField, fields.join(','));
  sink.put(ATTR.searchNq, searches[0]?.nq);
  sink.put(ATTR.searchLimit, numberOf(parameter(parameters, 'topk') ?? parameter(parameters, 'limit')));
}

export interface WireResponse {
  failure: Failure | undefined;
  attributes: Attributes;
  /** Number of returned rows; undefined for operations without rows, and after a failure. */
  rows: number | undefined;
}

/** @param operation of the request: a count has no rows. */
export function readWireResponse(rpc: string, operation: string, response: Values): WireResponse {
  const named = withNames(response);
  const failure = failureOfResponse(named);
  if (failure !== undefined) return { failure, attributes: {}, rows: undefined };
  const sink = new AttributeList();
  const isSearch = rpc === 'Search' || rpc === 'HybridSearch';
  const rows = isSearch ? hitsIn(response) : operation === 'query' ? rowsIn(response) : undefined;
  sink.put(ATTR.returnedRows, rows);
  // An absent count means 0, which the SDK returns as '0'.
  const counts = { insert_cnt: 0, upsert_cnt: 0, delete_cnt: 0, ...response };
  if (rpc === 'Insert') readInsertResponse(counts, sink);
  if (rpc === 'Upsert') readUpsertResponse(counts, sink);
  if (rpc === 'Delete') readDeleteResponse(counts, sink);
  readCost(named, sink);
  return { failure: undefined, attributes: sink.attributes, rows };
}

/** The answer as the SDK decodes it: error codes by name, and maps as objects. */
function withNames(response: Values): Values {
  const status = valuesOf(response.status);
  const named = (given: Values): Values => ({
    ...given,
    ...(given.error_code === undefined
      ? {}
      : { error_code: ERROR_CODES[given.error_code as number] ?? given.error_code }),
    extra_info: Object.fromEntries(listOf(given.extra_info).map(({ key, value }) => [String(key), value])),
  });
  return status === undefined ? named(response) : { ...response, status: named(status) };
}

const hitsIn = ({ results }: Values): number => (valuesOf(results)?.topks as number | undefined) ?? 0;

/** Undefined when no column shows the number of rows. */
function rowsIn({ columns }: Values): number | undefined {
  const all = listOf(columns);
  if (all.length === 0) return 0;
  for (const { valid, scalars } of all) {
    if (typeof valid === 'number' && valid > 0) return valid;
    const column = valuesOf(scalars)?.column;
    if (column !== undefined) return (valuesOf(column)?.rows as number | undefined) ?? 0;
  }
  return undefined;
}

class AttributeList {
  readonly attributes: Attributes = {};

  setAttribute(key: string, value: AttributeValue): void {
    this.attributes[key] = value;
  }

  put(key: string, value: unknown): void {
    if (value !== undefined) this.attributes[key] = value as AttributeValue;
  }
}

const listOf = (value: unknown): Values[] => (Array.isArray(value) ? value : []);

const valuesOf = (value: unknown): Values | undefined =>
  typeof value === 'object' && value !== null ? (value as Values) : undefined;

/** The value of a key in a list of key-value pairs. */
function parameter(pairs: unknown, key: string): string | undefined {
  const value = listOf(pairs).find((pair) => pair.key === key)?.value;
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function numberOf(text: string | undefined): number | undefined {
  const number = Number(text);
  return text === undefined || !Number.isFinite(number) ? undefined : number;
}
