/** Where a Milvus is, out of an address as the SDK takes it. Pure. */
import { withoutCredentials } from '../settings.ts';

export interface MilvusPlace {
  host: string;
  port: number;
  tls: boolean;
  /** As it was given, without credentials. */
  shown: string;
}

export const DEFAULT_PORT = 19530;

/** host, host:port or a URL, as the SDK takes it. Undefined when it is none of these. */
export function milvusPlace(address: string): MilvusPlace | undefined {
  const withScheme = /^[a-z]+:\/\//i.test(address) ? address : `http://${address}`;
  if (!URL.canParse(withScheme)) return undefined;
  const { protocol, hostname, port } = new URL(withScheme);
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === '') return undefined;
  const tls = protocol === 'https:';
  // The SDK's rule: https alone is 443 for a managed service, else Milvus' own port.
  const standard = tls && !/:\d+\/?$/.test(address) ? 443 : DEFAULT_PORT;
  return {
    host,
    port: Number(port) || (withScheme.endsWith(':443') ? 443 : standard),
    tls,
    shown: withoutCredentials(address),
  };
}
