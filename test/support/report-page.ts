/** The report in a real Chromium: the user's view and actions, and errors of the page. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type Browser, chromium, type Page } from 'playwright-core';
import { chromiumPath } from '../../tools/processes/chromium.ts';

export type ColorScheme = 'light' | 'dark';

/** Fails with the fix when there is no browser. */
export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: await chromiumPath() });
}

export interface OpenedReport {
  page: Page;
  /** Console messages, page errors, and every request except that for the report. */
  complaints: string[];
}

/** A page that shares nothing with other pages. */
export async function openReport(
  t: TestContext,
  browser: Browser,
  url: string,
  { width = 1280, colorScheme = 'light' }: { width?: number; colorScheme?: ColorScheme } = {},
): Promise<OpenedReport> {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  t.after(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  const report = url.replace(/#.*/, '');
  page.on('console', (message) => complaints.push(`console ${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('request', (request) => {
    if (request.url().replace(/#.*/, '') !== report) complaints.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}

/** Elements outside of the window, and overlapping texts of the waterfall. */
export async function misplaced(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const wrong: string[] = [];
    const scrollWidth = document.scrollingElement?.scrollWidth ?? 0;
    if (scrollWidth > width) wrong.push(`the page is ${scrollWidth} wide in a window of ${width}`);
    const described = (element: Element) =>
      `${element.outerHTML.slice(0, 120)} of ${element.parentElement?.tagName}`;
    for (const element of document.querySelectorAll('body *')) {
      if (element.closest('defs, clipPath, script')) continue;
      const { left, right, width: own } = element.getBoundingClientRect();
      if (own > 0 && (left < -0.5 || right > width + 0.5))
        wrong.push(`${Math.round(left)} to ${Math.round(right)} of ${width}: ${described(element)}`);
    }
    for (const row of document.querySelectorAll('.row')) {
      const [name, duration] = [...row.querySelectorAll('text')].map((text) => text.getBoundingClientRect());
      if (
        name &&
        duration &&
        name.right > duration.left &&
        name.top < duration.bottom &&
        duration.top < name.bottom
      )
        wrong.push(`the name is under the duration: ${row.getAttribute('aria-label')}`);
    }
    return wrong;
  });
}

/** Texts with a contrast below WCAG's 4.5, and bars and symbols below its 3. */
export async function faint(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    type Rgba = [number, number, number, number];
    const parse = (colour: string): Rgba => {
      const [red = 0, green = 0, blue = 0, alpha = 1] = (colour.match(/[\d.]+/g) ?? []).map(Number);
      return [red, green, blue, alpha];
    };
    const luminance = (colour: Rgba) => {
      const [red = 0, green = 0, blue = 0] = colour.slice(0, 3).map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const contrast = (a: Rgba, b: Rgba) => {
      const [dark = 0, light = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
      return (light + 0.05) / (dark + 0.05);
    };
    const groundOf = (element: Element): Rgba => {
      for (let each: Element | null = element; each !== null; each = each.parentElement) {
        const hit = each.classList.contains('row') ? each.querySelector('.hit') : null;
        const style = hit ? getComputedStyle(hit).fill : getComputedStyle(each).backgroundColor;
        const colour = parse(style);
        if (style !== 'none' && colour[3] === 1) return colour;
      }
      throw new Error('the page has no background');
    };
    const wrong: string[] = [];
    const check = (what: string, colour: string, ground: Rgba, least: number) => {
      const ratio = contrast(parse(colour), ground);
      if (ratio < least) wrong.push(`${ratio.toFixed(2)} ${colour} on ${ground}: ${what}`);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
      const element = text.parentElement as Element;
      const isSeen = element.getClientRects().length > 0 && element.closest('script, title') === null;
      if (!isSeen || text.textContent?.trim() === '') continue;
      const style = getComputedStyle(element);
      const isSvg = element instanceof SVGElement;
      check(text.textContent ?? '', isSvg ? style.fill : style.color, groundOf(element), 4.5);
    }
    for (const input of document.querySelectorAll('input'))
      check(input.placeholder, getComputedStyle(input, '::placeholder').color, groundOf(input), 4.5);
    for (const bar of document.querySelectorAll(
      '.bar, .row > .app:not(.outline), .row > .server, .row > .core',
    ))
      check(bar.outerHTML.slice(0, 60), getComputedStyle(bar).fill, groundOf(bar), 3);
    return wrong;
  });
}

/** Asserts that the focus is visible: an outline, or the frame of a row of the waterfall. */
export async function assertFocusIsSeen(page: Page): Promise<void> {
  const seen = await page.evaluate(() => {
    const element = document.activeElement;
    if (element === null || !element.matches(':focus-visible')) return `not visibly: ${element?.outerHTML}`;
    const hit = element.querySelector(':scope > .hit');
    if (hit) return getComputedStyle(hit).stroke === 'none' ? 'no frame' : 'yes';
    const outlines = [getComputedStyle(element), getComputedStyle(element, '::after')];
    return outlines.some(({ outlineStyle }) => outlineStyle !== 'none')
      ? 'yes'
      : `none: ${element.outerHTML}`;
  });
  assert.equal(seen, 'yes');
}
