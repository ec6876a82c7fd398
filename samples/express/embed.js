/** Length of a vector from `embed`. */
export const dimension = 64;

/**
 * A stand-in for a model: counts the words of a text in 64 buckets and scales to length 1, so texts that share words are near.
 * Deterministic; a text without a word gives the first axis, since a vector of zeros has no direction.
 */
export function embed(text) {
  const vector = new Array(dimension).fill(0);
  for (const word of text.toLowerCase().match(/\p{L}+/gu) ?? []) vector[bucketOf(word)] += 1;
  const length = Math.hypot(...vector);
  if (length === 0) vector[0] = 1;
  return length === 0 ? vector : vector.map((count) => count / length);
}

/** FNV-1a of the word, folded into one of the buckets. */
function bucketOf(word) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(word)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % dimension;
}
