/** Links in a terminal: OSC 8 where the terminal shows them as such, else the address as text. */
import { createSupportsHyperlinks } from 'supports-hyperlinks';

/**
 * Whether stdout is a terminal that shows links, as far as the environment tells. FORCE_HYPERLINK=1 or 0
 * decides.
 */
export const showsLinks = createSupportsHyperlinks(process.stdout);

/** The text as a link where the terminal can, else the text and the address after it. */
export function terminalLink(text: string, url: string, isLink: boolean): string {
  return isLink ? `\u001b]8;;${url}\u001b\\${text}\u001b]8;;\u001b\\` : `${text}  ${url}`;
}
