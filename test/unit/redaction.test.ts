import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { secretsIn, withoutSecrets } from '../../src/config/redaction.ts';
import { withoutCredentials } from '../../src/config/settings.ts';
import { RUNS } from '../support/arbitrary-values.ts';

const hidden = (env: Record<string, string>, text: string) => withoutSecrets(text, secretsIn(env));

test('the value of a header is hidden, as it was set, decoded, and without its scheme', () => {
  const env = { OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'authorization=Bearer%20hunter2%2B,x-tenant=acme' };
  for (const echoed of ['Bearer%20hunter2%2B', 'Bearer hunter2+', 'hunter2+'])
    assert.equal(hidden(env, `refused: ${echoed}!`), 'refused: ***!');
  assert.equal(hidden(env, 'authorization is missing for acme'), 'authorization is missing for ***');
});

test('logins and queries of endpoints are hidden, and so are variables for a password or a token', () => {
  assert.equal(
    hidden(
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://mary:hunter%402@host:4318/v1?key=abcdef&empty=' },
      'for mary with hunter@2 or hunter%402 and abcdef at host:4318',
    ),
    'for *** with *** or *** and *** at host:4318',
  );
  assert.equal(hidden({ OTEL_EXPORTER_OTLP_ENDPOINT: 'mary:hunter2@host:4317' }, 'hunter2 host'), '*** host');
  assert.equal(hidden({ OTEL_EXPORTER_JAEGER_PASSWORD: 'hunter2' }, 'hunter2'), '***');
});

test('nothing else is hidden: addresses, names, other variables, and values too short to be a secret', () => {
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4317/v1?a=b',
    OTEL_SERVICE_NAME: 'search',
    OTEL_EXPORTER_OTLP_HEADERS: 'a=no,b=',
    PASSWORD: 'hunter2',
  };
  assert.equal(
    hidden(env, 'search to http://localhost:4317 no hunter2'),
    'search to http://localhost:4317 no hunter2',
  );
});

test('the values of a query are not shown, the rest of the address is', () => {
  assert.equal(withoutCredentials('https://host/v1?key=hunter2&b=c#x'), 'https://host/v1?key=***&b=***#x');
  assert.equal(withoutCredentials('Is it up?'), 'Is it up?');
});

test('any environment can be searched for secrets, and none of them is left in a text', () => {
  const url = fc
    .tuple(fc.string(), fc.string(), fc.string())
    .map((parts) => parts.map(encodeURIComponent))
    .map(([user, password, key]) => `https://${user}:${password}@host:4318/v1?key=${key}`);
  const value = fc.oneof(fc.string({ unit: 'binary' }), url);
  const env = fc.dictionary(
    fc.constantFrom('OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_X_TOKEN', 'OTEL_X'),
    value,
  );
  fc.assert(
    fc.property(env, fc.string(), (variables, text) => {
      for (const secret of secretsIn(variables)) {
        const rest = withoutSecrets(`${text}${secret}${text}`, secretsIn(variables));
        // Hidden text is replaced with stars.
        if (!secret.includes('*')) assert.ok(!rest.includes(secret), secret);
      }
    }),
    RUNS,
  );
});
