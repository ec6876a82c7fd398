/** The script of the report: a list of traces, or one trace as a waterfall, chosen by the URL's hash. */

import type { StepsTable } from '../../pictures/request-steps.ts';
import { duration, type Element, element } from '../../pictures/svg.ts';
import { drawWaterfall, glyph, hasSeveralCalls, sideNames } from '../../pictures/waterfall.ts';
import type { Join, ReportData, ReportRow, ReportTrace } from '../report-data.ts';

const data = JSON.parse(byId('data').textContent ?? '') as ReportData;
const page = byId('page');

function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** Nodes are created by the DOM, never from markup, so text stays text. */
function node(from: Element, isSvg = false): globalThis.Element {
  const inSvg = isSvg || from.tag === 'svg';
  const made = inSvg
    ? document.createElementNS('http://www.w3.org/2000/svg', from.tag)
    : document.createElement(from.tag);
  for (const [name, value] of Object.entries(from.attributes)) made.setAttribute(name, String(value));
  made.append(...from.children.map((child) => (typeof child === 'string' ? child : node(child, inSvg))));
  return made;
}

const show = (...elements: Element[]) => page.replaceChildren(...elements.map((each) => node(each)));

const sign = (side: ReportRow['side']) =>
  element(
    'svg',
    { width: 12, height: 14, viewBox: '-1 -7 12 14', role: 'img', 'aria-label': sideNames[side] },
    glyph(side, 0, 0),
  );

const timeOf = (ms: number) => {
  const time = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':');
  return `${clock}.${String(time.getMilliseconds()).padStart(3, '0')}`;
};

const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;

function joinBadge({ join, unjoinedCount }: ReportTrace): Element {
  const badges: Record<Join, [className: string, text: string]> = {
    joined: ['good', '✓ joined'],
    'not joined': ['bad', `✕ ${plural(unjoinedCount, 'call')} not joined`],
    'server only': ['neutral', 'server only'],
    'no call': ['neutral', 'no Milvus call'],
  };
  const [className, text] = badges[join];
  return element('span', { class: `badge ${className}` }, text);
}

const errorBadge = ({ errorCount }: ReportTrace) =>
  errorCount === 0
    ? element('span', { class: 'quiet zero' }, '0')
    : element('span', { class: 'badge bad' }, `✕ ${errorCount}`);

// The list

type Column = 'name' | 'startMs' | 'durationMs' | 'spans' | 'errorCount' | 'join';
const columns: { key: Column; title: string; value(trace: ReportTrace): string | number }[] = [
  { key: 'name', title: 'Trace', value: ({ name }) => name },
  { key: 'startMs', title: 'Start', value: ({ startMs }) => startMs },
  { key: 'durationMs', title: 'Duration', value: ({ durationMs }) => durationMs },
  { key: 'spans', title: 'Spans', value: ({ rows }) => rows.length },
  { key: 'errorCount', title: 'Errors', value: ({ errorCount }) => errorCount },
  { key: 'join', title: 'Milvus server', value: ({ join }) => join },
];
/** The user's choices; the URL holds only the trace. */
const list = { sortedBy: 'startMs' as Column, isDescending: false, filter: '' };

function listedTraces(): ReportTrace[] {
  const wanted = list.filter.trim().toLowerCase();
  const column = columns.find(({ key }) => key === list.sortedBy);
  const direction = list.isDescending ? -1 : 1;
  return data.traces
    .filter(
      ({ id, rows }) =>
        id.includes(wanted) ||
        rows.some(({ name, service }) => `${service} ${name}`.toLowerCase().includes(wanted)),
    )
    .sort((a, b) => {
      const [left, right] = [column?.value(a) ?? 0, column?.value(b) ?? 0];
      return left === right ? a.startMs - b.startMs : direction * (left < right ? -1 : 1);
    });
}

function showList(notice?: string): void {
  document.title = `${data.command}: traces`;
  const spanCount = data.traces.reduce((sum, { rows }) => sum + rows.length, 0);
  const calling = data.traces.filter(({ join }) => join === 'joined' || join === 'not joined');
  const joined = calling.filter(({ join }) => join === 'joined');
  show(
    element('h1', { tabindex: -1 }, `Traces of ${data.command}`),
    element(
      'p',
      { class: 'quiet' },
      `${plural(data.traces.length, 'trace')}, ${plural(spanCount, 'span')}. The Milvus server joined ${joined.length} of ` +
        `${plural(calling.length, 'trace')} in which ${data.service} calls it. Written at ${timeOf(data.writtenMs)}.`,
    ),
    ...(notice === undefined ? [] : [element('p', { class: 'notice', role: 'alert' }, notice)]),
    element(
      'label',
      { class: 'filter' },
      'Filter ',
      element('input', { type: 'search', id: 'filter', placeholder: 'name, service or trace id' }),
    ),
    element('div', { class: 'traces', role: 'table', 'aria-label': 'Traces', id: 'traces' }),
    ...(data.steps === undefined ? [] : stepsSection(data.steps)),
  );
  const filter = byId('filter') as HTMLInputElement;
  filter.value = list.filter;
  filter.addEventListener('input', () => {
    list.filter = filter.value;
    fillList();
  });
  fillList();
}

function fillList(): void {
  const traces = listedTraces();
  const longestMs = Math.max(...data.traces.map(({ durationMs }) => durationMs));
  const heads = columns.map(({ key, title }) => {
    const isSorted = key === list.sortedBy;
    const sort = list.isDescending ? 'descending' : 'ascending';
    const arrow = element('span', { 'aria-hidden': 'true', class: 'arrow' }, list.isDescending ? '▼' : '▲');
    return element(
      'span',
      { role: 'columnheader', 'aria-sort': isSorted ? sort : 'none' },
      element('button', { type: 'button', 'data-column': key }, title, ...(isSorted ? [arrow] : [])),
    );
  });
  const table = byId('traces');
  table.replaceChildren(
    node(element('div', { role: 'row', class: 'head' }, ...heads)),
    ...traces.map((trace) => node(listRow(trace, longestMs))),
  );
  if (traces.length === 0)
    table.append(
      node(
        element(
          'p',
          { class: 'notice' },
          list.filter === '' ? 'There is no trace.' : 'No trace fits the filter.',
        ),
      ),
    );
  for (const button of table.querySelectorAll('button')) {
    button.addEventListener('click', () => {
      const column = button.dataset.column as Column;
      list.isDescending = list.sortedBy === column && !list.isDescending;
      list.sortedBy = column;
      fillList();
      table.querySelector<HTMLElement>(`[data-column=${column}]`)?.focus();
    });
  }
}

function listRow(trace: ReportTrace, longestMs: number): Element {
  const cell = (className: string, ...children: (Element | string)[]) =>
    element('span', { role: 'cell', class: className }, ...children);
  const share = Math.max(0.5, (100 * trace.durationMs) / longestMs);
  return element(
    'div',
    { role: 'row', class: 'trace' },
    cell(
      'name',
      element('a', { href: `#${trace.id}` }, sign(trace.side), element('span', {}, trace.name)),
      element('span', { class: 'quiet' }, trace.service),
    ),
    cell('number start', timeOf(trace.startMs)),
    cell(
      'number duration',
      element('span', {}, duration(trace.durationMs)),
      element(
        'svg',
        { class: 'share', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        element('rect', { class: trace.side, width: share, height: 4 }),
      ),
    ),
    cell('number spans', String(trace.rows.length)),
    cell('number errors', errorBadge(trace)),
    cell('join', joinBadge(trace)),
  );
}

/** The time of requests, one line per step. */
function stepsSection({ title, columns, rows }: StepsTable): Element[] {
  const cells = (row: StepsTable['rows'][number]) =>
    row.cells.map(({ ms, share }) =>
      element(
        'td',
        { class: 'number' },
        duration(ms),
        element('span', { class: 'quiet' }, ` ${Math.round(100 * share)} %`),
      ),
    );
  return [
    element('h2', { class: 'section' }, title),
    element(
      'div',
      // Scrollable on narrow screens, also by keyboard.
      { class: 'steps-table', tabindex: 0, role: 'region', 'aria-label': title },
      element(
        'table',
        {},
        element('tr', {}, ...['', ...columns].map((column) => element('th', { scope: 'col' }, column))),
        ...rows.map((row) =>
          element(
            'tr',
            {},
            element('th', { scope: 'row', class: `level-${row.level}` }, row.label),
            ...cells(row),
          ),
        ),
      ),
    ),
  ];
}

// A trace

/** The trace that is shown; undefined while the list is shown. */
let shown: { trace: ReportTrace; selected: number | undefined; focused: number } | undefined;

function showTrace(trace: ReportTrace): void {
  document.title = `${trace.name}: ${data.command}`;
  shown = { trace, selected: undefined, focused: 0 };
  const position = data.traces.indexOf(trace);
  const step = (offset: number, text: string, label: string) => {
    const other = data.traces[position + offset];
    return other === undefined
      ? element('span', { class: 'quiet', 'aria-hidden': 'true' }, text)
      : element('a', { href: `#${other.id}`, 'aria-label': `${label}: ${other.name}` }, text);
  };
  const fact = (title: string, ...value: (Element | string)[]) =>
    element('div', {}, element('dt', {}, title), element('dd', {}, ...value));
  const { gapMs, serverMs } = trace;
  show(
    element(
      'nav',
      { 'aria-label': 'Traces' },
      element('a', { href: '#' }, '← All traces'),
      element(
        'span',
        { class: 'steps' },
        step(-1, '‹ Earlier', 'Earlier trace'),
        element('span', { class: 'quiet' }, `${position + 1} of ${data.traces.length}`),
        step(1, 'Later ›', 'Later trace'),
      ),
    ),
    element('h1', { tabindex: -1 }, trace.name),
    element(
      'dl',
      { class: 'facts' },
      fact('Start', timeOf(trace.startMs)),
      fact('Duration', duration(trace.durationMs)),
      ...(serverMs === undefined ? [] : [fact('In the server', duration(serverMs))]),
      ...(gapMs === undefined ? [] : [fact(gapTitle(trace.rows), duration(gapMs))]),
      fact('Spans', String(trace.rows.length)),
      fact('Errors', errorBadge(trace)),
      fact('Milvus server', joinBadge(trace)),
      fact(
        'Trace',
        element('code', {}, trace.id),
        ...(data.viewer === undefined
          ? []
          : [
              ' ',
              element(
                'a',
                { href: data.viewer.url.replace('{id}', trace.id) },
                `Open in ${data.viewer.name}`,
              ),
            ]),
      ),
    ),
    element(
      'div',
      { class: 'panes', id: 'panes' },
      element('div', { class: 'waterfall', id: 'waterfall' }),
      element('section', {
        class: 'details',
        id: 'details',
        'aria-label': 'Span',
        'aria-live': 'polite',
        hidden: '',
      }),
    ),
    element(
      'p',
      { class: 'quiet' },
      "Click or Enter shows a span's attributes, ↑ and ↓ go to the next span, Esc closes. " +
        "Network gap: a call's time outside the server.",
    ),
  );
  drawShown();
}

function drawShown(): void {
  if (shown === undefined) return;
  const { trace, selected, focused } = shown;
  const holder = byId('waterfall');
  const width = Math.floor(holder.clientWidth);
  const hadFocus = holder.contains(document.activeElement);
  const { elements, height } = drawWaterfall(trace.rows, {
    width,
    rowAttributes: (row, index) => ({
      role: 'treeitem',
      tabindex: index === focused ? 0 : -1,
      'aria-level': row.level + 1,
      'aria-selected': String(index === selected),
      'aria-label': ariaLabel(row as ReportRow),
      'data-row': index,
    }),
  });
  holder.replaceChildren(
    node(
      element(
        'svg',
        {
          width,
          height,
          viewBox: `0 0 ${width} ${height}`,
          role: 'tree',
          'aria-label': `Spans of ${trace.name}`,
        },
        ...elements,
      ),
    ),
  );
  if (hadFocus) rowAt(focused)?.focus();
}

function ariaLabel(row: ReportRow): string {
  const failed = row.failed ? ', failed' : '';
  return `${row.name}, ${sideNames[row.side]}, starts at ${duration(row.startMs)}, takes ${duration(row.durationMs)}${failed}`;
}

const rowAt = (index: number) => document.querySelector<SVGGElement>(`[data-row="${index}"]`);

function focusRow(index: number): void {
  if (shown === undefined || shown.trace.rows[index] === undefined) return;
  rowAt(shown.focused)?.setAttribute('tabindex', '-1');
  shown.focused = index;
  const row = rowAt(index);
  row?.setAttribute('tabindex', '0');
  row?.focus();
  if (shown.selected !== undefined) select(index);
}

/** Undefined closes the details. */
function select(index: number | undefined): void {
  if (shown === undefined) return;
  shown.selected = index;
  const details = byId('details');
  const row = index === undefined ? undefined : shown.trace.rows[index];
  const wasHidden = details.hidden;
  details.hidden = row === undefined;
  byId('panes').classList.toggle('open', row !== undefined);
  details.replaceChildren(...(row === undefined ? [] : spanDetails(row).map((each) => node(each))));
  details.querySelector('button')?.addEventListener('click', closeDetails);
  // The details may narrow the waterfall.
  if (wasHidden !== details.hidden) drawShown();
  for (const each of document.querySelectorAll('.row'))
    each.setAttribute('aria-selected', String(each === rowAt(index ?? -1)));
  if (index !== undefined) reveal(index);
}

/** On a phone the details cover the lower part of the window. */
function reveal(index: number): void {
  const row = rowAt(index);
  if (row === null) return;
  row.scrollIntoView({ block: 'nearest' });
  const { bottom, right } = row.getBoundingClientRect();
  const details = byId('details').getBoundingClientRect();
  const isOver = details.left < right;
  if (isOver && bottom > details.top) scrollBy(0, bottom - details.top + 8);
}

function closeDetails(): void {
  select(undefined);
  rowAt(shown?.focused ?? 0)?.focus();
}

function spanDetails(row: ReportRow): Element[] {
  const facts: [string, string | undefined][] = [
    ['Service', `${row.service} (${sideNames[row.side]})`],
    ['Kind', row.kind],
    ['Start', `+${duration(row.startMs)}`],
    ['Duration', duration(row.durationMs)],
    [gapTitle([row]), row.gapMs === undefined ? undefined : duration(row.gapMs)],
    [
      'Clocks',
      row.outsideMs === undefined
        ? undefined
        : `The clocks of app and server differ by ${duration(row.outsideMs)} or more: the place of the gap is unknown.`,
    ],
    ['Status', row.failed ? `ERROR ${row.statusMessage}`.trim() : undefined],
    ['Scope', row.scope || undefined],
    ['Span', row.id],
    ['Parent', row.missingParent && `${row.missingParent} (not in this report)`],
  ];
  const resource = Object.entries(data.resources[row.resource] ?? {});
  return [
    element(
      'header',
      {},
      element('h2', {}, sign(row.side), element('span', {}, row.name)),
      element('button', { type: 'button', 'aria-label': 'Close', title: 'Close (Esc)' }, '✕'),
    ),
    table(facts.filter((fact): fact is [string, string] => fact[1] !== undefined)),
    element('h3', {}, 'Attributes'),
    table(Object.entries(row.attributes)),
    ...row.events.flatMap(({ name, attributes }) => [
      element('h3', {}, `Event: ${name}`),
      table(Object.entries(attributes)),
    ]),
    element('details', {}, element('summary', {}, 'Resource'), table(resource)),
  ];
}

const gapTitle = (rows: ReportRow[]) => (rows.some(hasSeveralCalls) ? 'Outside the server' : 'Network gap');

function table(pairs: [string, unknown][]): Element {
  if (pairs.length === 0) return element('p', { class: 'quiet' }, 'none');
  return element(
    'dl',
    { class: 'pairs' },
    ...pairs.flatMap(([name, value]) => [
      element('dt', {}, name),
      element('dd', {}, typeof value === 'string' ? value : JSON.stringify(value)),
    ]),
  );
}

// The page

/** Shows the page of the URL's hash; returns the trace shown before. */
function showAddressed(): { cameFrom: string | undefined; isList: boolean } {
  const cameFrom = shown?.trace.id;
  shown = undefined;
  const id = location.hash.slice(1);
  const trace = data.traces.find((each) => each.id === id);
  if (trace !== undefined) showTrace(trace);
  else showList(id === '' ? undefined : `This report has no trace ${id}.`);
  return { cameFrom, isList: trace === undefined };
}

addEventListener('hashchange', () => {
  const { cameFrom, isList } = showAddressed();
  // Restores the focus on return to the list.
  const link = isList ? page.querySelector<HTMLElement>(`a[href="#${cameFrom}"]`) : null;
  if (link === null) scrollTo(0, 0);
  (link ?? page.querySelector<HTMLElement>('h1'))?.focus();
});
addEventListener('resize', drawShown);

page.addEventListener('click', ({ target }) => {
  const row = target instanceof globalThis.Element ? target.closest<SVGGElement>('[data-row]') : null;
  if (row === null || shown === undefined) return;
  const index = Number(row.dataset.row);
  const isOpen = shown.selected === index;
  shown.selected = undefined;
  focusRow(index);
  select(isOpen ? undefined : index);
});

addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const target = event.target as HTMLElement;
  if (event.key === 'Escape' && shown !== undefined) {
    if (shown.selected === undefined) location.hash = '';
    else closeDetails();
    return;
  }
  if (target.closest('[data-row]') !== null && shown !== undefined) {
    const { focused, trace } = shown;
    const steps: Record<string, () => void> = {
      ArrowDown: () => focusRow(focused + 1),
      ArrowUp: () => focusRow(focused - 1),
      Home: () => focusRow(0),
      End: () => focusRow(trace.rows.length - 1),
      Enter: () => select(shown?.selected === focused ? undefined : focused),
      ' ': () => select(shown?.selected === focused ? undefined : focused),
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    step();
    return;
  }
  // Moves between the links of the list.
  if (target.closest('.trace') !== null && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
    const links = [...document.querySelectorAll<HTMLElement>('.trace a')];
    links[links.indexOf(target) + (event.key === 'ArrowDown' ? 1 : -1)]?.focus();
    event.preventDefault();
  }
});

showAddressed();
