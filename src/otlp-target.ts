/** Where spans go and how, as plain data: what the exporter is made of, and what the sender at the end is told. */
import { type Protocol, type Settings, withoutCredentials } from './settings.ts';

export interface OtlpTarget {
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
}

const DEFAULT_ENDPOINT: Record<Protocol, string> = {
  grpc: 'http://localhost:4317',
  'http/protobuf': 'http://localhost:4318',
  'http/json': 'http://localhost:4318',
};

export const tracesProtocol = (settings: Settings): Protocol => settings.tracesProtocol ?? settings.protocol;

/** The traces' endpoint as it was given, or the default; without credentials, for people to read. */
export function shownEndpoint(settings: Settings): string {
  const given = settings.tracesEndpoint ?? settings.endpoint ?? DEFAULT_ENDPOINT[tracesProtocol(settings)];
  return withoutCredentials(given);
}

export function tracesTarget(settings: Settings): OtlpTarget {
  const protocol = tracesProtocol(settings);
  const given = settings.tracesEndpoint ?? settings.endpoint ?? DEFAULT_ENDPOINT[protocol];
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(given);
  const url = new URL(hasScheme ? given : `${settings.insecure ? 'http' : 'https'}://${given}`);
  // The specification: the endpoint for all signals is a base, the one for traces is used as it is.
  if (protocol !== 'grpc' && settings.tracesEndpoint === undefined) {
    url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  }
  return {
    protocol,
    url: protocol === 'grpc' ? url.origin : url.href,
    headers: { ...parseHeaders(settings.headers), ...parseHeaders(settings.tracesHeaders) },
    compression: settings.compression,
    certificate: settings.certificate,
    clientKey: settings.clientKey,
    clientCertificate: settings.clientCertificate,
  };
}

/** `key=value,key=value`, percent-encoded as in W3C Baggage. What cannot be decoded is left out. */
function parseHeaders(text: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const pair of text?.split(',') ?? []) {
    const equals = pair.indexOf('=');
    if (equals <= 0) continue;
    try {
      const name = decodeURIComponent(pair.slice(0, equals).trim()).toLowerCase();
      headers[name] = decodeURIComponent(pair.slice(equals + 1).trim());
    } catch {
      // Not decodable: upstream ignores such a pair too.
    }
  }
  return headers;
}
