/** Where a Milvus is, out of an address as the SDK takes it. Pure. */
import { withoutCredentials } from '../config/settings.ts';

export interface MilvusPlace {
  host: string;
  port: number;
  /** False: gRPC takes 443, which is seldom what was meant. */
  portGiven: boolean;
  tls: boolean;
  /** As it was given, without credentials. */
  shown: string;
}

export const MILVUS_PORT = 19530;
const GRPC_PORT = 443;

/** host:port, host or a URL. Undefined when it is none of these. */
export function milvusPlace(address: string): MilvusPlace | undefined {
  const withScheme = /^[a-z]+:\/\//i.test(address) ? address : `http://${address}`;
  if (!URL.canParse(withScheme)) return undefined;
  const { protocol, hostname } = new URL(withScheme);
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === '') return undefined;
  // Not the URL's own port, which is empty for 80 and 443.
  const port = /:(\d+)\/?$/.exec(address)?.[1];
  return {
    host,
    port: port === undefined ? GRPC_PORT : Number(port),
    portGiven: port !== undefined,
    tls: protocol === 'https:',
    shown: withoutCredentials(address),
  };
}
