/**
 * Every variable that milvus-otel reads, one row each: how it is parsed, its default, and whether its value
 * may be printed. `env.example` and the tables in the documents are generated from it; their texts are in
 * tools/docs/.
 *
 * Rows with `ownDefault` differ from the OpenTelemetry specification while the variable is unset; once it is
 * set, every standard variable means what the specification says.
 */

import { resolve } from 'node:path';
import { nearestName } from './did-you-mean.ts';
import { decodeHeaders, decodePairs, type KeyValuePairs } from './key-value-pairs.ts';
import { isReadByOthers, RENAMED } from './known-variables.ts';

/** A value that could not be used: what was set, and what is used instead. Printed in one line each. */
export interface Problem {
  variable: string;
  /**
   * As it was set, already redacted when the row is secret. With `isPart`, which parts of it cannot be used,
   * and why.
   */
  value: string;
  isPart?: true;
  expected: string;
  fallback: string;
  /** Known values that were meant, by all appearances. */
  meant?: readonly string[];
}

interface Row<T> {
  env: string;
  /** Gives the parsed value, or undefined when `raw` cannot be used. `raw` is trimmed and never empty. */
  parse: (raw: string) => T | undefined;
  fallback: T;
  /** What may stand there, for the error line and the documentation. */
  expected: string;
  /** The values that are known; of a list, its items. They are read in any letter case. */
  known?: readonly string[];
  isList?: true;
  /** For values of parts that count each for itself: those that cannot be used, as a line may show them. */
  unusableParts?: (raw: string) => string[];
  /** The value is never printed. */
  secret?: boolean;
  /** The default while unset is ours, not the specification's. */
  ownDefault?: boolean;
  /** Counts also where OTEL_CONFIG_FILE describes the telemetry. */
  countsWithFile?: true;
  /** How the fallback is shown in documents when it is not simply its text. */
  shownFallback?: string;
}

/**
 * A set variable that nothing reads, and the one that was meant, by all appearances or because it was
 * renamed.
 */
export interface Misspelling {
  variable: string;
  meant: string;
  isRenamed?: true;
}

export type Protocol = 'grpc' | 'http/protobuf' | 'http/json';

const text = (raw: string): string => raw;

/** Files are read with the first batch. The app may have changed its working directory by then. */
function absolutePath(raw: string): string {
  try {
    return resolve(raw);
  } catch {
    // The working directory was removed.
    return raw;
  }
}

const bool = (raw: string): boolean | undefined => {
  const value = raw.toLowerCase();
  return value === 'true' ? true : value === 'false' ? false : undefined;
};

const list = (raw: string): string[] =>
  raw
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

const lowerCaseList = (raw: string): string[] => list(raw.toLowerCase());

/** One of the values, in any letter case. */
const oneOf = <const T extends string>(...known: readonly T[]) => ({
  known,
  parse: (raw: string): T | undefined => known.find((value) => value === raw.toLowerCase()),
});

/** A list in which unknown items are named and left out, and the known ones still count, each once. */
const listOf = (...known: string[]) => ({
  known,
  isList: true as const,
  parse: (raw: string): string[] | undefined => {
    const items = list(raw.toLowerCase()).filter((item) => known.includes(item));
    if (items.includes('none')) return ['none'];
    return items.length > 0 ? [...new Set(items)] : undefined;
  },
});

const number = (raw: string, min: number, max: number, integer: boolean): number | undefined => {
  const value = Number(raw);
  if (!Number.isFinite(value) || value < min || value > max || (integer && !Number.isInteger(value)))
    return undefined;
  return value;
};

/** Whether a list of exporters turns its signal off. */
export const isOff = (exporters: readonly string[]): boolean => exporters.includes('none');

/** setTimeout treats anything above as 1 ms, which would turn a huge delay into a busy loop. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
const milliseconds = (raw: string) => number(raw, 0, LONGEST_TIMER_MS, true);
const positiveMilliseconds = (raw: string) => number(raw, 1, LONGEST_TIMER_MS, true);
/** As the specification says, 0 is no limit: it is given as Infinity, which no timer takes. */
const timeoutMilliseconds = (raw: string) => {
  const ms = milliseconds(raw);
  return ms === 0 ? Number.POSITIVE_INFINITY : ms;
};
const positiveInteger = (raw: string) => number(raw, 1, Number.MAX_SAFE_INTEGER, true);
const naturalNumber = (raw: string) => number(raw, 0, Number.MAX_SAFE_INTEGER, true);
const ratio = (raw: string) => number(raw, 0, 1, false);
const port = (raw: string) => number(raw, 1, 65_535, true);

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

const pairsBy = (decode: (raw: string) => KeyValuePairs) => ({
  parse(raw: string): Readonly<Record<string, string>> | undefined {
    const { values } = decode(raw);
    return Object.keys(values).length > 0 ? values : undefined;
  },
  unusableParts: (raw: string) => decode(raw).unusable,
  shownFallback: '',
  expected: 'key=value pairs separated by commas, percent-encoded',
});

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
    ...oneOf('grpc', 'http/protobuf', 'http/json'),
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

const headersRow = (env: string) =>
  passThrough<Readonly<Record<string, string>>>({ env, ...pairsBy(decodeHeaders), secret: true });

const timeoutRow = (env: string, fallback: number) =>
  row({ env, parse: timeoutMilliseconds, fallback, expected: 'a whole number of ms, 0 for no limit' });

const wholeNumberRow = (env: string, fallback: number, least: 0 | 1 = 0) =>
  row({
    env,
    parse: least === 0 ? naturalNumber : positiveInteger,
    fallback,
    expected: `a whole number, ${least} or more`,
  });

/** A limit that the row of another variable replaces while it is unset. */
const limitRow = (env: string, shownFallback: string, least: 0 | 1 = 0) =>
  passThrough<number>({
    env,
    parse: least === 0 ? naturalNumber : positiveInteger,
    shownFallback,
    expected: `a whole number, ${least} or more`,
  });

/** For one signal: while it is unset, the variable without the signal's name counts. */
const ofSignal = <T>(
  signal: string,
  suffix: string,
  definition: Omit<Row<T | undefined>, 'fallback' | 'env' | 'shownFallback'>,
) =>
  passThrough<T>({
    ...definition,
    env: `OTEL_EXPORTER_OTLP_${signal}_${suffix}`,
    shownFallback: `OTEL_EXPORTER_OTLP_${suffix}`,
  });

const FLAG = { parse: bool, expected: 'true or false' };
const PATH = { parse: absolutePath, expected: 'a path' };
const TIMEOUT = { parse: timeoutMilliseconds, expected: 'a whole number of ms, 0 for no limit' };
const COMPRESSION = { ...oneOf('none', 'gzip'), expected: 'none or gzip' };

export const SETTINGS = {
  sdkDisabled: row({
    env: 'OTEL_SDK_DISABLED',
    countsWithFile: true,
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
  resourceAttributes: passThrough<Readonly<Record<string, string>>>({
    env: 'OTEL_RESOURCE_ATTRIBUTES',
    ...pairsBy(decodePairs),
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
    countsWithFile: true,
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
  headers: headersRow('OTEL_EXPORTER_OTLP_HEADERS'),
  tracesHeaders: headersRow('OTEL_EXPORTER_OTLP_TRACES_HEADERS'),
  metricsHeaders: headersRow('OTEL_EXPORTER_OTLP_METRICS_HEADERS'),
  logsHeaders: headersRow('OTEL_EXPORTER_OTLP_LOGS_HEADERS'),
  exportTimeoutMs: timeoutRow('OTEL_EXPORTER_OTLP_TIMEOUT', 10_000),
  tracesExportTimeoutMs: ofSignal<number>('TRACES', 'TIMEOUT', TIMEOUT),
  metricsExportTimeoutMs: ofSignal<number>('METRICS', 'TIMEOUT', TIMEOUT),
  logsExportTimeoutMs: ofSignal<number>('LOGS', 'TIMEOUT', TIMEOUT),
  compression: row<'none' | 'gzip'>({
    env: 'OTEL_EXPORTER_OTLP_COMPRESSION',
    ...COMPRESSION,
    fallback: 'none',
  }),
  tracesCompression: ofSignal<'none' | 'gzip'>('TRACES', 'COMPRESSION', COMPRESSION),
  metricsCompression: ofSignal<'none' | 'gzip'>('METRICS', 'COMPRESSION', COMPRESSION),
  logsCompression: ofSignal<'none' | 'gzip'>('LOGS', 'COMPRESSION', COMPRESSION),
  insecure: row({ env: 'OTEL_EXPORTER_OTLP_INSECURE', ...FLAG, fallback: false }),
  tracesInsecure: ofSignal<boolean>('TRACES', 'INSECURE', FLAG),
  metricsInsecure: ofSignal<boolean>('METRICS', 'INSECURE', FLAG),
  logsInsecure: ofSignal<boolean>('LOGS', 'INSECURE', FLAG),
  certificate: passThrough<string>({ env: 'OTEL_EXPORTER_OTLP_CERTIFICATE', ...PATH, shownFallback: '' }),
  tracesCertificate: ofSignal<string>('TRACES', 'CERTIFICATE', PATH),
  metricsCertificate: ofSignal<string>('METRICS', 'CERTIFICATE', PATH),
  logsCertificate: ofSignal<string>('LOGS', 'CERTIFICATE', PATH),
  clientKey: passThrough<string>({ env: 'OTEL_EXPORTER_OTLP_CLIENT_KEY', ...PATH, shownFallback: '' }),
  tracesClientKey: ofSignal<string>('TRACES', 'CLIENT_KEY', PATH),
  metricsClientKey: ofSignal<string>('METRICS', 'CLIENT_KEY', PATH),
  logsClientKey: ofSignal<string>('LOGS', 'CLIENT_KEY', PATH),
  clientCertificate: passThrough<string>({
    env: 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE',
    ...PATH,
    shownFallback: '',
  }),
  tracesClientCertificate: ofSignal<string>('TRACES', 'CLIENT_CERTIFICATE', PATH),
  metricsClientCertificate: ofSignal<string>('METRICS', 'CLIENT_CERTIFICATE', PATH),
  logsClientCertificate: ofSignal<string>('LOGS', 'CLIENT_CERTIFICATE', PATH),
  metricsTemporality: row<'cumulative' | 'delta' | 'lowmemory'>({
    env: 'OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE',
    ...oneOf('cumulative', 'delta', 'lowmemory'),
    fallback: 'cumulative',
    expected: 'cumulative, delta or lowmemory',
  }),
  histogramAggregation: row<'explicit_bucket_histogram' | 'base2_exponential_bucket_histogram'>({
    env: 'OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION',
    ...oneOf('explicit_bucket_histogram', 'base2_exponential_bucket_histogram'),
    fallback: 'explicit_bucket_histogram',
    expected: 'explicit_bucket_histogram or base2_exponential_bucket_histogram',
  }),
  metricExportIntervalMs: row({
    env: 'OTEL_METRIC_EXPORT_INTERVAL',
    parse: positiveMilliseconds,
    fallback: 60_000,
    expected: 'a whole number of ms, 1 or more',
  }),
  metricExportTimeoutMs: timeoutRow('OTEL_METRIC_EXPORT_TIMEOUT', 30_000),
  zipkinEndpoint: endpointRow(
    'OTEL_EXPORTER_ZIPKIN_ENDPOINT',
    'http://localhost:9411/api/v2/spans',
    'http://localhost:9411/api/v2/spans',
  ),
  prometheusHost: passThrough<string>({
    env: 'OTEL_EXPORTER_PROMETHEUS_HOST',
    parse: text,
    shownFallback: 'localhost',
    expected: 'a host',
  }),
  prometheusPort: row({
    env: 'OTEL_EXPORTER_PROMETHEUS_PORT',
    parse: port,
    fallback: 9464,
    expected: 'a port, 1 to 65535',
  }),

  sampler: row<(typeof SAMPLERS)[number]>({
    env: 'OTEL_TRACES_SAMPLER',
    ...oneOf(...SAMPLERS),
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
    countsWithFile: true,
    parse: lowerCaseList,
    shownFallback: 'all but dns, fs, generic-pool, host-metrics, net',
    expected: 'names separated by commas',
    ownDefault: true,
  }),
  disabledInstrumentations: row<string[]>({
    env: 'OTEL_NODE_DISABLED_INSTRUMENTATIONS',
    countsWithFile: true,
    parse: lowerCaseList,
    fallback: [],
    expected: 'names separated by commas',
  }),

  captureFilter: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_CAPTURE_FILTER',
    countsWithFile: true,
    parse: bool,
    fallback: false,
    expected: 'true or false',
  }),
  rpcSpans: row({
    env: 'OTEL_INSTRUMENTATION_MILVUS_RPC_SPANS',
    countsWithFile: true,
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
  batchTimeoutMs: timeoutRow('OTEL_BSP_EXPORT_TIMEOUT', 30_000),
  flushTimeoutMs: row({
    env: 'OTEL_NODE_FLUSH_TIMEOUT',
    countsWithFile: true,
    parse: milliseconds,
    fallback: 2_000,
    expected: 'a whole number of ms, 0 or more',
  }),
  // A limit of 0 for the length is none to the SDK.
  attributeValueLengthLimit: limitRow('OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT', 'no limit', 1),
  attributeCountLimit: wholeNumberRow('OTEL_ATTRIBUTE_COUNT_LIMIT', 128),
  spanAttributeValueLengthLimit: limitRow(
    'OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    1,
  ),
  spanAttributeCountLimit: limitRow('OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT', 'OTEL_ATTRIBUTE_COUNT_LIMIT'),
  spanEventCountLimit: wholeNumberRow('OTEL_SPAN_EVENT_COUNT_LIMIT', 128),
  spanLinkCountLimit: wholeNumberRow('OTEL_SPAN_LINK_COUNT_LIMIT', 128),
  eventAttributeCountLimit: wholeNumberRow('OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT', 128),
  linkAttributeCountLimit: wholeNumberRow('OTEL_LINK_ATTRIBUTE_COUNT_LIMIT', 128),
  // OpenTelemetry's own start reads these two, and takes 0 for unset.
  logAttributeValueLengthLimit: limitRow(
    'OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    'OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT',
    1,
  ),
  logAttributeCountLimit: limitRow('OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT', 'OTEL_ATTRIBUTE_COUNT_LIMIT', 1),
  logScheduleDelayMs: row({
    env: 'OTEL_BLRP_SCHEDULE_DELAY',
    parse: milliseconds,
    fallback: 1_000,
    expected: 'a whole number of ms, 0 or more',
  }),
  logMaxQueueSize: wholeNumberRow('OTEL_BLRP_MAX_QUEUE_SIZE', 2_048, 1),
  logMaxExportBatchSize: wholeNumberRow('OTEL_BLRP_MAX_EXPORT_BATCH_SIZE', 512, 1),
  logBatchTimeoutMs: timeoutRow('OTEL_BLRP_EXPORT_TIMEOUT', 30_000),

  logLevel: row<'none' | 'error' | 'warn' | 'info' | 'debug' | 'verbose' | 'all' | undefined>({
    env: 'OTEL_LOG_LEVEL',
    countsWithFile: true,
    ...oneOf('none', 'error', 'warn', 'info', 'debug', 'verbose', 'all'),
    fallback: undefined,
    shownFallback: 'problems only, once each',
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
 * Reads the settings out of an environment. Never throws: a value that cannot be used gives a Problem, and
 * the fallback counts. As the specification says, an empty value is an unset one.
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
    const parts = definition.unusableParts?.(raw) ?? unusableItems(definition, raw);
    if (value === undefined || parts.length > 0) problems.push(problemOf(definition, raw, value, parts));
  }
  const misspellings = findMisspellings(env);
  const verifyCertificates = env.NODE_TLS_REJECT_UNAUTHORIZED !== '0';
  const settings = { ...values, given, problems, misspellings, verifyCertificates } as unknown as Settings;
  return settings.configFile === undefined
    ? withBatchesInQueue(withoutSchemelessHttp(settings, problems), problems)
    : withConfigFile(settings);
}

/** Of a list, the items that are not known, and those that none turns off. */
function unusableItems({ known, isList }: Row<unknown>, raw: string): string[] {
  if (!isList) return [];
  const items = list(raw);
  const isNone = items.some((item) => item.toLowerCase() === 'none');
  return items.filter((item) =>
    isNone ? item.toLowerCase() !== 'none' : !known?.includes(item.toLowerCase()),
  );
}

function problemOf(definition: Row<unknown>, raw: string, value: unknown, parts: readonly string[]): Problem {
  const { env: variable, known = [], unusableParts, secret, expected } = definition;
  const shown = unusableParts !== undefined ? parts.join(', ') : secret ? '(not shown)' : raw;
  const used = Array.isArray(value) ? value.join(',') : 'the rest';
  const meant = (parts.length > 0 ? parts : [raw])
    .map((part) => (known.includes(part.toLowerCase()) ? undefined : nearestName(part.toLowerCase(), known)))
    .filter((name) => name !== undefined);
  return {
    variable,
    value: withoutCredentials(shown),
    ...(unusableParts === undefined ? {} : { isPart: true as const }),
    expected,
    fallback: value === undefined ? shownFallback(definition) : used,
    ...(meant.length > 0 ? { meant } : {}),
  };
}

/** Problems of variables that a configuration file replaces are not reported. */
function withConfigFile(settings: Settings): Settings {
  const counting = new Set(
    (Object.values(SETTINGS) as Row<unknown>[])
      .filter(({ countsWithFile }) => countsWithFile)
      .map(({ env }) => env),
  );
  return {
    ...settings,
    problems: settings.problems.filter(({ variable }) => counting.has(variable)),
    misspellings: settings.misspellings.filter(({ meant }) => counting.has(meant)),
  };
}

/**
 * Names beginning with OTEL_ that nothing reads, where one that we read is near. Any other is somebody
 * else's.
 */
function findMisspellings(env: Readonly<Record<string, string | undefined>>): Misspelling[] {
  const misspellings: Misspelling[] = [];
  for (const variable of Object.keys(env)) {
    if (!variable.startsWith('OTEL_') || (env[variable] ?? '').trim() === '') continue;
    const renamed = RENAMED[variable];
    if (renamed !== undefined && (env[renamed] ?? '').trim() === '')
      misspellings.push({ variable, meant: renamed, isRenamed: true });
    if (NAMES.has(variable) || renamed !== undefined || isReadByOthers(variable)) continue;
    const meant = nearestName(variable, NAMES);
    if (meant !== undefined) misspellings.push({ variable, meant });
  }
  return misspellings;
}

const NAMES: ReadonlySet<string> = new Set(Object.values(SETTINGS).map(({ env }) => env));

/**
 * Only OTLP over gRPC takes an endpoint without a scheme; over HTTP there is nothing that it could be sent
 * to.
 */
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

/** A batch comes out of the queue, so the specification has it no larger. */
function withBatchesInQueue(settings: Settings, problems: Problem[]): Settings {
  const smaller = {} as Record<string, number>;
  for (const [batch, queue] of [
    ['maxExportBatchSize', 'maxQueueSize'],
    ['logMaxExportBatchSize', 'logMaxQueueSize'],
  ] as const) {
    if (settings[batch] <= settings[queue]) continue;
    smaller[batch] = settings[queue];
    // A default that a small queue makes smaller is no problem.
    if (!settings.given.has(batch)) continue;
    const expected = `at most ${SETTINGS[queue].env}, ${settings[queue]}`;
    const fallback = String(settings[queue]);
    problems.push({ variable: SETTINGS[batch].env, value: String(settings[batch]), expected, fallback });
  }
  return { ...settings, ...smaller };
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
 * Takes user:password and the values of a query out of a URL or host:port, so that it can be printed. All up
 * to the last @ goes: a password that was not encoded may hold @, / and blanks itself, and then the value is
 * no URL at all.
 */
export function withoutCredentials(value: string): string {
  return value.replace(/^([^@]*?:\/\/)?.*@/s, '$1***@').replace(/([?&][^\s=&#]+=)[^\s&#]*/g, '$1***');
}
