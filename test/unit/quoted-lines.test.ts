/** The pages quote lines of the preload and results of the doctor: each quote is a text of the sources. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { CHECKS } from '../../src/doctor/finding.ts';

const root = path.join(import.meta.dirname, '..', '..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

/** Texts of the sources, in which each `${…}` is a gap. */
const sources = globSync(['register.ts', 'src/**/*.{ts,cjs}', 'bin/*.cjs', 'samples/docker/entrypoint.sh'], {
  cwd: root,
})
  .map(read)
  .join('\n')
  .replace(/['`] \+\n\s*['`]/g, '')
  .replace(/\$\{(?:[^{}]|\{[^{}]*\}|\$\{[^{}]*\})*\}/g, '\0')
  .replaceAll("\\'", "'");

/** Quotes of lines that begin with `milvus-otel: ` or with the id of a check. */
const quotesOf = (page: string): string[] =>
  read(page)
    .replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/^# (milvus-otel: .*)$/gm, '`$1`'))
    .split('\n')
    .flatMap((line) => [...line.matchAll(/`([^`]+)`/g)])
    .map(([, quote = '']) => quote.replaceAll('\\|', '|'))
    .filter((quote) => /^milvus-otel: /.test(quote) || Object.hasOwn(CHECKS, quote.replace(/:.*/s, '')));

/** What the sources insert into a line: values, numbers, addresses, and the answers of other programs. */
const INSERTED = new RegExp(
  [
    /…|OTEL_\w+=\S+|https?:[^\s)]+|"[^"]*"|--require \S+|HTTP\/1\.1|http\/2|\d+(?:\.\d+)*/,
    /\b(?:my-app|Bun|Node|gRPC|grpc|parentbased_always_on|NODE_OPTIONS|metrics|ahead of|spans were)\b/,
    /all but [a-z, -]+|it is self-signed|Not Found|unknown service \S+| {3}over \w+/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

/** The parts of a quote that are the same in each line. */
const constantParts = (quote: string): string[] =>
  quote
    .replace(/^(milvus-otel|[\w.]+): ?/, '')
    .split(INSERTED)
    .map((part) => part.replace(/^[\s:;,.()<>=^|±]+|[\s:;,.()<>=^|±]+$/g, ''))
    .filter((part) => part.length >= 8);

const pages = globSync(['README.md', 'docs/**/*.md', 'samples/*/README.md', 'compose/**/README.md'], {
  cwd: root,
});
const quotes = pages.flatMap((page) => quotesOf(page).map((quote) => ({ page, quote })));

test('each quoted line is one that the preload or the doctor writes', () => {
  assert.ok(quotes.length >= 30, `${quotes.length} quotes`);
  const unknown = quotes.flatMap(({ page, quote }) =>
    constantParts(quote)
      .filter((part) => !sources.includes(part))
      .map((part) => ({ page, quote, part })),
  );
  assert.deepEqual(unknown, []);
});

test('a line of the preload begins with a capital letter or with the name of a variable', () => {
  const lines = [...sources.matchAll(/\b(?:warn|info)\(\s*['`]([^\0'`]+)/g)].map(([, text = '']) => text);
  assert.ok(lines.length >= 5, `${lines.length} lines`);
  assert.deepEqual(
    lines.filter((text) => !/^[A-Z]/.test(text)),
    [],
  );
});
