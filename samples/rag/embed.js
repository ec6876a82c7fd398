/** Length of a vector from `embed`. */
export const dimension = 384;

/** Weight of a word's letters compared with the whole word: forms of one word are near, other words are not. */
const lettersWeight = 0.6;

// Words that every question has: they would make all questions alike.
const stopWords = new Set(
  `a about an and are as at be but by can do does for from has have how i if in into is it its me my no not of on or
  our out so than that the their them then there they this to was we were what when where which who why will with you
  your`.split(/\s+/),
);

/**
 * A stand-in for a model: knows the form of words, nothing of their meaning. Each word, and each run of three letters in
 * it, is hashed to one axis; what comes often counts less each time; the vector has length 1. So "searches" is near
 * "search", and "car" is far from "automobile". Deterministic, without state; a text without a word gives the first
 * axis, since a vector of zeros has no direction.
 */
export function embed(text) {
  const vector = new Array(dimension).fill(0);
  for (const [feature, { count, weight }] of features(text)) {
    const hash = fnv1a(feature);
    // A sign from the hash: features that share an axis cancel out as often as they add up.
    const sign = hash >>> 31 === 0 ? 1 : -1;
    vector[hash % dimension] += sign * weight * (1 + Math.log(count));
  }
  const length = Math.hypot(...vector);
  if (length === 0) vector[0] = 1;
  return length === 0 ? vector : vector.map((value) => value / length);
}

/** From -1 to 1, 1 for the same direction; both of length 1. */
export function similarity(a, b) {
  return a.reduce((sum, value, axis) => sum + value * b[axis], 0);
}

/** Feature → how often it comes, and what it weighs. */
function features(text) {
  const found = new Map();
  const add = (feature, weight) => {
    const { count } = found.get(feature) ?? { count: 0 };
    found.set(feature, { count: count + 1, weight });
  };
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []) {
    if (stopWords.has(word)) continue;
    add(word, 1);
    const framed = `^${word}$`;
    const runs = framed.length - 2;
    for (let start = 0; start < runs; start += 1) {
      add(framed.slice(start, start + 3), lettersWeight / Math.sqrt(runs));
    }
  }
  return found;
}

function fnv1a(text) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}
