/**
 * Finds the app's data in a request (filter expressions, primary keys, values of templates, texts, rows) and
 * removes it from a text of the server. Milvus quotes what it cannot use, or parts of it.
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
 * to hide, as most have. Source: SDK 3.0.6, QueryReq, DeleteReq, SearchReq, HybridSearchReq, InsertReq,
 * RunAnalyzerRequest, types/Http.d.ts.
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

/** gRPC sends String objects and arrays as text, too. */
function expressionIn(given: unknown): string {
  if (given instanceof String) return String(given);
  if (Array.isArray(given) && given.every((part) => typeof part === 'string')) return given.join();
  return typeof given === 'string' ? given : '';
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

/** Replaces hidden values in a text. */
const REPLACEMENT = '<filter>';

/** Stands for REPLACEMENT during the replacement: a later value may be a part of that word. */
const PLACEHOLDER = String.fromCodePoint(0xf0000);

/** Shorter words occur in every text. */
const MIN_LENGTH = 4;

const WORD = /[\p{L}\p{M}\p{N}_]{4,}/gu;

/** Server messages contain no longer words, and a search for their parts would be slow. */
const MAX_WORD_LENGTH = 100;

/**
 * `text` without any part of `hidden`. At a whole expression the text ends, since the following text is about
 * it. Elsewhere, literals are replaced, then words that share four characters or more with a hidden value,
 * except `names`.
 */
export function withoutHidden(
  text: string,
  hidden: readonly HiddenValues[],
  names: readonly string[],
): string {
  const expressions = hidden.flatMap(({ expressions }) => expressions);
  const given = hidden.flatMap(({ values }) => values).flatMap((value) => textsIn(value));
  const literals = new Set<string>();
  for (const value of given) literals.add(value);
  for (const expression of expressions) for (const literal of literalsIn(expression)) literals.add(literal);
  const rows = hidden.flatMap(({ rows }) => rows);
  if (rows.length > 0) for (const value of quotedOf(rows, text)) literals.add(value);
  const forms = new Set<string>(expressions.flatMap(written));
  for (const literal of literals) for (const form of written(literal)) forms.add(form);

  let shown = upToExpression(text, expressions);
  const found = [...forms].filter((form) => form.length >= MIN_LENGTH && shown.includes(form));
  for (const form of found.sort((one, other) => other.length - one.length))
    if (!names.includes(form)) shown = shown.replaceAll(form, PLACEHOLDER);
  const haystack = [...forms].join('\0');
  const hiddenWords = new Set(haystack.match(WORD) ?? []);
  shown = shown.replace(WORD, (word) =>
    !names.includes(word) && (haystack.includes(word) || containsOne(word, hiddenWords)) ? PLACEHOLDER : word,
  );
  return shown.replaceAll(PLACEHOLDER, REPLACEMENT);
}

function upToExpression(text: string, expressions: readonly string[]): string {
  const starts = expressions.flatMap((expression) =>
    written(expression).map((form) => indexOfWhole(text, form)),
  );
  const found = starts.filter((start) => start >= 0);
  return found.length === 0 ? text : `${text.slice(0, Math.min(...found))}${PLACEHOLDER}`;
}

/** Not inside a word: an expression may be a single letter. */
function indexOfWhole(text: string, part: string): number {
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    const around = [text[at - 1] ?? ' ', text[at + part.length] ?? ' '];
    if (part.length >= MIN_LENGTH || around.every((character) => !/[\p{L}\p{N}_]/u.test(character)))
      return at;
  }
  return -1;
}

function containsOne(word: string, hiddenWords: ReadonlySet<string>): boolean {
  if (word.length > MAX_WORD_LENGTH) return true;
  for (let start = 0; start + MIN_LENGTH <= word.length; start++) {
    for (let end = start + MIN_LENGTH; end <= word.length; end++)
      if (hiddenWords.has(word.slice(start, end))) return true;
  }
  return false;
}

/** Texts and numbers in `value`, at any depth that a template has. Bytes have no text. */
function textsIn(value: unknown, depth = 0, seen = new Set<object>()): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value === 'number' || typeof value === 'bigint') return [String(value)];
  if (!isReadable(value, depth, seen)) return [];
  return Object.values(value).flatMap((inner) => textsIn(inner, depth + 1, seen));
}

/** Each object once: one that holds itself would be read many times over. */
function isReadable(value: unknown, depth: number, seen: Set<object>): value is object {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || depth > MAX_DEPTH)
    return false;
  return seen.size !== seen.add(value).size;
}

const MAX_DEPTH = 8;

const NUMBER = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi;

/** The texts and numbers in rows that stand in `text` as a whole. */
function quotedOf(rows: readonly unknown[], text: string): Set<string> {
  const numbers = new Map<number, string>();
  for (const [number] of text.matchAll(NUMBER))
    if (number.length >= MIN_LENGTH) numbers.set(Number(number), number);
  const quoted = new Set<string>();
  const seen = new Set<object>();
  const visit = (value: unknown, depth: number): void => {
    if (typeof value === 'string') {
      const mayBeQuoted = value.length >= MIN_LENGTH && value.length <= text.length;
      if (mayBeQuoted && written(value).some((form) => text.includes(form))) quoted.add(value);
    } else if (typeof value === 'number' || typeof value === 'bigint') {
      const number = numbers.get(Number(value));
      if (number !== undefined) quoted.add(number);
    } else if (isReadable(value, depth, seen)) {
      const isVector = Array.isArray(value) && typeof value[0] === 'number';
      if (isVector && numbers.size === 0) return;
      for (const inner of Object.values(value)) visit(inner, depth + 1);
    }
  };
  visit(rows, 0);
  return quoted;
}

/** Between the parts of an expression that can be quoted alone. */
const BETWEEN = /[\s,()[\]{}=<>!&|+*%"']+/;

/** The quoted texts of an expression, also with their escapes decoded, and all its other parts. */
function literalsIn(expression: string): string[] {
  const quoted = Array.from(
    expression.matchAll(/"((?:[^"\\]|\\.)*)(?:"|$)|'((?:[^'\\]|\\.)*)(?:'|$)/gs),
    (match) => match[1] ?? match[2] ?? '',
  );
  return [...quoted, ...expression.split(BETWEEN)];
}

/**
 * The forms in which a server may write `text`: unchanged, decoded, with escapes of JSON or Go, a number in
 * Go's format.
 */
function written(text: string): string[] {
  if (PLAIN.test(text)) return [text];
  const forms = [text];
  const plain = text.replace(
    /\\(?:u\{?([\da-f]{4})\}?|x([\da-f]{2})|([0-7]{3})|(.))/gis,
    (_, unicode, hex, octal, other) =>
      other === undefined
        ? String.fromCharCode(Number.parseInt(unicode ?? hex ?? octal, unicode || hex ? 16 : 8))
        : (ESCAPED[other] ?? other),
  );
  forms.push(plain);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is written with an escape
  if (/[\x00-\x1f\x7f-\uffff"'\\]/.test(plain)) {
    forms.push(JSON.stringify(plain).slice(1, -1), asciiOf(plain), octalOf(plain));
  }
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number)) forms.push(String(number), number.toExponential());
  return forms;
}

/** Texts with one form only: most are keys, and there may be thousands. */
const PLAIN = /^(?:\d{1,15}|[\w@:/-]*[a-z_@:/][\w@:/-]*)$/i;

const ESCAPED: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07' };

const asciiOf = (text: string): string =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Escapes as in protobuf's text format. */
const octalOf = (text: string): string =>
  text.replace(/[^ -~]+/g, (run) =>
    Array.from(Buffer.from(run), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join(''),
  );

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
