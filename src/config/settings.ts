/**
 * Every variable that milvus-otel reads, one row each: how it is parsed, its default, and whether its value may be
 * printed. `env.example` and the tables in the documents are generated from it; their texts are in tools/docs/.
 *
 * Rows with `ownDefault` differ from the OpenTelemetry specification while the variable is unset; once it is
 * set, every standard variable means what the specification says.
 */

import { meantName } from './did-you-mean.ts';
import { isReadByOthers } from './known-variables.ts';

/** A value that could not be used: what was set, and what is used instead. Printed in one line each. */
export interface Problem {
  variable: string;
  /** As it was set, already redacted when the row is secret. */
  value: string;
  expected: string;
  fallback: string;
}

interface Row<T> {
  env: string;
  /** Gives the parsed value, or undefined when `raw` cannot be used. `raw` is trimmed and never empty. */
  parse: (raw: string) => T | undefined;
  fallback: T;
  /** What may stand there, for the error line and the documentation. */
  expected: string;
  /** For lists: the items that are known. Others are named as a problem, one by one. */
  known?: readonly string[];
  /** The value is never printed. */
  secret?: boolean;
  /** The default while unset is ours, not the specification's. */
  ownDefault?: boolean;
  /** How the fallback is shown in documents when it is not simply its text. */
  shownFallback?: string;
}

/** A set variable that nothing reads, and the one that was meant, by all appearances. */
export interface Misspelling {
  variable: string;
  meant: string;
}

export type Protocol = 'grpc' | 'http/protobuf' | 'http/json';

const text = (raw: string): string => raw;

const bool = (raw: string): boolean | undefined => {
  const value = raw.toLowerCase();
  return value === 'true' ? true : value === 'false' ? false : undefined;
};

const list = (raw: string): string[] =>
  raw
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

const oneOf =
  <const T extends string>(...values: T[]) =>
  (raw: string): T | undefined =>
    values.find((value) => value === raw);

/** Like oneOf for log levels, which upstream reads without regard to case. */
const oneOfAnyCase =
  <const T extends string>(...values: T[]) =>
  (raw: string): T | undefined =>
    values.find((value) => value === raw.toLowerCase());

/** A list in which unknown items are named and left out, and the known ones still count. */
const listOf = (...known: string[]) => ({
  known,
  parse: (raw: string): string[] | undefined => {
    const items = list(raw).filter((item) => known.includes(item));
    return items.length > 0 ? items : undefined;
  },
});

const number = (raw: string, min: number, max: number, integer: boolean): number | undefined => {
  const value = Number(raw);
  if (!Number.isFinite(value) || value < min || value > max || (integer && !Number.isInteger(value)))
    return undefined;
  return value;
};

// setTimeout treats anything above 2^31-1 as 1 ms, which would turn a huge delay into a busy loop.
const MAX_MS = 2 ** 31 - 1;
const milliseconds = (raw: string) => number(raw, 0, MAX_MS, true);
const positiveMilliseconds = (raw: string) => number(raw, 1, MAX_MS, true);
/** As the specification says, 0 is no limit: it is given as Infinity, which no timer takes. */
const timeoutMilliseconds = (raw: string) => {
  const ms = milliseconds(raw);
  return ms === 0 ? Number.POSITIVE_INFINITY : ms;
};
const positiveInteger = (raw: string) => number(raw, 1, Number.MAX_SAFE_INTEGER, true);
const naturalNumber = (raw: string) => number(raw, 0, Number.MAX_SAFE_INTEGER, true);
const ratio = (raw: string) => number(raw, 0, 1, false);
const port = (raw: string) => number(raw, 0, 65_535, true);

/** A URL, or host:port, which OTLP over gRPC allows too. */
const endpoint = (raw: string): string | undefined => {
  const withScheme = SCHEME.test(raw) || raw.startsWith('unix:') ? raw : `https://${raw}`;
  if (/\s/.test(raw) || !URL.canParse(withScheme)) return undefined;
  const { protocol, hostname } = new URL(withScheme);
  if (protocol === 'unix:') return raw;
  return (protocol === 'http:' || protocol === 'https:') && hostname !== '' ? raw : undefined;
};

/** How a URL begins that has a scheme. */
export const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

const keyValues = (raw: string): string | undefined =>
  list(raw).every((pair) => pair.indexOf('=') > 0) ? raw : undefined;

const row = <T>(definition: Row<T>): Row<T> => definition;

const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

const DETECTORS = [
  ...['all', 'none', 'env', 'host', 'os', 'process', 'processargs', 'serviceinstance', 'container'],
  ...['alibaba', 'aws', 'azure', 'gcp'],
];

const protocolRow = <T extends Protocol | undefined>(env: string, fallback: T, shownFallback: string) =>
  row<Protocol | T>({
    env,
    parse: oneOf('grpc', 'http/protobuf', 'http/json'),
    fallback,
    shownFallback,
    expected: 'grpc, http/protobuf or http/json',
    ownDefault: fallback !== undefined,
  });

const endpointRow = (env: string, shownFallback: string, example = 'http://localhost:4317') =>
  row<string | undefined>({
    env,
    parse: endpoint,
    fallback: undefined,
    shownFallback,
    expected: `a URL such as ${example}`,
  });

const passThrough = <T>(definition: Omit<Row<T | undefined>, 'fallback'>) =>
  row<T | undefined>({ ...definition, fallback: undefined });

export const SETTINGS = {
  sdkDisabled: row({
    env: 'OTEL_SDK_DISABLED',
    parse: bool,
    fallback: false,
    expected: 'true or false',
  }),
  serviceName: passThrough<string>({
    env: 'OTEL_SERVICE_NAME',
    parse: text,
    shownFallback: "the name in the app's package.json, else milvus-client",
    expected: 'a name',
    ownDefault: true,
  }),
  resourceAttributes: passThrough<string>({
    env: 'OTEL_RESOURCE_ATTRIBUTES',
    parse: keyValues,
    shownFallback: '',
    expected: 'key=value pairs separated by commas',
  }),
  resourceDetectors: row<string[]>({
    env: 'OTEL_NODE_RESOURCE_DETECTORS',
    ...listOf(...DETECTORS),
    fallback: ['env', 'host', 'process'],
    expected: `names out of ${DETECTORS.join(', ')}`,
    ownDefault: true,
  }),
  configFile: passThrough<string>({
    env: 'OTEL_CONFIG_FILE',
    parse: text,
    shownFallback: '',
    expected: 'a path',
  }),

  tracesExporter: row<string[]>({
    env: 'OTEL_TRACES_EXPORTER',
    ...listOf('otlp', 'console', 'zipkin', 'none'),
    fallback: ['otlp'],
    expected: 'otlp, console, zipkin or none',
  }),
  metricsExporter: row<string[]>({
    env: 'OTEL_METRICS_EXPORTER',
    ...listOf('otlp', 'console', 'prometheus', 'none'),
    fallback: ['none'],
    expected: 'otlp, console, prometheus or none',
    ownDefault: true,
  }),
  logsExporter: row<string[]>({
    env: 'OTEL_LOGS_EXPORTER',
    ...listOf('otlp', 'console', 'none'),
    fallback: ['none'],
    expected: 'otlp, console or none',
    ownDefault: true,
  }),
  endpoint: endpointRow(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'http://localhost:4317 (grpc) or http://localhost:4318 (http)',
  ),
  tracesEndpoint: endpointRow('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'),
  metricsEndpoint: endpointRow('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'),
  logsEndpoint: endpointRow('OTEL_EXPORTER_OTLP_LOGS_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'),
  protocol: protocolRow('OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', 'grpc'),
  tracesProtocol: protocolRow('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', undefined, 'OTEL_EXPORTER_OTLP_PROTOCOL'),
  metricsProtocol: protocolRow(
    'OTEL_EXPORTER_OTLP_METRICS_PROTOCOL',
    undefined,
    'OTEL_EXPORTER_OTLP_PROTOCOL',
  ),
  logsProtocol: protocolRow('OTEL_EXPORTER_OTLP_LOGS_PROTOCOL', undefined, 'OTEL_EXPORTER_OTLP_PROTOCOL'),
  headers: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_HEADERS',
    parse: keyValues,
    shownFallback: '',
    expected: 'key=value pairs separated by commas',
    secret: true,
  }),
  tracesHeaders: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
    parse: keyValues,
    shownFallback: '',
    expected: 'key=value pairs separated by commas',
    secret: true,
  }),
  exportTimeoutMs: row({
    env: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    parse: timeoutMilliseconds,
    fallback: 10_000,
    expected: 'a whole number of ms, 0 for no limit',
  }),
  tracesExportTimeoutMs: passThrough<number>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT',
    parse: timeoutMilliseconds,
    shownFallback: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    expected: 'a whole number of ms, 0 for no limit',
  }),
  compression: row<'none' | 'gzip'>({
    env: 'OTEL_EXPORTER_OTLP_COMPRESSION',
    parse: oneOf('none', 'gzip'),
    fallback: 'none',
    expected: 'none or gzip',
  }),
  tracesCompression: passThrough<'none' | 'gzip'>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION',
    parse: oneOf('none', 'gzip'),
    shownFallback: 'OTEL_EXPORTER_OTLP_COMPRESSION',
    expected: 'none or gzip',
  }),
  insecure: row({
    env: 'OTEL_EXPORTER_OTLP_INSECURE',
    parse: bool,
    fallback: false,
    expected: 'true or false',
  }),
  tracesInsecure: passThrough<boolean>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_INSECURE',
    parse: bool,
    shownFallback: 'OTEL_EXPORTER_OTLP_INSECURE',
    expected: 'true or false',
  }),
  certificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
    parse: text,
    shownFallback: '',
    expected: 'a path',
  }),
  tracesCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
    expected: 'a path',
  }),
  clientKey: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
    parse: text,
    shownFallback: '',
    expected: 'a path',
  }),
  tracesClientKey: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
    expected: 'a path',
  }),
  clientCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
    parse: text,
    shownFallback: '',
    expected: 'a path',
  }),
  tracesClientCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
    expected: 'a path',
  }),
  metricExportIntervalMs: row({
    env: 'OTEL_METRIC_EXPORT_INTERVAL',
    parse: positiveMilliseconds,
    fallback: 60_000,
    expected: 'a whole number of ms, 1 or more',
  }),
  metricExportTimeoutMs: row({
    env: 'OTEL_METRIC_EXPORT_TIMEOUT',
    parse: timeoutMilliseconds,
    fallback: 30_000,
    expected: 'a whole number of ms, 0 for no limit',
  }),
  zipkinEndpoint: endpointRow(
    'OTEL_EXPORTER_ZIPKIN_ENDPOINT',
    'http://localhost:9411/api/v2/spans',
    'http://localhost:9411/api/v2/spans',
  ),
  prometheusHost: passThrough<string>({
    env: 'OTEL_EXPORTER_PROMETHEUS_HOST',
    parse: text,
    shownFallback: 'all interfaces',
    expected: 'a host',
  }),
  prometheusPort: row({
    env: 'OTEL_EXPORTER_PROMETHEUS_PORT',
    parse: port,
    fallback: 9464,
    expected: 'a port, 0 to 65535',
  }),

  sampler: row<(typeof SAMPLERS)[number]>({
    env: 'OTEL_TRACES_SAMPLER',
    parse: oneOf(...SAMPLERS),
    fallback: 'parentbased_always_on',
    expected: SAMPLERS.join(', '),
  }),
  samplerRatio: row({
    env: 'OTEL_TRACES_SAMPLER_ARG',
    parse: ratio,
    fallback: 1,
    expected: 'a number from 0 to 1',
  }),
  propagators: row<string[]>({
    env: 'OTEL_PROPAGATORS',
    ...listOf('tracecontext', 'baggage', 'b3', 'b3multi', 'none'),
    fallback: ['tracecontext', 'baggage'],
    expected: 'names out of tracecontext, baggage, b3, b3multi, none',
  }),

  enabledInstrumentations: passThrough<string[]>({
    env: 'OTEL_NODE_ENABLED_INSTRUMENTATIONS',
    parse: list,
    shownFallback: 'all but dns, fs, generic-pool, host-metrics, net',
    expected: 'names separated by commas',
    ownDefault: true,
  }),
  disabledInstrumentations: row<string[]>({
    env: 'OTEL_NODE_DISABLED_INSTRUMENTATIONS',
    parse: list,
    fallback: [],
    expected: 'names separated by commas',
  }),

  captureFilter: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER',
    parse: bool,
    fallback: false,
    expected: 'true or false',
  }),
  rpcSpans: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS',
    parse: bool,
    fallback: false,
    expected: 'true or false',
  }),

  scheduleDelayMs: row({
    env: 'OTEL_BSP_SCHEDULE_DELAY',
    parse: milliseconds,
    fallback: 5_000,
    expected: 'a whole number of ms, 0 or more',
  }),
  maxQueueSize: row({
    env: 'OTEL_BSP_MAX_QUEUE_SIZE',
    parse: positiveInteger,
    fallback: 8_192,
    expected: 'a whole number, 1 or more',
    ownDefault: true,
  }),
  maxExportBatchSize: row({
    env: 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
    parse: positiveInteger,
    fallback: 512,
    expected: 'a whole number, 1 or more',
  }),
  batchTimeoutMs: row({
    env: 'OTEL_BSP_EXPORT_TIMEOUT',
    parse: timeoutMilliseconds,
    fallback: 30_000,
    expected: 'a whole number of ms, 0 for no limit',
  }),
  flushTimeoutMs: row({
    env: 'OTEL_NODE_FLUSH_TIMEOUT',
    parse: milliseconds,
    fallback: 2_000,
    expected: 'a whole number of ms, 0 or more',
  }),
  attributeValueLengthLimit: passThrough<number>({
    env: 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    parse: naturalNumber,
    shownFallback: 'no limit',
    expected: 'a whole number, 0 or more',
  }),
  attributeCountLimit: row({
    env: 'OTEL_ATTRIBUTE_COUNT_LIMIT',
    parse: naturalNumber,
    fallback: 128,
    expected: 'a whole number, 0 or more',
  }),

  logLevel: row<'none' | 'error' | 'warn' | 'info' | 'debug' | 'verbose' | 'all' | undefined>({
    env: 'OTEL_LOG_LEVEL',
    parse: oneOfAnyCase('none', 'error', 'warn', 'info', 'debug', 'verbose', 'all'),
    fallback: undefined,
    shownFallback: 'only what is wrong, once each',
    expected: 'none, error, warn, info, debug, verbose or all',
    ownDefault: true,
  }),
};

type SettingKey = keyof typeof SETTINGS;

/** All settings as plain values. `given` holds the keys whose variable was set to something usable. */
export type Settings = {
  readonly [K in SettingKey]: (typeof SETTINGS)[K] extends Row<infer T> ? T : never;
} & {
  readonly given: ReadonlySet<SettingKey>;
  readonly problems: readonly Problem[];
  readonly misspellings: readonly Misspelling[];
  /** Node's own switch: NODE_TLS_REJECT_UNAUTHORIZED=0. */
  readonly verifyCertificates: boolean;
};

/**
 * Reads the settings out of an environment. Never throws: a value that cannot be used gives a Problem, and the
 * fallback counts. As the specification says, an empty value is an unset one.
 */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const values: Record<string, unknown> = {};
  const given = new Set<SettingKey>();
  const problems: Problem[] = [];
  for (const key of Object.keys(SETTINGS) as SettingKey[]) {
    const definition = SETTINGS[key] as Row<unknown>;
    const raw = env[definition.env]?.trim();
    values[key] = definition.fallback;
    if (raw === undefined || raw === '') continue;
    const value = definition.parse(raw);
    if (value !== undefined) {
      values[key] = value;
      given.add(key);
    }
    const unknown = definition.known ? list(raw).filter((item) => !definition.known?.includes(item)) : [];
    if (value === undefined || unknown.length > 0) {
      problems.push({
        variable: definition.env,
        value: definition.secret ? '(not shown)' : withoutCredentials(raw),
        expected: definition.expected,
        fallback: Array.isArray(value) ? value.join(',') : shownFallback(definition),
      });
    }
  }
  const misspellings = findMisspellings(env);
  const verifyCertificates = env.NODE_TLS_REJECT_UNAUTHORIZED !== '0';
  const settings = { ...values, given, problems, misspellings, verifyCertificates } as unknown as Settings;
  return withoutSchemelessHttp(settings, problems);
}

/** Names beginning with OTEL_ that nothing reads, where one that we read is near. Any other is somebody else's. */
function findMisspellings(env: Readonly<Record<string, string | undefined>>): Misspelling[] {
  const misspellings: Misspelling[] = [];
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('OTEL_') || NAMES.has(variable) || isReadByOthers(variable)) continue;
    if ((env[variable] ?? '').trim() === '') continue;
    const meant = meantName(variable, NAMES);
    if (meant !== undefined) misspellings.push({ variable, meant });
  }
  return misspellings;
}

const NAMES: ReadonlySet<string> = new Set(Object.values(SETTINGS).map(({ env }) => env));

/** Only OTLP over gRPC takes an endpoint without a scheme; over HTTP there is nothing that it could be sent to. */
function withoutSchemelessHttp(settings: Settings, problems: Problem[]): Settings {
  const unusable = {} as Record<string, undefined>;
  for (const key of ['endpoint', 'tracesEndpoint', 'metricsEndpoint', 'logsEndpoint'] as const) {
    const value = settings[key];
    const protocol =
      (key === 'endpoint' ? undefined : settings[`${SIGNAL_OF[key]}Protocol`]) ?? settings.protocol;
    if (value === undefined || protocol === 'grpc' || SCHEME.test(value)) continue;
    unusable[key] = undefined;
    const { env, shownFallback: fallback = '' } = SETTINGS[key];
    const expected = `a URL with http:// or https:// for ${protocol}`;
    problems.push({ variable: env, value: withoutCredentials(value), expected, fallback });
  }
  return { ...settings, ...unusable };
}

const SIGNAL_OF = { tracesEndpoint: 'traces', metricsEndpoint: 'metrics', logsEndpoint: 'logs' } as const;

/** The fallback as documents and error lines show it; '' when there is none. */
export function shownFallback(definition: { fallback: unknown; shownFallback?: string }): string {
  if (definition.shownFallback !== undefined) return definition.shownFallback;
  return Array.isArray(definition.fallback)
    ? definition.fallback.join(',')
    : String(definition.fallback ?? '');
}

/**
 * Takes user:password and the values of a query out of a URL or host:port, so that it can be printed. All up to the last @ goes: a password
 * that was not encoded may hold @, / and blanks itself, and then the value is no URL at all.
 */
export function withoutCredentials(value: string): string {
  return value.replace(/^([^@]*?:\/\/)?.*@/s, '$1***@').replace(/([?&][^\s=&#]+=)[^\s&#]*/g, '$1***');
}
