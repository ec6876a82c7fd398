/**
 * Numbers that OpenTelemetry's JSON serializers write in a way that collectors reject, with the whole
 * request: NaN and ±Infinity as null, and whole numbers beyond 64 bits as integers. Pure.
 */

/** In a text, the quotes would have backslashes. */
const UNREADABLE = /"(doubleValue|asDouble|sum|min|max)":null|"intValue":(-?\d{19,}|-?[\d.]+e\+\d+)/g;

/** First that do not fit into 64 bits. */
const TOO_LARGE = 2 ** 63;

/** @param body of a request; returned itself when all numbers are readable */
export function withReadableNumbers(body: Uint8Array): Uint8Array {
  // Latin-1 has a character for each byte.
  const text = Buffer.from(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength).toString('latin1');
  const readable = text.replace(UNREADABLE, (found, name?: string, integer?: string) => {
    // The serializers do not keep which one it was.
    if (name !== undefined) return `"${name}":"NaN"`;
    return Math.abs(Number(integer)) < TOO_LARGE ? found : `"doubleValue":${integer}`;
  });
  return readable === text ? body : Buffer.from(readable, 'latin1');
}

/** The same serializer, with readable numbers. */
export const readable = <Items>(serializer: { serializeRequest(items: Items): Uint8Array | undefined }) => ({
  serializeRequest: (items: Items): Uint8Array =>
    withReadableNumbers(serializer.serializeRequest(items) ?? new Uint8Array()),
});
