/**
 * Finds the app's data in a request: filter expressions, primary keys, values of templates, texts, rows,
 * secrets. hidden-text.ts removes it from a text of the server.
 */

type Fields = Record<string, unknown>;

/** Values to hide. Strings are copied, lists and objects are referenced as the app or the SDK has them. */
export interface HiddenValues {
  readonly expressions: readonly string[];
  readonly values: readonly unknown[];
  /** Of an insert or upsert. There may be many, so only those that a text quotes are hidden in it. */
  readonly rows: readonly unknown[];
}

const fields = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? (value as Fields) : {};

/**
 * Of a request of the SDK or of its REST client, or of the message of an RPC. Undefined when it has nothing
 * to hide, as most have. Throws when a value cannot be read. Source: SDK 3.0.6, QueryReq, DeleteReq,
 * SearchReq, HybridSearchReq, InsertReq, RunAnalyzerRequest, types/Http.d.ts.
 */
export function hiddenValuesOf(request: unknown, isPart = false): HiddenValues | undefined {
  const given = fields(request);
  const { filter, expr, dsl, ids, id, exprValues, exprParams, expr_template_values, search, requests } =
    given;
  const { data, fields_data, num_rows, vector, vectors, text, rerank, function_score, highlighter } = given;
  const parts = isPart ? undefined : (search ?? requests ?? (isHybrid(data) ? data : undefined));
  const searched = [data, vector, vectors, text].filter(isTextual);
  const parameters = rerank || function_score || highlighter ? parametersOf(given) : NONE;
  // The message of an RPC has columns, and their names, instead of rows.
  const rows = num_rows === undefined && parts === undefined ? [data, fields_data].filter(isRows) : NONE;
  const hasOwn = filter || expr || dsl || ids || id || exprValues || exprParams || expr_template_values;
  const hasData = searched.length > 0 || parameters.length > 0 || rows.length > 0;
  if (!hasOwn && !hasData && !Array.isArray(parts)) return undefined;
  const expressions = [filter, expr, dsl].map(expressionIn).filter((text) => text !== '');
  const values = [ids, id, exprValues, exprParams, expr_template_values].filter(Boolean);
  values.push(...searched);
  for (const one of parameters) {
    if (typeof one.filter === 'string') expressions.push(one.filter);
    values.push(one);
  }
  for (const part of Array.isArray(parts) ? parts : []) {
    const ofPart = hiddenValuesOf(part, true);
    if (ofPart === undefined) continue;
    expressions.push(...ofPart.expressions);
    values.push(...ofPart.values);
  }
  return { expressions, values, rows };
}

const NONE: readonly never[] = [];

/**
 * The values of these fields of a request, as values to hide. Undefined when it has none of them.
 *
 * @param names see `secrets` in operations.ts
 */
export function secretsOf(request: unknown, names: readonly string[]): HiddenValues | undefined {
  const given = fields(request);
  const values = names.map((name) => given[name]).filter(Boolean);
  return values.length === 0 ? undefined : { expressions: NONE, values, rows: NONE };
}

/**
 * gRPC sends the text of any value. Throws for an object whose text only code of the app knows: running that
 * code once more could change what the app does.
 */
function expressionIn(given: unknown): string {
  if (!given) return '';
  if (typeof given !== 'object' || given instanceof String) return String(given);
  if (Array.isArray(given) && given.every((part) => typeof part === 'string')) return given.join();
  throw new TypeError('The filter is not a text');
}

const isHybrid = (data: unknown): boolean => Array.isArray(data) && Boolean(fields(data[0]).anns_field);

/** A text, or several: what a full-text search looks for. Vectors are numbers. */
const isTextual = (data: unknown): boolean =>
  typeof data === 'string' || (Array.isArray(data) && typeof data[0] === 'string');

const isRows = (data: unknown): boolean =>
  Array.isArray(data) &&
  typeof data[0] === 'object' &&
  !Array.isArray(data[0]) &&
  !ArrayBuffer.isView(data[0]);

/**
 * The parameters of rerankers and of a highlighter, by name: filters and questions are among them. In the
 * message of an RPC they are pairs.
 */
function parametersOf({ rerank, function_score, highlighter }: Fields): Fields[] {
  const given = fields(rerank ?? function_score);
  const functions: unknown[] = Array.isArray(given.functions) ? given.functions : [given];
  const { params = highlighter } = fields(highlighter);
  return [...functions.map((one) => fields(one).params), params]
    .filter(Boolean)
    .map((parameters) =>
      Array.isArray(parameters)
        ? Object.fromEntries(parameters.map((pair) => [fields(pair).key, fields(pair).value]))
        : fields(parameters),
    );
}

/** Names in a request, which a text may always contain. */
export function namesIn(request: unknown): string[] {
  const {
    collection_name,
    collectionName,
    partition_name,
    partitionName,
    partition_names,
    partitionNames,
    db_name,
    dbName,
    anns_field,
    annsField,
    output_fields,
    outputFields,
  } = fields(request);
  const several = [partition_names, partitionNames, output_fields, outputFields].filter(Array.isArray).flat();
  return [
    ...[
      collection_name,
      collectionName,
      partition_name,
      partitionName,
      db_name,
      dbName,
      anns_field,
      annsField,
    ],
    ...several,
  ].filter((name) => typeof name === 'string');
}
