/** Removes hidden values from a text of the server. Milvus quotes what it cannot use, or parts of it. */
import type { HiddenValues } from './hidden-values.ts';
import { written } from './quoted-forms.ts';

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

/** The texts and numbers in rows that stand in `text` as a whole, and longer parts of these texts. */
function quotedOf(rows: readonly unknown[], text: string): Set<string> {
  const numbers = new Map<number, string>();
  for (const [number] of text.matchAll(NUMBER))
    if (number.length >= MIN_LENGTH) numbers.set(Number(number), number);
  const quoted = new Set<string>();
  const parts = new PartsOfText(text);
  const seen = new Set<object>();
  const visit = (value: unknown, depth: number): void => {
    if (typeof value === 'string') {
      const mayBeQuoted = value.length >= MIN_LENGTH && value.length <= text.length;
      if (mayBeQuoted && written(value).some((form) => text.includes(form))) quoted.add(value);
      else for (const part of parts.sharedWith(value)) quoted.add(part);
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

/** Characters by which a shared part is found. Any part of twice this length less one has such a run. */
const RUN = 8;
/** Shorter parts, such as "the length of", are common to many texts. */
const MIN_PART = 2 * RUN - 1;

/** A text of repeated characters must not be searched from each of them. */
const MAX_STARTS = 16;

/** Finds the parts that a text shares with others, which may be long and many. */
class PartsOfText {
  readonly #text: string;
  /** Run → where it starts in the text. */
  readonly #starts = new Map<string, number[]>();

  constructor(text: string) {
    this.#text = text;
    for (let at = 0; at + RUN <= text.length; at++) {
      const run = text.slice(at, at + RUN);
      const starts = this.#starts.get(run);
      if (starts === undefined) this.#starts.set(run, [at]);
      else if (starts.length < MAX_STARTS) starts.push(at);
    }
  }

  *sharedWith(other: string): Generator<string> {
    for (let at = 0; at + RUN <= other.length; at += RUN)
      for (const start of this.#starts.get(other.slice(at, at + RUN)) ?? []) {
        const { before, after } = this.#around(start, other, at);
        if (before + RUN + after < MIN_PART) continue;
        yield this.#text.slice(start - before, start + RUN + after);
        // The next runs are in the same part.
        at += after;
        break;
      }
  }

  /** Number of characters before and after a run at these positions that both texts share. */
  #around(start: number, other: string, at: number): { before: number; after: number } {
    const text = this.#text;
    let before = 0;
    while (before < Math.min(start, at) && text[start - before - 1] === other[at - before - 1]) before++;
    const end = start + RUN;
    let after = 0;
    while (end + after < text.length && text[end + after] === other[at + RUN + after]) after++;
    return { before, after };
  }
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
