/** Links in a terminal: OSC 8 where the terminal supports it, else the address as text. */
import { createSupportsHyperlinks } from 'supports-hyperlinks';

/** Whether stdout is a terminal that supports links. FORCE_HYPERLINK=1 or 0 overrides it. */
export const showsLinks = createSupportsHyperlinks(process.stdout);

/** The text as a link where supported, else the text followed by the address. */
export function terminalLink(text: string, url: string, isLink: boolean): string {
  return isLink ? `\u001b]8;;${url}\u001b\\${text}\u001b]8;;\u001b\\` : `${text}  ${url}`;
}
