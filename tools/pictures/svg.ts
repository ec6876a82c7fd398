/** Values as the pictures of the documents have them. */

/** Pixels, by the hundredth: more digits would only make the file longer. */
export function px(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Text for content and attributes. */
export function escaped(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
