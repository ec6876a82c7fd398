/** Facts about the server, read from the SDK's client when an operation starts. */
import { parseServerAddress, type ServerAddress } from './attributes.ts';

export interface ClientFacts {
  server: ServerAddress | undefined;
  /** For `db.namespace`. */
  database: string | undefined;
}

/** The parts of a MilvusClient that are read. Source: BaseClient, SDK 2.2.24 to 3.0.6. */
interface GrpcClientParts {
  config?: { address?: unknown };
  metadata?: Map<string, unknown>;
}

/** The parts of an HttpClient that are read. Source: HttpBaseClient, SDK 2.3.5 to 3.0.6. */
interface HttpClientParts {
  config?: { endpoint?: unknown; baseURL?: unknown; database?: unknown };
}

/** Reads a client's facts; may throw the error of a getter of the app. */
export type ReadClient = (client: unknown) => ClientFacts;

/** grpc-js' port for an address without one. */
const GRPC_PORT = 443;

export const readGrpcClient: ReadClient = (client) => {
  const { config } = (client ?? {}) as GrpcClientParts;
  return { server: server(config?.address, GRPC_PORT), database: readGrpcDatabase(client) };
};

/** The database that a client names in the metadata of each RPC; `useDatabase` changes it. */
export const readGrpcDatabase = (client: unknown): string | undefined =>
  text(((client ?? {}) as GrpcClientParts).metadata?.get?.('dbname'));

export const readHttpClient: ReadClient = (client) => {
  const { config } = (client ?? {}) as HttpClientParts;
  const address = text(config?.baseURL) ?? config?.endpoint;
  const port = typeof address === 'string' && address.startsWith('https:') ? 443 : 80;
  return { server: server(address, port), database: text(config?.database) ?? 'default' };
};

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

/** By default port: the two kinds of clients use different ones for an address without a port. */
const parsed = new Map<number, Map<string, ServerAddress | undefined>>();
/** Usually few addresses; a program that generates new ones must not fill the memory. */
const MAX_PARSED = 1_000;

function server(given: unknown, defaultPort: number): ServerAddress | undefined {
  if (typeof given !== 'string') return undefined;
  let known = parsed.get(defaultPort);
  if (known === undefined || known.size > MAX_PARSED) {
    known = new Map();
    parsed.set(defaultPort, known);
  }
  let address = known.get(given);
  if (address === undefined && !known.has(given)) {
    address = parseServerAddress(given, defaultPort);
    known.set(given, address);
  }
  return address;
}
