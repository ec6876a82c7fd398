/** Environments for property-based tests: all settings, and names that nothing reads. */
import fc from 'fast-check';
import { SETTINGS } from '../../src/config/settings.ts';

/** On failure, fast-check prints the seed and the path to the case; MILVUS_OTEL_TEST_SEED sets the seed. */
export const CASES = { seed: Number(process.env.MILVUS_OTEL_TEST_SEED ?? 19_530), numRuns: 2_000 };

/** A secret in every variable that may hold one. */
export const PLANT = 'hunter2-planted';

const rows = Object.values(SETTINGS);
const names = rows.map(({ env }) => env as string);

const number = fc.oneof(
  fc.integer().map(String),
  fc.double().map(String),
  fc.bigInt().map(String),
  fc.constantFrom(
    '0',
    '-0',
    '-1',
    '1e400',
    '0x10',
    '1_000',
    '2147483648',
    '9007199254740993',
    'NaN',
    '٣',
    ' 7 ',
    '7ms',
  ),
);
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom(
    '',
    ' ',
    '\t\n',
    ',',
    ',,',
    '=',
    '%',
    '%zz',
    '\u0000',
    '\ud800',
    '\u001b[2J',
    'a\nb',
    '\u2028',
    '\u202e',
  ),
  fc.constantFrom(
    '__proto__',
    'constructor',
    'toString',
    '$OTEL_SERVICE_NAME',
    '$(true)',
    '../../etc/passwd',
  ),
  fc.constantFrom('x'.repeat(100_000), `${'a=b,'.repeat(20_000)}c`),
);
const url = fc.oneof(
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  fc.constantFrom(
    'http://',
    'http://[::1',
    'http://[::1]:4317',
    '//host',
    'host:port:4317',
    'file:///etc/passwd',
    'javascript:0',
    'unix:',
    'unix:///run/x.sock',
    'HTTP://LOCALHOST:4317',
    'http://localhost:0',
    'http://localhost:65536',
    `http://me:${PLANT}@localhost:99999`,
    `ftp://localhost/?token=${PLANT}`,
    `me:${PLANT}@host:99999`,
  ),
);
const words = fc
  .array(
    fc.constantFrom(
      ...[
        'true',
        'TRUE',
        'yes',
        '1',
        'otlp',
        'none',
        'console',
        'zipkin',
        'prometheus',
        'grpc',
        'http',
        'http/json',
      ],
      ...[
        'gzip',
        'milvus',
        'exprss',
        'tracecontext',
        'b3',
        'jaeger',
        'env',
        'all',
        'debug',
        'off',
        'a=b',
        '=b',
        'a=',
      ],
      ...['always_on', 'parentbased_traceidratio', ''],
    ),
    { maxLength: 4 },
  )
  .map((list) => list.join(','));
const anything = fc.oneof(words, number, text, url);

const header = fc.constantFrom(
  `authorization=Bearer%20${PLANT}`,
  `Bearer ${PLANT}`,
  `${PLANT}`,
  `=${PLANT}`,
  `a=${PLANT},b`,
);
const valuesOf = (name: string) => (name.includes('HEADER') ? header : anything);

const known = fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant(name), valuesOf(name)));

/** One typing error: a letter added, removed or replaced, or two swapped. */
const mistyped = fc
  .tuple(
    fc.constantFrom(...names),
    fc.nat(),
    fc.constantFrom('more', 'fewer', 'other', 'swapped'),
    fc.constantFrom('A', 'Z', '_', '1'),
  )
  .map(([name, where, slip, letter]) => {
    const at = 5 + (where % (name.length - 6));
    const rest = {
      more: name.slice(at),
      fewer: name.slice(at + 1),
      other: name.slice(at + 1),
      swapped: name.slice(at + 2),
    };
    const put = { more: letter, fewer: '', other: letter, swapped: `${name[at + 1]}${name[at]}` };
    return `${name.slice(0, at)}${put[slip]}${rest[slip]}`;
  })
  .filter((name) => !names.includes(name));
const made = fc.oneof(
  fc.stringMatching(/^[A-Z_]{0,40}$/).map((end) => `OTEL_${end}`),
  fc.string({ unit: 'binary' }).map((end) => `OTEL_${end}`),
  fc.constantFrom(
    'OTEL_',
    `OTEL_${'X'.repeat(50_000)}`,
    'OTEL_SERVICE_NAME\n',
    'otel_service_name',
    '__proto__',
  ),
);
const unknown = fc
  .oneof({ weight: 3, arbitrary: mistyped }, made)
  .chain((name) => fc.tuple(fc.constant(name), valuesOf(name)));

/** Up to a dozen known variables and some that nothing reads. */
export const hostileEnvironment: fc.Arbitrary<Record<string, string>> = fc
  .tuple(fc.array(known, { maxLength: 12 }), fc.array(unknown, { maxLength: 4 }))
  .map(([some, others]) => Object.fromEntries([...others, ...some]));
