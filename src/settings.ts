/**
 * Every variable that milvus-otel understands, one row each: the row parses it, documents it and says whether
 * its value may be shown. `env.example` and the README's table are generated from this table.
 *
 * Rows with `ownDefault` differ from the OpenTelemetry specification while the variable is unset; once it is
 * set, every standard variable means what the specification says.
 */

import { isReadByOthers } from './known-variables.ts';
import { meantName } from './meant-name.ts';

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
  /** One sentence for README and env.example. */
  doc: string;
  /** What may stand there, for the error line and the documentation. */
  expected: string;
  /** For lists: the items that are known. Others are named as a problem, one by one. */
  known?: readonly string[];
  group: Group;
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

export type Group =
  | 'Service'
  | 'Export'
  | 'Sampling'
  | 'Instrumentations'
  | 'Milvus'
  | 'Batching and ends'
  | 'Diagnostics';

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

const protocolRow = <T extends Protocol | undefined>(
  env: string,
  doc: string,
  fallback: T,
  shownFallback: string,
) =>
  row<Protocol | T>({
    env,
    parse: oneOf('grpc', 'http/protobuf', 'http/json'),
    fallback,
    shownFallback,
    doc,
    expected: 'grpc, http/protobuf or http/json',
    group: 'Export',
    ownDefault: fallback !== undefined,
  });

const endpointRow = (env: string, doc: string, shownFallback: string, example = 'http://localhost:4317') =>
  row<string | undefined>({
    env,
    parse: endpoint,
    fallback: undefined,
    shownFallback,
    doc,
    expected: `a URL such as ${example}`,
    group: 'Export',
  });

const passThrough = <T>(definition: Omit<Row<T | undefined>, 'fallback'>) =>
  row<T | undefined>({ ...definition, fallback: undefined });

export const SETTINGS = {
  sdkDisabled: row({
    env: 'OTEL_SDK_DISABLED',
    parse: bool,
    fallback: false,
    doc: 'Switches everything off: nothing is loaded, the app runs as without the preload.',
    expected: 'true or false',
    group: 'Service',
  }),
  serviceName: passThrough<string>({
    env: 'OTEL_SERVICE_NAME',
    parse: text,
    shownFallback: "the name in the app's package.json, else milvus-client",
    doc: "The service's name in the trace viewer.",
    expected: 'a name',
    group: 'Service',
    ownDefault: true,
  }),
  resourceAttributes: passThrough<string>({
    env: 'OTEL_RESOURCE_ATTRIBUTES',
    parse: keyValues,
    shownFallback: '',
    doc: 'Attributes of every span, as key=value pairs, for instance deployment.environment.name=production.',
    expected: 'key=value pairs separated by commas',
    group: 'Service',
  }),
  resourceDetectors: row<string[]>({
    env: 'OTEL_NODE_RESOURCE_DETECTORS',
    ...listOf(
      'all',
      'none',
      'env',
      'host',
      'os',
      'process',
      'serviceinstance',
      'container',
      'alibaba',
      'aws',
      'azure',
      'gcp',
    ),
    fallback: ['env', 'host', 'process'],
    doc: 'What is found out about the surroundings. Cloud detectors ask the network, so they are off until named; so are the arguments in process.',
    expected:
      'names out of all, none, env, host, os, process, serviceinstance, container, alibaba, aws, azure, gcp',
    group: 'Service',
    ownDefault: true,
  }),
  configFile: passThrough<string>({
    env: 'OTEL_CONFIG_FILE',
    parse: text,
    shownFallback: '',
    doc: 'A declarative configuration file. When it is set, it describes the telemetry instead of the variables here.',
    expected: 'a path',
    group: 'Service',
  }),

  tracesExporter: row<string[]>({
    env: 'OTEL_TRACES_EXPORTER',
    ...listOf('otlp', 'console', 'zipkin', 'none'),
    fallback: ['otlp'],
    doc: 'Where spans go.',
    expected: 'otlp, console, zipkin or none',
    group: 'Export',
  }),
  metricsExporter: row<string[]>({
    env: 'OTEL_METRICS_EXPORTER',
    ...listOf('otlp', 'console', 'prometheus', 'none'),
    fallback: ['none'],
    doc: 'Where metrics go. Off until set, because Jaeger refuses metrics.',
    expected: 'otlp, console, prometheus or none',
    group: 'Export',
    ownDefault: true,
  }),
  logsExporter: row<string[]>({
    env: 'OTEL_LOGS_EXPORTER',
    ...listOf('otlp', 'console', 'none'),
    fallback: ['none'],
    doc: 'Where log records go. Off until set, because Jaeger refuses logs.',
    expected: 'otlp, console or none',
    group: 'Export',
    ownDefault: true,
  }),
  endpoint: endpointRow(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'The collector, for all signals.',
    'http://localhost:4317 (grpc) or http://localhost:4318 (http)',
  ),
  tracesEndpoint: endpointRow(
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    'The collector for traces only; used as it is, with its path.',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ),
  metricsEndpoint: endpointRow(
    'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
    'The collector for metrics only; used as it is, with its path.',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ),
  logsEndpoint: endpointRow(
    'OTEL_EXPORTER_OTLP_LOGS_ENDPOINT',
    'The collector for logs only; used as it is, with its path.',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
  ),
  protocol: protocolRow('OTEL_EXPORTER_OTLP_PROTOCOL', 'How the collector is spoken to.', 'grpc', 'grpc'),
  tracesProtocol: protocolRow(
    'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL',
    'The same for traces only.',
    undefined,
    'OTEL_EXPORTER_OTLP_PROTOCOL',
  ),
  metricsProtocol: protocolRow(
    'OTEL_EXPORTER_OTLP_METRICS_PROTOCOL',
    'The same for metrics only.',
    undefined,
    'OTEL_EXPORTER_OTLP_PROTOCOL',
  ),
  logsProtocol: protocolRow(
    'OTEL_EXPORTER_OTLP_LOGS_PROTOCOL',
    'The same for logs only.',
    undefined,
    'OTEL_EXPORTER_OTLP_PROTOCOL',
  ),
  headers: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_HEADERS',
    parse: keyValues,
    shownFallback: '',
    doc: 'Headers sent to the collector, for instance authorization=Bearer%20TOKEN. Never printed.',
    expected: 'key=value pairs separated by commas',
    group: 'Export',
    secret: true,
  }),
  tracesHeaders: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_HEADERS',
    parse: keyValues,
    shownFallback: '',
    doc: 'Headers for traces only. Never printed.',
    expected: 'key=value pairs separated by commas',
    group: 'Export',
    secret: true,
  }),
  exportTimeoutMs: row({
    env: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    parse: positiveMilliseconds,
    fallback: 10_000,
    doc: 'Longest one request to the collector may take, in ms.',
    expected: 'a whole number of ms, 1 or more',
    group: 'Export',
  }),
  tracesExportTimeoutMs: passThrough<number>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT',
    parse: positiveMilliseconds,
    shownFallback: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    doc: 'The same for traces only.',
    expected: 'a whole number of ms, 1 or more',
    group: 'Export',
  }),
  compression: row<'none' | 'gzip'>({
    env: 'OTEL_EXPORTER_OTLP_COMPRESSION',
    parse: oneOf('none', 'gzip'),
    fallback: 'none',
    doc: 'Compression of what is sent.',
    expected: 'none or gzip',
    group: 'Export',
  }),
  tracesCompression: passThrough<'none' | 'gzip'>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_COMPRESSION',
    parse: oneOf('none', 'gzip'),
    shownFallback: 'OTEL_EXPORTER_OTLP_COMPRESSION',
    doc: 'The same for traces only.',
    expected: 'none or gzip',
    group: 'Export',
  }),
  insecure: row({
    env: 'OTEL_EXPORTER_OTLP_INSECURE',
    parse: bool,
    fallback: false,
    doc: 'No TLS for a gRPC endpoint that is given without a scheme.',
    expected: 'true or false',
    group: 'Export',
  }),
  tracesInsecure: passThrough<boolean>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_INSECURE',
    parse: bool,
    shownFallback: 'OTEL_EXPORTER_OTLP_INSECURE',
    doc: 'The same for traces only.',
    expected: 'true or false',
    group: 'Export',
  }),
  certificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
    parse: text,
    shownFallback: '',
    doc: "File with the certificate authority of the collector's certificate.",
    expected: 'a path',
    group: 'Export',
  }),
  tracesCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
    doc: 'The same for traces only.',
    expected: 'a path',
    group: 'Export',
  }),
  clientKey: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
    parse: text,
    shownFallback: '',
    doc: 'File with the private key for mutual TLS.',
    expected: 'a path',
    group: 'Export',
  }),
  tracesClientKey: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CLIENT_KEY',
    doc: 'The same for traces only.',
    expected: 'a path',
    group: 'Export',
  }),
  clientCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
    parse: text,
    shownFallback: '',
    doc: 'File with the certificate for mutual TLS.',
    expected: 'a path',
    group: 'Export',
  }),
  tracesClientCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE',
    parse: text,
    shownFallback: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
    doc: 'The same for traces only.',
    expected: 'a path',
    group: 'Export',
  }),
  metricExportIntervalMs: row({
    env: 'OTEL_METRIC_EXPORT_INTERVAL',
    parse: positiveMilliseconds,
    fallback: 60_000,
    doc: 'Time between two exports of metrics, in ms.',
    expected: 'a whole number of ms, 1 or more',
    group: 'Export',
  }),
  metricExportTimeoutMs: row({
    env: 'OTEL_METRIC_EXPORT_TIMEOUT',
    parse: positiveMilliseconds,
    fallback: 30_000,
    doc: 'Longest one export of metrics may take, in ms.',
    expected: 'a whole number of ms, 1 or more',
    group: 'Export',
  }),
  zipkinEndpoint: endpointRow(
    'OTEL_EXPORTER_ZIPKIN_ENDPOINT',
    'The Zipkin collector; used as it is, with its path.',
    'http://localhost:9411/api/v2/spans',
    'http://localhost:9411/api/v2/spans',
  ),
  prometheusHost: passThrough<string>({
    env: 'OTEL_EXPORTER_PROMETHEUS_HOST',
    parse: text,
    shownFallback: 'all interfaces',
    doc: 'Address that Prometheus scrapes.',
    expected: 'a host',
    group: 'Export',
  }),
  prometheusPort: row({
    env: 'OTEL_EXPORTER_PROMETHEUS_PORT',
    parse: port,
    fallback: 9464,
    doc: 'Port that Prometheus scrapes.',
    expected: 'a port, 0 to 65535',
    group: 'Export',
  }),

  sampler: row<(typeof SAMPLERS)[number]>({
    env: 'OTEL_TRACES_SAMPLER',
    parse: oneOf(...SAMPLERS),
    fallback: 'parentbased_always_on',
    doc: 'Which traces are kept. The Milvus server follows this decision.',
    expected: SAMPLERS.join(', '),
    group: 'Sampling',
  }),
  samplerRatio: row({
    env: 'OTEL_TRACES_SAMPLER_ARG',
    parse: ratio,
    fallback: 1,
    doc: 'Share of traces that a traceidratio sampler keeps, 0 to 1.',
    expected: 'a number from 0 to 1',
    group: 'Sampling',
  }),
  propagators: row<string[]>({
    env: 'OTEL_PROPAGATORS',
    ...listOf('tracecontext', 'baggage', 'b3', 'b3multi', 'none'),
    fallback: ['tracecontext', 'baggage'],
    doc: 'Formats of the trace context on the wire. Milvus reads tracecontext.',
    expected: 'names out of tracecontext, baggage, b3, b3multi, none',
    group: 'Sampling',
  }),

  enabledInstrumentations: passThrough<string[]>({
    env: 'OTEL_NODE_ENABLED_INSTRUMENTATIONS',
    parse: list,
    shownFallback: 'all but dns, fs, generic-pool, host-metrics, net',
    doc: 'Only these instrumentations, by name: milvus, http, express, pg and so on.',
    expected: 'names separated by commas',
    group: 'Instrumentations',
    ownDefault: true,
  }),
  disabledInstrumentations: row<string[]>({
    env: 'OTEL_NODE_DISABLED_INSTRUMENTATIONS',
    parse: list,
    fallback: [],
    doc: 'Not these instrumentations, by name.',
    expected: 'names separated by commas',
    group: 'Instrumentations',
  }),

  captureFilter: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER',
    parse: bool,
    fallback: false,
    doc: 'Puts the filter expression into db.query.text. It may hold user data, so it is off.',
    expected: 'true or false',
    group: 'Milvus',
  }),
  rpcSpans: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS',
    parse: bool,
    fallback: false,
    doc: 'A child span for each RPC that an operation makes.',
    expected: 'true or false',
    group: 'Milvus',
  }),

  scheduleDelayMs: row({
    env: 'OTEL_BSP_SCHEDULE_DELAY',
    parse: milliseconds,
    fallback: 5_000,
    doc: 'Longest a span waits before it is sent, in ms.',
    expected: 'a whole number of ms, 0 or more',
    group: 'Batching and ends',
  }),
  maxQueueSize: row({
    env: 'OTEL_BSP_MAX_QUEUE_SIZE',
    parse: positiveInteger,
    fallback: 8_192,
    doc: 'Spans that may wait to be sent, with 8 KiB each on average; what comes beyond is dropped and counted.',
    expected: 'a whole number, 1 or more',
    group: 'Batching and ends',
    ownDefault: true,
  }),
  maxExportBatchSize: row({
    env: 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
    parse: positiveInteger,
    fallback: 512,
    doc: 'Spans in one request; one of 512 KiB is full with fewer.',
    expected: 'a whole number, 1 or more',
    group: 'Batching and ends',
  }),
  batchTimeoutMs: row({
    env: 'OTEL_BSP_EXPORT_TIMEOUT',
    parse: positiveMilliseconds,
    fallback: 30_000,
    doc: 'Longest one batch may take with all its attempts, in ms.',
    expected: 'a whole number of ms, 1 or more',
    group: 'Batching and ends',
  }),
  flushTimeoutMs: row({
    env: 'OTEL_NODE_FLUSH_TIMEOUT',
    parse: milliseconds,
    fallback: 2_000,
    doc: "Longest the app's end is held up to send what is left, in ms.",
    expected: 'a whole number of ms, 0 or more',
    group: 'Batching and ends',
  }),
  attributeValueLengthLimit: passThrough<number>({
    env: 'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    parse: naturalNumber,
    shownFallback: 'no limit',
    doc: "Longest an attribute's text may be; the rest is cut.",
    expected: 'a whole number, 0 or more',
    group: 'Batching and ends',
  }),
  attributeCountLimit: row({
    env: 'OTEL_ATTRIBUTE_COUNT_LIMIT',
    parse: naturalNumber,
    fallback: 128,
    doc: 'Attributes that one span may have.',
    expected: 'a whole number, 0 or more',
    group: 'Batching and ends',
  }),

  logLevel: row<'none' | 'error' | 'warn' | 'info' | 'debug' | 'verbose' | 'all' | undefined>({
    env: 'OTEL_LOG_LEVEL',
    parse: oneOfAnyCase('none', 'error', 'warn', 'info', 'debug', 'verbose', 'all'),
    fallback: undefined,
    shownFallback: 'only what is wrong, once each',
    doc: "What is written to stderr; debug shows OpenTelemetry's own messages too.",
    expected: 'none, error, warn, info, debug, verbose or all',
    group: 'Diagnostics',
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
  /** What the environment has for grpc-js. */
  readonly forGrpcJs: { readonly proxy: boolean; readonly tls: boolean };
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
  const forGrpcJs = {
    proxy: Boolean(env.grpc_proxy || env.https_proxy || env.http_proxy),
    tls: Boolean(env.GRPC_DEFAULT_SSL_ROOTS_FILE_PATH || env.GRPC_SSL_CIPHER_SUITES),
  };
  const settings = { ...values, given, problems, misspellings, forGrpcJs } as unknown as Settings;
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
