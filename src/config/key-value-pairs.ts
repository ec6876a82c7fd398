/**
 * `key=value,key=value` as the specification has it for resource attributes and headers: percent-encoded, as
 * in W3C Baggage.
 */

export interface KeyValuePairs {
  /** Decoded. Of a key that is there twice, the last value. */
  values: Record<string, string>;
  /** One text for each pair that cannot be used: which one, and why. Values are not shown. */
  unusable: string[];
}

/** Good pairs count, whatever the others are. A value may hold = and ; as they are. Never throws. */
export function decodePairs(raw: string): KeyValuePairs {
  return decode(raw, () => undefined);
}

/** The same for headers, whose names are given in lower case. What a header cannot carry is unusable too. */
export function decodeHeaders(raw: string): KeyValuePairs {
  const { values, unusable } = decode(raw, (name, value) => {
    if (!HEADER_NAME.test(name)) return 'not the name of a header';
    return HEADER_VALUE.test(value) ? undefined : 'characters that no header has';
  });
  const entries = Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]);
  return { values: Object.fromEntries(entries), unusable };
}

const HEADER_NAME = /^[!#$%&'*+.^`|~\w-]+$/;
const HEADER_VALUE = /^[\t -~]*$/;

/** A key that may be shown. Others may be a value that was written without its key. */
const PLAIN_KEY = /^[a-z][\w.-]{0,60}$/i;

function decode(raw: string, objection: (key: string, value: string) => string | undefined): KeyValuePairs {
  const values = new Map<string, string>();
  const unusable: string[] = [];
  for (const [index, pair] of raw.split(',').entries()) {
    if (pair.trim() === '') continue;
    const equals = pair.indexOf('=');
    const [key, value] = [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
    const place = equals > 0 && PLAIN_KEY.test(key) ? `${key}=***` : `pair ${index + 1}`;
    if (equals < 0 || key === '') {
      unusable.push(`${place} (${equals < 0 ? 'no =' : 'no key'})`);
      continue;
    }
    const decoded = percentDecoded(key, value);
    const reason = decoded === undefined ? 'bad percent-encoding' : objection(...decoded);
    if (decoded === undefined || reason !== undefined) unusable.push(`${place} (${reason})`);
    else values.set(...decoded);
  }
  return { values: Object.fromEntries(values), unusable };
}

function percentDecoded(key: string, value: string): [key: string, value: string] | undefined {
  try {
    return [decodeURIComponent(key), decodeURIComponent(value)];
  } catch {
    return undefined;
  }
}
