/** NODE_OPTIONS as Node reads it. Pure. */

/** Node's own rule: blanks separate, double quotes hold together, a backslash escapes within them. */
export function splitNodeOptions(text: string): { words: string[]; unterminated: boolean } {
  const words: string[] = [];
  let word: string | undefined;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    let char = text[at] as string;
    if (quoted && char === '\\' && at + 1 < text.length) char = text[++at] as string;
    else if (char === ' ' && !quoted) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    } else if (char === '"') {
      quoted = !quoted;
      word ??= '';
      continue;
    }
    word = (word ?? '') + char;
  }
  if (word !== undefined) words.push(word);
  return { words, unterminated: quoted };
}
