/**
 * The report of the demos in a real Chromium: list and waterfall, by keyboard, in light and dark, on a phone.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { reportedSteps } from '../../tools/pictures/request-steps.ts';
import { chromiumPath } from '../../tools/processes/chromium.ts';
import { reportTemplate } from '../../tools/report/report.ts';
import { reportData } from '../../tools/report/report-data.ts';
import { serveReport } from '../../tools/report/report-server.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import { receivedSpan } from '../support/received-span.ts';
import {
  assertFocusIsSeen,
  type ColorScheme,
  faint,
  misplaced,
  openReport,
  startBrowser,
} from '../support/report-page.ts';

const app = 'milvus-client';
const traceId = (digit: string) => digit.repeat(32);
const startMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const markup =
  '<img src=x onerror="document.title=\'owned\'"></script><script>document.title="owned"</script>';

/** An operation of the app, `spanId` c. */
const call = (digit: string, given: Partial<ReceivedSpan> = {}) =>
  receivedSpan({
    spanId: 'c',
    traceId: traceId(digit),
    name: 'search docs',
    kind: 'CLIENT',
    service: app,
    startMs: startMs + Number.parseInt(digit, 16) * 100,
    durationMs: 10,
    attributes: { 'db.operation.name': 'search', 'milvus.search.limit': 5 },
    resource: { 'service.name': app, 'host.name': 'h'.repeat(300) },
    ...given,
  });
const served = (of: ReceivedSpan, spanId: string, given: Partial<ReceivedSpan> = {}) =>
  receivedSpan({
    spanId,
    traceId: of.traceId,
    parentSpanId: 'c',
    name: 'milvus.proto.milvus.MilvusService/Search',
    kind: 'SERVER',
    startMs: of.startMs + 2,
    durationMs: 6,
    ...given,
  });

// a: search docs └─ MilvusService/Search ├─ SearchTask (fails) └─ SegCoreSearch
const search = call('a');
// b: a name with markup and an attribute that is too long for any line, not joined
const hostile = call('b', {
  name: `${markup} ${'w'.repeat(300)}`,
  durationMs: 4_000,
  attributes: { [markup]: markup, 'db.query.text': `x${'y'.repeat(2_000)}`, list: ['one', { two: 2 }] },
  status: { code: 'ERROR', message: `${markup} no` },
  events: [{ name: markup, attributes: { 'exception.message': 'z'.repeat(500) } }],
});
// c: of the server alone. d: 120 spans, 40 levels deep. e: the clocks differ. f: all durations are 0
const deep = call('d', { name: 'createCollection docs' });
const skewed = call('e', { name: 'query docs' });
const spans: ReceivedSpan[] = [
  search,
  served(search, 's'),
  served(search, 't', {
    parentSpanId: 's',
    name: 'SearchTask',
    startMs: search.startMs + 3,
    durationMs: 4,
    status: { code: 'ERROR', message: 'segment not loaded' },
  }),
  served(search, 'k', { parentSpanId: 't', name: 'SegCoreSearch', service: 'segcore', durationMs: 0.002 }),
  hostile,
  served(call('c'), 'only', { parentSpanId: undefined, name: 'Flush' }),
  deep,
  ...Array.from({ length: 120 }, (_, index) =>
    served(deep, `d${index}`, {
      parentSpanId: index === 0 || index > 40 ? 'c' : `d${index - 1}`,
      name: `RootCoord/SomeStepOfALongName${index}`,
      startMs: deep.startMs + index / 20,
      durationMs: 1,
    }),
  ),
  skewed,
  served(skewed, 's', { startMs: skewed.startMs - 50 }),
  call('f', { name: 'connect', durationMs: 0 }),
];
const steps = { request: 1234.56, embed: 1.2, milvus: 1150, server: 1146, gap: 4, assemble: 2, rest: 81.36 };
const data = reportData(spans, {
  command: 'npm run demo',
  service: app,
  steps: reportedSteps(
    'Where the time of a question went',
    ['the first', 'median of 5', 'fresh, of 3'].map((title) => ({ title, steps })),
  ),
});

describe('the report', { timeout: 120_000 }, () => {
  let browser: Browser;
  let folder: string;
  /** Its URL. */
  let report: string;
  let html: string;

  before(async () => {
    html = (await reportTemplate())(data);
    folder = await mkdtemp(path.join(tmpdir(), 'report of-'));
    const file = path.join(folder, 'report.html');
    await writeFile(file, html);
    report = pathToFileURL(file).href;
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const open = (t: TestContext, hash = '', options = {}) =>
    openReport(t, browser, `${report}${hash}`, options);
  const heading = (page: Page) => page.locator('h1').textContent();
  const names = (page: Page) => page.locator('.trace a').allTextContents();
  const focusedRow = (page: Page) => page.locator(':focus').getAttribute('data-row');

  test('the list has every trace with start, duration, spans, errors and whether it is joined', async (t) => {
    const { page, complaints } = await open(t);
    const rows = await page.locator('.trace').all();
    const texts = await Promise.all(rows.map((row) => row.locator('[role=cell]').allTextContents()));
    assert.equal(texts.length, 6);
    const [name, start, duration, spanCount, errors, join] = texts[0] ?? [];
    assert.deepEqual(
      [name, duration, spanCount, errors, join],
      [`search docs${app}`, '10.00 ms', '4', '✕ 1', '✓ joined'],
    );
    assert.match(start ?? '', /^\d\d:\d\d:06\.678$/);
    assert.deepEqual(
      texts.map((row) => row[5]),
      ['✓ joined', '✕ 1 call not joined', 'server only', '✓ joined', '✓ joined', '✕ 1 call not joined'],
    );
    assert.deepEqual(complaints, []);
  });

  test('a table below the list shows the time of requests', async (t) => {
    const { page, complaints } = await open(t);
    const rows = await page.locator('table tr').allTextContents();
    assert.deepEqual(rows.slice(0, 2), [
      'the firstmedian of 5fresh, of 3',
      `HTTP request${'1234.56 ms 100 %'.repeat(3)}`,
    ]);
    assert.ok(rows.includes(`network gap${'4.00 ms 0 %'.repeat(3)}`), rows.join('\n'));
    assert.deepEqual(complaints, []);
  });

  test('the list is sorted by a column and filtered by a name, a service or an id', async (t) => {
    const { page, complaints } = await open(t);
    const duration = page.locator('button', { hasText: 'Duration' });
    await duration.click();
    assert.equal((await names(page))[0], 'connect');
    await duration.press('Enter');
    assert.match((await names(page))[0] ?? '', /^<img src=x/);
    assert.equal(
      await page.locator('[role=columnheader]', { hasText: 'Duration' }).getAttribute('aria-sort'),
      'descending',
    );
    await assertFocusIsSeen(page);
    const filter = page.locator('#filter');
    await filter.fill('segcore');
    assert.deepEqual(await names(page), ['search docs']);
    await filter.fill(traceId('e'));
    assert.deepEqual(await names(page), ['query docs']);
    await filter.fill('nothing like it');
    assert.match((await page.locator('#traces').textContent()) ?? '', /No trace fits the filter\./);
    assert.deepEqual(complaints, []);
  });

  test('the hash or a click opens a trace, and Back leads to the list', async (t) => {
    const { page, complaints } = await open(t, `#${traceId('e')}`);
    assert.equal(await heading(page), 'query docs');
    await page.getByText('All traces').click();
    assert.equal(await heading(page), 'Traces of npm run demo');
    await page.locator('.trace', { hasText: 'createCollection docs' }).click();
    assert.equal(new URL(page.url()).hash, `#${traceId('d')}`);
    assert.equal(await page.locator('.row').count(), 121);
    await page.goBack();
    assert.equal(await heading(page), 'Traces of npm run demo');
    assert.deepEqual(complaints, []);
  });

  test('a hash of no trace shows the list with a notice', async (t) => {
    const { page, complaints } = await open(t, '#0123');
    assert.equal(await page.getByRole('alert').textContent(), 'This report has no trace 0123.');
    assert.equal((await names(page)).length, 6);
    assert.deepEqual(complaints, []);
  });

  test('by keyboard alone: from the list to a trace, along its spans, to attributes and back', async (t) => {
    const { page, complaints } = await open(t);
    // The filter, six columns, the first trace.
    for (let count = 0; count < 8; count++) {
      await page.keyboard.press('Tab');
      await assertFocusIsSeen(page);
    }
    assert.equal(await page.locator(':focus').textContent(), 'search docs');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Enter');
    assert.equal(await heading(page), 'search docs');

    await page.keyboard.press('Shift+Tab');
    assert.match((await page.locator(':focus').textContent()) ?? '', /Later/);
    await assertFocusIsSeen(page);
    await page.keyboard.press('Tab');
    assert.equal(await focusedRow(page), '0');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await assertFocusIsSeen(page);
    assert.match(
      (await page.locator(':focus').getAttribute('aria-label')) ?? '',
      /^SearchTask, Milvus server, .*failed$/,
    );
    await page.keyboard.press('Enter');
    const details = page.locator('#details');
    assert.match((await details.textContent()) ?? '', /ERROR segment not loaded/);
    await page.keyboard.press('Home');
    assert.equal(await focusedRow(page), '0');
    assert.match((await details.textContent()) ?? '', /Network gap4\.00 ms.*milvus\.search\.limit5/);
    await page.keyboard.press('End');
    assert.match((await details.locator('h2').textContent()) ?? '', /SegCoreSearch/);

    await page.keyboard.press('Escape');
    assert.equal(await details.isVisible(), false);
    assert.equal(await focusedRow(page), '3');
    await page.keyboard.press('Escape');
    assert.equal(await heading(page), 'Traces of npm run demo');
    assert.equal(await page.locator(':focus').textContent(), 'search docs');
    await assertFocusIsSeen(page);
    assert.deepEqual(complaints, []);
  });

  test('a click on a span shows its attributes, a second one hides them', async (t) => {
    const { page, complaints } = await open(t, `#${traceId('a')}`);
    const row = page.locator('.row').first();
    await row.click();
    assert.match((await page.locator('#details').textContent()) ?? '', /db\.operation\.namesearch/);
    assert.equal(await row.getAttribute('aria-selected'), 'true');
    await row.click();
    assert.equal(await page.locator('#details').isVisible(), false);
    await row.click();
    await page.getByLabel('Close').click();
    assert.equal(await page.locator('#details').isVisible(), false);
    assert.deepEqual(complaints, []);
  });

  for (const width of [360, 900, 1280]) {
    test(`the selected span is visible next to its attributes, ${width} wide`, async (t) => {
      const { page, complaints } = await open(t, `#${traceId('d')}`, { width });
      await page.locator('.row').first().focus();
      await page.keyboard.press('Enter');
      for (const key of [
        ...Array.from({ length: 30 }, () => 'ArrowDown'),
        'ArrowUp',
        'Home',
        'End',
        'ArrowUp',
      ]) {
        await page.keyboard.press(key);
        const covered = await page.evaluate(() => {
          const row = document.activeElement?.querySelector('.hit')?.getBoundingClientRect();
          if (row === undefined) return 'no row has the focus';
          const at = (y: number) => document.elementFromPoint(row.left + 20, y)?.closest('.row') ?? null;
          return [at(row.top + 2), at(row.bottom - 2)].every((seen) => seen === document.activeElement)
            ? ''
            : `${row.top} to ${row.bottom} of ${innerHeight}`;
        });
        assert.equal(covered, '', key);
      }
      assert.deepEqual(complaints, []);
    });
  }

  test('the network gap is hatched, and not placed when the clocks differ', async (t) => {
    const { page } = await open(t, `#${traceId('a')}`);
    assert.equal(await page.locator('.row rect.gap').count(), 2);
    const { page: other, complaints } = await open(t, `#${traceId('e')}`);
    assert.equal(await other.locator('.row rect.gap').count(), 0);
    await other.locator('.row', { hasText: 'query docs' }).click();
    assert.match(
      (await other.locator('#details').textContent()) ?? '',
      /Network gap4\.00 ms.*clocks .* differ by 50\.00 ms/,
    );
    assert.deepEqual(complaints, []);
  });

  test('markup in names, attributes, events and status stays text', async (t) => {
    const { page, complaints } = await open(t, `#${traceId('b')}`);
    await page.locator('.row').first().click();
    const text = (await page.locator('#details').textContent()) ?? '';
    for (const part of [`ERROR ${markup} no`, `Event: ${markup}`, '["one",{"two":2}]'])
      assert.ok(text.includes(part), part);
    assert.equal(await page.locator('img').count(), 0);
    assert.doesNotMatch(await page.title(), /^owned/);
    assert.deepEqual(complaints, []);
  });

  for (const colorScheme of ['light', 'dark'] as ColorScheme[]) {
    for (const width of [360, 768, 1280]) {
      test(`in ${colorScheme}, ${width} wide: all content fits, and every text is readable`, async (t) => {
        const { page, complaints } = await open(t, '', { width, colorScheme });
        const check = async (what: string) => {
          assert.deepEqual(await misplaced(page), [], what);
          assert.deepEqual(await faint(page), [], what);
        };
        await check('the list');
        await page.locator('.trace').nth(1).hover();
        await check('the list, with the pointer on a trace');
        for (const { id, name } of data.traces) {
          await page.goto(`${report}#${id}`);
          await check(name);
          await page.locator('.row').first().click();
          await page.locator('#details summary').click();
          await check(`${name}, with attributes`);
        }
        const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const [red = 0] = (ground.match(/\d+/g) ?? []).map(Number);
        assert.equal(red < 128, colorScheme === 'dark', ground);
        assert.deepEqual(complaints, []);
      });
    }
  }

  test('the waterfall follows the width of the window', async (t) => {
    const { page, complaints } = await open(t, `#${traceId('d')}`);
    await page.locator('.row').first().click();
    for (const width of [360, 1600, 500]) {
      await page.setViewportSize({ width, height: 800 });
      await page.waitForFunction(
        (wanted) => Number(document.querySelector('.waterfall svg')?.getAttribute('width')) <= wanted,
        width,
      );
      assert.deepEqual(await misplaced(page), [], String(width));
    }
    assert.equal(await page.locator('#details').isVisible(), true);
    assert.deepEqual(complaints, []);
  });

  test('the served report loads nothing but itself', async (t) => {
    const server = await serveReport(async () => html);
    t.after(() => server.stop());
    const { page, complaints } = await openReport(t, browser, `${server.url}#${traceId('a')}`);
    assert.equal(await heading(page), 'search docs');
    await page.reload();
    assert.equal(await heading(page), 'search docs');
    assert.deepEqual(complaints, []);
  });

  test('a report without traces shows a notice', async (t) => {
    const file = path.join(folder, 'empty.html');
    await writeFile(
      file,
      (await reportTemplate())(reportData([], { command: 'npm run demo', service: app })),
    );
    const { page, complaints } = await openReport(t, browser, pathToFileURL(file).href);
    assert.match((await page.locator('#traces').textContent()) ?? '', /There is no trace\./);
    assert.deepEqual(complaints, []);
  });
});

describe('the browser of these tests', () => {
  test('is the one of CHROME_PATH', async () => {
    assert.equal(await chromiumPath({ env: { CHROME_PATH: process.execPath, PATH: '' } }), process.execPath);
    await assert.rejects(
      chromiumPath({ env: { CHROME_PATH: '/nowhere/chrome', PATH: '' } }),
      /CHROME_PATH is "\/nowhere\/chrome"/,
    );
  });

  test('is installed when there is none, and the error names the fix', async () => {
    let installs = 0;
    const install = async () => {
      installs += 1;
    };
    await assert.rejects(
      chromiumPath({ env: { PATH: '/nowhere' }, install }),
      /No Chromium .* apt-get install chromium\), or set CHROME_PATH/,
    );
    assert.equal(installs, 1);
  });
});
