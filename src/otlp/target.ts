/**
 * Endpoint, protocol and credentials of a signal, as plain data: input of the senders in the app and at exit.
 */
import { type Protocol, SCHEME, type Settings, withoutCredentials } from '../config/settings.ts';

export interface OtlpTarget {
  signal: Signal;
  protocol: Protocol;
  /** Origin for grpc, the whole URL for http. Always with a scheme. */
  url: string;
  /** Lower-case names. Secret. */
  headers: Record<string, string>;
  compression: 'none' | 'gzip';
  /** Paths of PEM files; undefined when not given. */
  certificate: string | undefined;
  clientKey: string | undefined;
  clientCertificate: string | undefined;
  /** Whether the server's certificate must be valid: not with NODE_TLS_REJECT_UNAUTHORIZED=0. */
  verify: boolean;
  /** Names of the variables that the values come from, for messages. */
  variables: Record<
    'endpoint' | 'headers' | 'protocol' | 'certificate' | 'clientCertificate' | 'clientKey' | 'timeout',
    string
  >;
}

const DEFAULT_ENDPOINT: Record<Protocol, string> = {
  grpc: 'http://localhost:4317',
  'http/protobuf': 'http://localhost:4318',
  'http/json': 'http://localhost:4318',
};

export type Signal = 'traces' | 'metrics' | 'logs';

export const signalProtocol = (settings: Settings, signal: Signal): Protocol =>
  settings[`${signal}Protocol`] ?? settings.protocol;

export const tracesProtocol = (settings: Settings): Protocol => signalProtocol(settings, 'traces');

/** The traces' endpoint as it was given, or the default; without credentials, for log lines. */
export function shownEndpoint(settings: Settings): string {
  const given = settings.tracesEndpoint ?? settings.endpoint ?? DEFAULT_ENDPOINT[tracesProtocol(settings)];
  return withoutCredentials(given);
}

/** Origin for grpc, the whole URL for http. Always with a scheme; of a Unix socket, as it was given. */
function urlOf(settings: Settings, signal: Signal): string {
  const protocol = signalProtocol(settings, signal);
  const own = settings[`${signal}Endpoint`];
  const insecure = settings[`${signal}Insecure`] ?? settings.insecure;
  const given = own ?? settings.endpoint ?? DEFAULT_ENDPOINT[protocol];
  const hasScheme = SCHEME.test(given);
  if (given.startsWith('unix:')) return given;
  const url = new URL(hasScheme ? given : `${insecure ? 'http' : 'https'}://${given}`);
  if (protocol === 'grpc') return url.origin;
  // The specification: the endpoint for all signals is a base, the one for a signal is used as it is.
  if (own === undefined) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/${signal}`;
  return url.href;
}

const VARIABLES = {
  endpoint: 'Endpoint',
  headers: 'Headers',
  protocol: 'Protocol',
  certificate: 'Certificate',
  clientCertificate: 'ClientCertificate',
  clientKey: 'ClientKey',
  timeout: 'ExportTimeoutMs',
} as const;

/** For each, the variable of the signal where it is given, else the one for all signals. */
const variablesOf = (settings: Settings, signal: Signal): OtlpTarget['variables'] =>
  Object.fromEntries(
    Object.entries(VARIABLES).map(([name, setting]) => {
      const own = settings[`${signal}${setting}`] === undefined ? '' : `${signal.toUpperCase()}_`;
      return [name, `OTEL_EXPORTER_OTLP_${own}${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`];
    }),
  ) as OtlpTarget['variables'];

export function targetOf(settings: Settings, signal: Signal): OtlpTarget {
  return {
    signal,
    protocol: signalProtocol(settings, signal),
    url: urlOf(settings, signal),
    headers: { ...settings.headers, ...settings[`${signal}Headers`] },
    compression: settings[`${signal}Compression`] ?? settings.compression,
    certificate: settings[`${signal}Certificate`] ?? settings.certificate,
    clientKey: settings[`${signal}ClientKey`] ?? settings.clientKey,
    clientCertificate: settings[`${signal}ClientCertificate`] ?? settings.clientCertificate,
    verify: settings.verifyCertificates,
    variables: variablesOf(settings, signal),
  };
}

export const tracesTarget = (settings: Settings): OtlpTarget => targetOf(settings, 'traces');

/** Equal for equal targets; the headers cannot be read from it. */
export const targetKey = (target: OtlpTarget): string =>
  process.getBuiltinModule('node:crypto').createHash('sha256').update(JSON.stringify(target)).digest('hex');
