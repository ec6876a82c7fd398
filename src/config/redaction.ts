/**
 * Texts that must never be printed, also when another program repeats them: a collector that quotes a header
 * in its refusal, OpenTelemetry's own messages at a fine log level, an address in an error of the network's.
 */
type Env = Readonly<Record<string, string | undefined>>;

/** Shorter ones would blot out innocent text, and are no secrets. */
const SHORTEST = 4;

/** Of a header's value, the word before the secret. */
const SCHEMES = /^(bearer|basic|token|apikey|api-key|digest|negotiate)$/i;

/** All that is secret in OTEL_ variables, as set and decoded, the longest first. */
export function secretsIn(env: Env): string[] {
  const found = new Set<string>();
  const add = (raw: string) => {
    for (const text of [raw, decoded(raw)]) {
      found.add(text.trim());
      for (const word of text.split(/[\s;,]+/)) if (!SCHEMES.test(word)) found.add(word);
    }
  };
  for (const [name, value = ''] of Object.entries(env)) {
    if (!name.startsWith('OTEL_') || value === '') continue;
    if (name.includes('HEADER')) {
      for (const pair of value.split(',')) add(pair.slice(pair.indexOf('=') + 1));
    } else if (/TOKEN|PASSWORD|SECRET|API_?KEY/.test(name)) {
      add(value);
    } else if (/ENDPOINT|URL/.test(name)) {
      // Not by URL: a password that was not encoded makes it none.
      const login = /^(?:[^@/]*:\/\/)?(.*)@/s.exec(value)?.[1];
      if (login !== undefined) for (const part of [login, ...login.split(':')]) add(part);
      for (const [, query = ''] of value.matchAll(/[?&][^=&#]*=([^&#]*)/g)) add(query);
    }
  }
  return [...found].filter(({ length }) => length >= SHORTEST).sort((a, b) => b.length - a.length);
}

export const withoutSecrets = (text: string, secrets: readonly string[]): string =>
  secrets.reduce((rest, secret) => rest.replaceAll(secret, '***'), text);

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
