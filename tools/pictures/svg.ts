/** SVG elements and values for the documents' pictures and the report. */

/** An element, later rendered as text or as a DOM node; a string is its text. */
export interface Element {
  tag: string;
  attributes: Record<string, string | number>;
  children: (Element | string)[];
}

export function element(
  tag: string,
  attributes: Element['attributes'] = {},
  ...children: Element['children']
): Element {
  return { tag, attributes, children };
}

/** The element as SVG text, one line per child. */
export function markup({ tag, attributes, children }: Element): string {
  const pairs = Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(String(value))}"`);
  const open = `<${tag}${pairs.join('')}`;
  if (children.length === 0) return `${open}/>`;
  const inner = children.map((child) => (typeof child === 'string' ? escapedContent(child) : markup(child)));
  const isText = children.every((child) => typeof child === 'string');
  return isText ? `${open}>${inner.join('')}</${tag}>` : `${open}>\n${inner.join('\n')}\n</${tag}>`;
}

/** Pixels with two decimals: more digits only enlarge the file. */
export function px(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Text for content and attributes. */
export function escaped(text: string): string {
  return escapedContent(text).replaceAll('"', '&#34;');
}

/** Text for content only: styles are full of quotes. */
function escapedContent(text: string): string {
  return text.replace(/[<>&]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A duration in ms with its unit. */
export function duration(ms: number): string {
  if (ms > 0 && ms < 0.01) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  return ms < 10_000 ? `${ms.toFixed(2)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
