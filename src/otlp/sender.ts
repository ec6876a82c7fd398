/** The interface of the gRPC and the HTTP sender: one OTLP request, its answer, and the errors. */
import { readFileSync } from 'node:fs';
import type { OtlpTarget } from './target.ts';

export interface OtlpSender {
  /**
   * Sends an encoded request of the target's signal, which must not change until the promise settles. It is
   * sent once; again only where the collector has certainly not read it.
   *
   * @returns the encoded answer. Rejects with an OtlpError.
   */
  send(body: Uint8Array, limit: TimeLimit): Promise<Uint8Array>;
  /** The next request gets a new connection. Requests in flight keep theirs. */
  reconnect(): void;
  close(): void;
}

/** Time limit of an answer. */
export interface TimeLimit {
  /** Infinity for none. */
  ms: number;
  /** The environment variable that sets it. */
  variable?: string;
}

export const NO_LIMIT: TimeLimit = { ms: Number.POSITIVE_INFINITY };

export const noAnswer = ({ ms, variable }: TimeLimit): string =>
  `no answer within ${ms} ms${variable === undefined ? '' : ` (${variable})`}`;

export interface SenderOptions {
  /** Whether a request in flight keeps the process alive. */
  keepsAlive: boolean;
}

export type OpenSender = (target: OtlpTarget, options: SenderOptions) => OtlpSender;

/** Limit of a collector's answer: a larger one is not an answer to an export, and would fill the memory. */
export const MAX_ANSWER_BYTES = 4 * 2 ** 20;

/** An idle connection is closed after this time: load balancers forget connections after minutes. */
export const IDLE_MS = 60_000;

export class OtlpError extends Error {
  override name = 'OtlpError';
  /** gRPC's, or HTTP's; undefined when there was no answer. */
  readonly status: number | undefined;
  readonly isGrpc: boolean;
  /** Time that the collector gives before the next attempt, in ms. */
  readonly retryAfterMs: number | undefined;
  /** No connection could be made. */
  readonly isUnreachable: boolean;
  override readonly cause: unknown;

  constructor(
    message: string,
    given: {
      status?: number | undefined;
      isGrpc: boolean;
      retryAfterMs?: number | undefined;
      isUnreachable?: boolean;
      cause?: unknown;
    },
  ) {
    super(message);
    this.status = given.status;
    this.isGrpc = given.isGrpc;
    this.retryAfterMs = given.retryAfterMs;
    this.isUnreachable = given.isUnreachable ?? false;
    this.cause = given.cause;
  }
}

type TlsFile = 'certificate' | 'clientKey' | 'clientCertificate';

/**
 * Reads the PEM files of a target.
 *
 * @throws an Error that names the variable, when one cannot be read or is not PEM
 */
export const tlsFiles = (target: OtlpTarget) => ({
  ca: pemOf(target, 'certificate'),
  key: pemOf(target, 'clientKey'),
  cert: pemOf(target, 'clientCertificate'),
});

function pemOf(target: OtlpTarget, name: TlsFile): Buffer | undefined {
  const file = target[name];
  if (file === undefined) return undefined;
  const where = `${target.variables[name]}=${file}`;
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (error) {
    throw new Error(`${where} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
  // OpenSSL ignores authorities that it cannot read, and does not name the file of the others.
  if (!content.includes('-----BEGIN ')) throw new Error(`${where} is not a PEM file`);
  return content;
}
