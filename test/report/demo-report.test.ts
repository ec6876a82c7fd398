/** The links that a demo prints, opened in a real Chromium: each leads to its trace of a real run. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { oneAtATime } from '../support/one-at-a-time.ts';
import { faint, misplaced, openReport, startBrowser } from '../support/report-page.ts';
import { runDemo } from '../support/run-demo.ts';

oneAtATime('demo-ports');

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequence of a link is made of them
const link = /\u001b\]8;;(\S+?)\u001b\\(.*?)\u001b\]8;;\u001b\\/g;

test('each link of a terminal opens its trace, in the served report and in the file', {
  timeout: 300_000,
}, async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'demo-report-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'report.html');
  const demo = runDemo(t, 'demo', ['--keep', '--report', file], { FORCE_HYPERLINK: '1' });
  await demo.waitForLine('Ctrl-C ends it all.');
  const links = [...demo.output.stdout.matchAll(link)].map(([, url = '', text = '']) => ({ url, text }));
  const traces = links.filter(({ url }) => url.includes('#'));
  assert.ok(traces.length >= 8, demo.output.stdout);

  const browser = await startBrowser();
  t.after(() => browser.close());
  for (const [where, base] of [
    ['served', traces[0]?.url.replace(/#.*/, '')],
    ['the file', pathToFileURL(file).href],
  ]) {
    const { page, complaints } = await openReport(t, browser, base ?? '');
    for (const { url, text } of traces) {
      await page.goto(`${base}${new URL(url).hash}`);
      assert.equal(await page.locator('h1').textContent(), text, where);
      assert.match((await page.locator('.facts').textContent()) ?? '', /✓ joined/, `${where}: ${text}`);
      assert.deepEqual(await misplaced(page), [], `${where}: ${text}`);
      assert.deepEqual(await faint(page), [], `${where}: ${text}`);
    }
    assert.deepEqual(complaints, [], where);
  }

  // Searches are complete: what Milvus' C++ core has done is in the report.
  const search = traces.find(({ text }) => text === 'search quick_setup');
  const { page } = await openReport(t, browser, search?.url ?? '');
  assert.ok((await page.locator('.row', { hasText: 'SegCoreSearch' }).count()) > 0);
  assert.equal(await page.locator('.row rect.gap').count(), 2);

  demo.pressCtrlC();
  assert.equal(await demo.ended, 0);
});
