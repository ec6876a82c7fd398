import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LONGEST_TIMER_MS,
  readSettings,
  SETTINGS,
  shownFallback,
  withoutCredentials,
} from '../../src/config/settings.ts';
import { describeMisspelling, describeProblem } from '../../src/sdk/diagnostics.ts';
import { VARIABLE_DOCUMENTATION } from '../../tools/docs/variables.ts';
import { RUNS } from '../support/arbitrary-values.ts';

type Key = keyof typeof SETTINGS;

interface Cases {
  /** The value of the variable → the setting. */
  valid: [raw: string, value: unknown][];
  invalid: string[];
}

const flag: Cases = {
  valid: [
    ['true', true],
    ['TRUE', true],
    ['false', false],
    [' False ', false],
  ],
  invalid: ['yes', '1', '0', 'on', 'truefalse'],
};
/** Read later, when the app may have changed its working directory. */
const file: Cases = {
  valid: [
    ['/etc/ca.pem', '/etc/ca.pem'],
    ['certs/ca.pem', path.resolve('certs/ca.pem')],
  ],
  invalid: [],
};
const anyText: Cases = { valid: [['some text', 'some text']], invalid: [] };
const pairs: Cases = {
  valid: [
    ['a=b', { a: 'b' }],
    [' a = b ,c=d%20e,', { a: 'b', c: 'd e' }],
    ['a=', { a: '' }],
    ['a=b=c;d', { a: 'b=c;d' }],
    [`a=${'x'.repeat(300)}`, { a: 'x'.repeat(300) }],
    ['__proto__=x', Object.fromEntries([['__proto__', 'x']])],
  ],
  invalid: ['a', '=b', 'a=%', 'a,%zz=b'],
};
const headers: Cases = {
  valid: [...pairs.valid, ['Authorization=Basic%20Og==', { authorization: 'Basic Og==' }]],
  invalid: [...pairs.invalid, 'a b=c', 'a=%C3%A9', 'a=%0A'],
};
const url: Cases = {
  valid: [
    ['http://localhost:4317', 'http://localhost:4317'],
    ['https://collector.example/v1/traces', 'https://collector.example/v1/traces'],
    ['collector:4317', 'collector:4317'],
    ['http://[::1]:4317', 'http://[::1]:4317'],
    ['unix:///run/collector.sock', 'unix:///run/collector.sock'],
  ],
  invalid: ['http://', 'ftp://collector', 'http://collector:99999', 'a collector', 'http://a b', '://x'],
};
const protocol: Cases = {
  valid: [
    ['grpc', 'grpc'],
    ['http/protobuf', 'http/protobuf'],
    ['http/json', 'http/json'],
    ['GRPC', 'grpc'],
    ['HTTP/protobuf', 'http/protobuf'],
  ],
  invalid: ['http', 'grpc,http/json'],
};
const wholeNumber = (least: number, most: number): Cases => ({
  valid: [
    [String(least), least],
    ['250', 250],
    [' 250 ', 250],
    [String(most), most],
  ],
  invalid: [String(least - 1), String(most + 1), '1.5', 'many', '10s', 'NaN', 'Infinity'],
});

/** A number above the queue's is a separate problem. */
const batchSize = (queueSize: number): Cases => {
  const { valid, invalid } = wholeNumber(1, queueSize);
  return { valid, invalid: invalid.filter((raw) => raw !== String(queueSize + 1)) };
};
const MAX_MS = LONGEST_TIMER_MS;

/** 0 is no limit. */
const timeout: Cases = {
  valid: [...wholeNumber(1, MAX_MS).valid, ['0', Number.POSITIVE_INFINITY]],
  invalid: ['-1', ...wholeNumber(1, MAX_MS).invalid.slice(1)],
};

/** `all` must be the names that the row knows; `several` of them make a list. */
const listOf = (several: string, ...all: string[]): Cases => ({
  valid: [
    ...all.map((name): [string, string[]] => [name, [name]]),
    ...all.map((name): [string, string[]] => [name.toUpperCase(), [name]]),
    [`${several},${several}`, several.split(',')],
    [several, several.split(',')],
    [` ${several.replaceAll(',', ' , ')},`, several.split(',')],
  ],
  invalid: ['nothing-known', ',', 'neither,nor'],
});
const freeList: Cases = {
  valid: [
    ['http', ['http']],
    ['http, pg ,', ['http', 'pg']],
    ['made-up', ['made-up']],
    ['Express', ['express']],
    [',', []],
  ],
  invalid: [],
};
const oneOf = (...names: string[]): Cases => ({
  valid: [...names, ...names.map((name) => name.toUpperCase())].map((name) => [name, name.toLowerCase()]),
  invalid: ['made-up', names.join(',')],
});

const CASES: Record<Key, Cases> = {
  sdkDisabled: flag,
  serviceName: anyText,
  resourceAttributes: pairs,
  resourceDetectors: listOf(
    'env,aws',
    ...['all', 'none', 'env', 'host', 'os', 'process', 'processargs', 'serviceinstance', 'container'],
    ...['alibaba', 'aws', 'azure', 'gcp'],
  ),
  configFile: anyText,
  tracesExporter: listOf('otlp,console', 'otlp', 'console', 'zipkin', 'none'),
  metricsExporter: listOf('otlp,prometheus', 'otlp', 'console', 'prometheus', 'none'),
  logsExporter: listOf('otlp,console', 'otlp', 'console', 'none'),
  endpoint: url,
  tracesEndpoint: url,
  metricsEndpoint: url,
  logsEndpoint: url,
  protocol,
  tracesProtocol: protocol,
  metricsProtocol: protocol,
  logsProtocol: protocol,
  headers: headers,
  tracesHeaders: headers,
  metricsHeaders: headers,
  logsHeaders: headers,
  exportTimeoutMs: timeout,
  tracesExportTimeoutMs: timeout,
  metricsExportTimeoutMs: timeout,
  logsExportTimeoutMs: timeout,
  compression: oneOf('none', 'gzip'),
  tracesCompression: oneOf('none', 'gzip'),
  metricsCompression: oneOf('none', 'gzip'),
  logsCompression: oneOf('none', 'gzip'),
  insecure: flag,
  tracesInsecure: flag,
  metricsInsecure: flag,
  logsInsecure: flag,
  certificate: file,
  tracesCertificate: file,
  metricsCertificate: file,
  logsCertificate: file,
  clientKey: file,
  tracesClientKey: file,
  metricsClientKey: file,
  logsClientKey: file,
  clientCertificate: file,
  tracesClientCertificate: file,
  metricsClientCertificate: file,
  logsClientCertificate: file,
  metricsTemporality: oneOf('cumulative', 'delta', 'lowmemory'),
  histogramAggregation: oneOf('explicit_bucket_histogram', 'base2_exponential_bucket_histogram'),
  metricExportIntervalMs: wholeNumber(1, MAX_MS),
  metricExportTimeoutMs: timeout,
  zipkinEndpoint: url,
  prometheusHost: anyText,
  prometheusPort: wholeNumber(1, 65_535),
  sampler: oneOf(
    ...['always_on', 'always_off', 'traceidratio', 'parentbased_always_on', 'parentbased_always_off'],
    'parentbased_traceidratio',
  ),
  samplerRatio: {
    valid: [
      ['0', 0],
      ['0.25', 0.25],
      ['1', 1],
      ['1e-3', 0.001],
    ],
    invalid: ['1.01', '-0.1', '10%', 'half', 'NaN'],
  },
  propagators: listOf('tracecontext,b3', 'tracecontext', 'baggage', 'b3', 'b3multi', 'none'),
  enabledInstrumentations: freeList,
  disabledInstrumentations: freeList,
  captureFilter: flag,
  rpcSpans: flag,
  scheduleDelayMs: wholeNumber(0, MAX_MS),
  maxQueueSize: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  maxExportBatchSize: batchSize(8_192),
  batchTimeoutMs: timeout,
  flushTimeoutMs: wholeNumber(0, MAX_MS),
  attributeValueLengthLimit: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  attributeCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  spanAttributeValueLengthLimit: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  spanAttributeCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  spanEventCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  spanLinkCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  eventAttributeCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  linkAttributeCountLimit: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  logAttributeValueLengthLimit: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  logAttributeCountLimit: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  logMaxQueueSize: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  logMaxExportBatchSize: batchSize(2_048),
  logScheduleDelayMs: wholeNumber(0, MAX_MS),
  logBatchTimeoutMs: timeout,
  logLevel: oneOf('none', 'error', 'warn', 'info', 'debug', 'verbose', 'all'),
};

const keys = Object.keys(SETTINGS) as Key[];

for (const key of keys) {
  const definition = SETTINGS[key];
  const { env } = definition;

  test(`${env} accepts its values, and anything else gives one problem and the fallback`, () => {
    for (const [raw, value] of CASES[key].valid) {
      const settings = readSettings({ [env]: raw });
      assert.deepEqual(settings[key], value, `${env}=${raw}`);
      assert.deepEqual([...settings.given], [key]);
      assert.deepEqual(settings.problems, [], `${env}=${raw}`);
    }
    for (const raw of CASES[key].invalid) {
      const settings = readSettings({ [env]: raw });
      assert.deepEqual(settings[key], definition.fallback, `${env}=${raw}`);
      assert.equal(settings.given.size, 0, `${env}=${raw} is not given`);
      assert.equal(settings.problems.length, 1, `${env}=${raw}`);
      const [problem] = settings.problems;
      assert.equal(problem?.variable, env);
      assert.equal(problem?.expected, definition.expected);
      assert.equal(problem?.fallback, shownFallback(definition));
      if (problem?.isPart !== true) assert.equal(problem?.value, raw.trim());
    }
  });

  test(`${env} is unset when it is empty or blank`, () => {
    for (const raw of ['', ' ', '\t\n']) {
      const settings = readSettings({ [env]: raw });
      assert.deepEqual(settings, readSettings({}), `${env}=${JSON.stringify(raw)}`);
    }
  });
}

test('an empty environment gives every fallback, nothing given and no problem', () => {
  const settings = readSettings({});
  for (const key of keys) assert.deepEqual(settings[key], SETTINGS[key].fallback);
  assert.equal(settings.given.size, 0);
  assert.deepEqual(settings.problems, []);
});

test('no variable has two rows, and each is a standard one or has our prefix', () => {
  const names = keys.map((key) => SETTINGS[key].env);
  assert.deepEqual(names, [...new Set(names)]);
  for (const name of names) assert.match(name, /^OTEL_[A-Z0-9_]+$/);
});

test('each variable is documented in one line', () => {
  for (const key of keys) {
    const { env, expected } = SETTINGS[key];
    const { doc } = VARIABLE_DOCUMENTATION[key];
    assert.match(doc, /^[A-Z].*[.…]$/, env);
    assert.doesNotMatch(`${doc}${expected}`, /\n/, env);
  }
});

test('a fallback is itself a value that its row accepts', () => {
  for (const key of keys) {
    const definition = SETTINGS[key];
    if (definition.fallback === undefined) continue;
    const settings = readSettings({ [definition.env]: shownFallback(definition) });
    assert.deepEqual(settings[key], definition.fallback, definition.env);
    assert.deepEqual(settings.problems, []);
  }
});

test('an unknown item in a list is named, and the known ones apply', () => {
  const { tracesExporter, given, problems } = readSettings({ OTEL_TRACES_EXPORTER: 'otlp, jaeger ,console' });
  assert.deepEqual(tracesExporter, ['otlp', 'console']);
  assert.ok(given.has('tracesExporter'));
  assert.deepEqual(
    problems.map((problem) => [problem.variable, problem.value, problem.fallback]),
    [['OTEL_TRACES_EXPORTER', 'otlp, jaeger ,console', 'otlp,console']],
  );
  assert.match(problems.map(describeProblem).join(), /jaeger.*; otlp,console is used\.$/);
});

test('pairs that cannot be used are named without their values, and the others apply', () => {
  const { resourceAttributes, headers, problems } = readSettings({
    OTEL_RESOURCE_ATTRIBUTES: 'team=search,note=100%hunter2,hunter2,=hunter2,b=c=d;e',
    OTEL_EXPORTER_OTLP_HEADERS:
      'Authorization=Bearer%hunter2,x-team=search,hunter2,x note=hunter2,x-a=hunter2%C3%A9',
  });
  assert.deepEqual(resourceAttributes, { team: 'search', b: 'c=d;e' });
  assert.deepEqual(headers, { 'x-team': 'search' });
  assert.deepEqual(problems.map(describeProblem), [
    'OTEL_RESOURCE_ATTRIBUTES: note=*** (bad percent-encoding), pair 3 (no =), pair 4 (no key) cannot be used (expected key=value pairs separated by commas, percent-encoded); the rest is used.',
    'OTEL_EXPORTER_OTLP_HEADERS: Authorization=*** (bad percent-encoding), pair 3 (no =), pair 4 (not the name of a header), x-a=*** (characters that no header has) cannot be used (expected key=value pairs separated by commas, percent-encoded); the rest is used.',
  ]);
});

test('the report of a value that is near a known one suggests it', () => {
  const lines = readSettings({
    OTEL_METRICS_EXPORTER: 'promethus',
    OTEL_PROPAGATORS: 'tracecontxt,bagage,b3',
    OTEL_TRACES_SAMPLER: 'traceid_ratio',
    OTEL_NODE_RESOURCE_DETECTORS: 'serviceinstace',
    OTEL_LOGS_EXPORTER: 'file',
  }).problems.map(describeProblem);
  const questions = lines.map((line) => / Did you mean ([^?]*)\?$/.exec(line)?.[1]);
  assert.deepEqual(questions, [
    'serviceinstance',
    'prometheus',
    undefined,
    'traceidratio',
    'tracecontext, baggage',
  ]);
});

test('with a configuration file, variables without effect are not reported', () => {
  const env = {
    OTEL_CONFIG_FILE: '/etc/otel.yaml',
    OTEL_TRACES_EXPORTER: 'jaeger',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'no where',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'host:1',
    OTEL_SERVICE_NAMES: 'x',
    OTEL_EXPERIMENTAL_CONFIG_FILE: 'old',
    OTEL_NODE_FLUSH_TIMEOUT: 'soon',
    OTEL_NODE_DISABLED_INSTRUMENTATION: 'x',
  };
  const { problems, misspellings } = readSettings(env);
  assert.deepEqual(
    [...problems, ...misspellings].map(({ variable }) => variable),
    ['OTEL_NODE_FLUSH_TIMEOUT', 'OTEL_NODE_DISABLED_INSTRUMENTATION'],
  );
});

test('the report of a renamed variable has the new name', () => {
  const lines = (env: Record<string, string>) => readSettings(env).misspellings.map(describeMisspelling);
  assert.deepEqual(lines({ OTEL_EXPERIMENTAL_CONFIG_FILE: 'otel.yaml' }), [
    'OTEL_EXPERIMENTAL_CONFIG_FILE has no effect. Use OTEL_CONFIG_FILE.',
  ]);
  assert.deepEqual(
    lines({ OTEL_EXPORTER_OTLP_SPAN_INSECURE: 'true', OTEL_EXPORTER_OTLP_TRACES_INSECURE: 'true' }),
    [],
  );
});

test('several bad values give one problem each, in the order of the table', () => {
  const { problems } = readSettings({
    OTEL_LOG_LEVEL: 'loud',
    OTEL_BSP_SCHEDULE_DELAY: 'soon',
    OTEL_TRACES_SAMPLER: 'lucky',
  });
  assert.deepEqual(
    problems.map((problem) => problem.variable),
    ['OTEL_TRACES_SAMPLER', 'OTEL_BSP_SCHEDULE_DELAY', 'OTEL_LOG_LEVEL'],
  );
});

test('a batch that is larger than its queue is reported', () => {
  for (const [kind, key] of [
    ['BSP', 'maxExportBatchSize'],
    ['BLRP', 'logMaxExportBatchSize'],
  ] as const) {
    const small = { [`OTEL_${kind}_MAX_QUEUE_SIZE`]: '100' };
    const settings = readSettings({ ...small, [`OTEL_${kind}_MAX_EXPORT_BATCH_SIZE`]: '200' });
    assert.equal(settings[key], 100);
    assert.deepEqual(settings.problems, [
      {
        variable: `OTEL_${kind}_MAX_EXPORT_BATCH_SIZE`,
        value: '200',
        expected: `at most OTEL_${kind}_MAX_QUEUE_SIZE, 100`,
        fallback: '100',
      },
    ]);
    assert.deepEqual(readSettings(small).problems, []);
  }
});

test('a list with none is off, and its other items are reported', () => {
  for (const [variable, key] of [
    ['OTEL_TRACES_EXPORTER', 'tracesExporter'],
    ['OTEL_PROPAGATORS', 'propagators'],
    ['OTEL_NODE_RESOURCE_DETECTORS', 'resourceDetectors'],
  ] as const) {
    const other = { tracesExporter: 'otlp', propagators: 'b3', resourceDetectors: 'env' }[key];
    const settings = readSettings({ [variable]: `None,${other}` });
    assert.deepEqual(settings[key], ['none']);
    assert.deepEqual(
      settings.problems.map(({ value, fallback, meant }) => ({ value, fallback, meant })),
      [{ value: `None,${other}`, fallback: 'none', meant: undefined }],
    );
    assert.deepEqual(readSettings({ [variable]: 'none' }).problems, []);
  }
});

test('a header that cannot be used is not shown', () => {
  for (const key of ['headers', 'tracesHeaders'] as const) {
    const { problems } = readSettings({ [SETTINGS[key].env]: 'Bearer hunter2' });
    assert.equal(problems.length, 1);
    assert.doesNotMatch(JSON.stringify(problems), /hunter2|Bearer/);
  }
});

const BROKEN_ENDPOINTS = [
  (login: string) => `http://${login}@`,
  (login: string) => `http://${login}@collector:99999`,
  (login: string) => `ftp://${login}@collector:4317`,
  (login: string) => `${login}@collector:99999`,
  (login: string) => `http://${login}@the collector:4317`,
];

test('an endpoint that cannot be used is shown without its credentials', () => {
  for (const broken of BROKEN_ENDPOINTS) {
    for (const login of [
      'me:hunter2',
      'hunter2',
      'me:hunter2@hunter2',
      'me:hunter2/hunter2',
      'me:a hunter2',
    ]) {
      const raw = broken(login);
      const { problems } = readSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: raw });
      assert.equal(problems.length, 1, `${raw} is a problem`);
      assert.doesNotMatch(JSON.stringify(problems), /hunter2/, raw);
    }
  }
});

test('withoutCredentials removes only credentials', () => {
  assert.equal(withoutCredentials('http://me:pw@host:4317/v1'), 'http://***@host:4317/v1');
  assert.equal(withoutCredentials('me:pw@host:4317'), '***@host:4317');
  for (const plain of ['http://host:4317/v1/traces', 'host:4317', 'otlp,console', '14 UNAVAILABLE: no', '']) {
    assert.equal(withoutCredentials(plain), plain);
  }
});

const someEnvironment = fc
  .tuple(
    fc.dictionary(
      fc.constantFrom(...keys.map((key) => SETTINGS[key].env as string)),
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.webUrl(),
        fc.integer().map(String),
        fc.double().map(String),
        fc.constantFrom('true', 'a=b', 'otlp', 'none,', ',,', '=', '%', '://', '\u0000', '\ud800'),
      ),
    ),
    fc.dictionary(fc.string(), fc.string()),
  )
  .map(([known, others]) => ({ ...others, ...known }));

test('readSettings accepts any environment: each variable is given, a problem, or unset', () => {
  fc.assert(
    fc.property(someEnvironment, (env) => {
      const settings = readSettings(env);
      for (const key of keys) {
        const definition = SETTINGS[key];
        const raw = env[definition.env as keyof typeof env]?.trim() ?? '';
        if (settings.configFile !== undefined && !('countsWithFile' in definition)) continue;
        const problems = settings.problems.filter(({ variable }) => variable === definition.env);
        assert.ok(problems.length <= 1);
        if (raw === '') {
          assert.deepEqual([settings.given.has(key), problems.length], [false, 0]);
        } else {
          assert.ok(settings.given.has(key) || problems.length === 1, definition.env);
        }
        if (!settings.given.has(key)) assert.deepEqual(settings[key], definition.fallback);
      }
      for (const problem of settings.problems) assert.equal(typeof describeProblem(problem), 'string');
    }),
    RUNS,
  );
});

test('a problem never has the value of a secret variable or the login of an endpoint', () => {
  const secrets = keys.filter((key) => SETTINGS[key].secret === true);
  const endpoints = keys.filter((key) => SETTINGS[key].env.endsWith('_ENDPOINT'));
  const word = fc.constantFrom('hunter2', 'Hunter2', 'hunter2:', '@', '/', ' ', ':', '%', 'me', '#', '?');
  const login = fc
    .array(word, { minLength: 1, maxLength: 6 })
    .map((words) => words.join(''))
    // Without a preceding scheme, this would be read as one.
    .filter((words) => !words.includes('://'));
  fc.assert(
    fc.property(
      fc.constantFrom(...secrets, ...endpoints),
      login,
      fc.constantFrom(...BROKEN_ENDPOINTS),
      (key, words, broken) => {
        const raw = secrets.includes(key) ? words : broken(words);
        const { problems } = readSettings({ [SETTINGS[key].env]: raw });
        assert.doesNotMatch(JSON.stringify(problems), /hunter2/i, raw);
      },
    ),
    RUNS,
  );
});
