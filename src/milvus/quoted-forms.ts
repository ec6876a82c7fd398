/** How Milvus' Go and C++ code writes a text or a number that it quotes. */

/**
 * The forms in which a server may write `text`: unchanged, decoded, with escapes of JSON or Go, a number in
 * Go's format.
 */
export function written(text: string): string[] {
  if (PLAIN.test(text)) return [text];
  const forms = [text];
  const plain = text.replace(
    /\\(?:u\{?([\da-f]{4})\}?|x([\da-f]{2})|([0-7]{3})|(.))/gis,
    (_, unicode, hex, octal, other) =>
      other === undefined
        ? String.fromCharCode(Number.parseInt(unicode ?? hex ?? octal, unicode || hex ? 16 : 8))
        : (ESCAPED[other] ?? other),
  );
  forms.push(plain);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is written with an escape
  if (/[\x00-\x1f\x7f-\uffff"'\\]/.test(plain)) {
    forms.push(JSON.stringify(plain).slice(1, -1), asciiOf(plain), octalOf(plain));
  }
  const number = Number(text);
  if (text.trim() !== '' && Number.isFinite(number)) forms.push(String(number), number.toExponential());
  return forms;
}

/** Texts with one form only: most are keys, and there may be thousands. */
const PLAIN = /^(?:\d{1,15}|[\w@:/-]*[a-z_@:/][\w@:/-]*)$/i;

const ESCAPED: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07' };

const asciiOf = (text: string): string =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Escapes as in protobuf's text format. */
const octalOf = (text: string): string =>
  text.replace(/[^ -~]+/g, (run) =>
    Array.from(Buffer.from(run), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join(''),
  );
