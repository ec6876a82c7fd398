import { embed, similarity } from './embed.js';

const mostSentences = 3;
/** Below this a sentence shares no more with the question than any other text does. */
const leastSimilarity = 0.2;
/** A sentence below this share of the best score is irrelevant. */
const leastShareOfBest = 0.75;

/**
 * An answer out of the passages' own sentences, without a language model: from each passage the sentence that is nearest
 * to the question, the nearest first, each followed by the number of its passage. Null when none is near.
 *
 * @param passages {title, text}, as the search ranked them; the first is number 1.
 */
export function assembleAnswer(questionVector, passages) {
  const candidates = passages.map(({ title, text }, index) => {
    const sentences = sentencesOf(text).map((sentence) => ({
      // The title names the subject of a sentence that only has "it".
      near: similarity(questionVector, embed(`${title} ${sentence}`)),
      text: `${sentence} [${index + 1}]`,
    }));
    return sentences.reduce((best, each) => (each.near > best.near ? each : best));
  });
  candidates.sort((a, b) => b.near - a.near);
  const best = candidates[0]?.near ?? 0;
  if (best < leastSimilarity) return null;
  return candidates
    .slice(0, mostSentences)
    .filter(({ near }) => near >= leastSimilarity && near >= leastShareOfBest * best)
    .map(({ text }) => text)
    .join(' ');
}

/** Passages of whole sentences, each at most `mostCharacters` long unless one sentence alone is longer. */
export function splitIntoPassages(text, mostCharacters = 500) {
  const passages = [];
  for (const sentence of sentencesOf(text)) {
    const last = passages.at(-1);
    if (last === undefined || last.length + 1 + sentence.length > mostCharacters) passages.push(sentence);
    else passages[passages.length - 1] = `${last} ${sentence}`;
  }
  return passages;
}

/** At least one, for any text with something in it. */
function sentencesOf(text) {
  const segments = new Intl.Segmenter('en', { granularity: 'sentence' }).segment(text);
  return Array.from(segments, ({ segment }) => segment.trim()).filter((sentence) => sentence !== '');
}
