/** Rules for every page: links resolve, also in the published package, and pages stay short. */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { packedFiles } from '../../tools/release/release.ts';

const root = path.join(import.meta.dirname, '..', '..');
const pages = globSync(['*.md', 'docs/**/*.md', 'samples/*/README.md', 'compose/**/README.md'], {
  cwd: root,
});
const read = (page: string) => readFileSync(path.join(root, page), 'utf8');

interface Link {
  page: string;
  /** From the root of the repository; the page itself for a link to one of its headings. */
  file: string;
  heading: string | undefined;
}

/** Links of a page to files, outside of code. */
function linksOf(page: string): Link[] {
  const text = read(page).replace(/^```[\s\S]*?^```/gm, '');
  return [...text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, target = '']) => {
    const [file = '', heading] = target.split('#');
    return { page, file: file === '' ? page : path.posix.join(path.posix.dirname(page), file), heading };
  });
}

/** As GitHub makes them. */
function anchorsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

const links = pages.flatMap(linksOf);

test('every link of a page leads to a file, and to a heading that the file has', () => {
  assert.ok(links.length > 100, `${links.length} links`);
  const broken = links.filter(
    ({ file, heading }) =>
      !existsSync(path.join(root, file)) || (heading !== undefined && !anchorsOf(file).includes(heading)),
  );
  assert.deepEqual(broken, []);
});

test('linked files and pictures of README.md are in the published package', async () => {
  const packed = await packedFiles(root);
  const missing = linksOf('README.md').filter(
    ({ file }) => !packed.some((one) => one === file || one.startsWith(`${file.replace(/\/$/, '')}/`)),
  );
  assert.deepEqual(missing, []);
});

test('a decision fits on a screen', () => {
  for (const page of globSync('docs/decisions/*.md', { cwd: root }))
    assert.ok(read(page).split('\n').length <= 65, page);
});

describe('a page is one click away', () => {
  const linkedFrom = (page: string) => new Set(linksOf(page).map(({ file }) => file));

  test('from README.md: every page of docs/, every sample and compose/', () => {
    const linked = linkedFrom('README.md');
    const wanted = pages.filter((page) => page !== 'README.md' && !page.startsWith('docs/decisions/'));
    assert.deepEqual(
      wanted.filter((page) => !linked.has(page)),
      [],
    );
  });

  test('from docs/decisions/README.md: every decision', () => {
    const linked = linkedFrom('docs/decisions/README.md');
    const decisions = globSync('docs/decisions/*.md', { cwd: root });
    assert.deepEqual(
      decisions.filter((page) => !page.endsWith('/README.md') && !linked.has(page)),
      [],
    );
  });
});
