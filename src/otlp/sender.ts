/** The interface of the gRPC and the HTTP sender: one OTLP request, its answer, and the errors. */
import { readFileSync } from 'node:fs';
import type { OtlpTarget } from './target.ts';

export interface OtlpSender {
  /**
   * Sends an encoded request of the target's signal, which must not change until the promise settles. It is sent
   * once; again only where the collector has certainly not read it.
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

/** Reads the PEM files of a target; throws when one cannot be read. */
export const tlsFiles = ({ certificate, clientKey, clientCertificate }: OtlpTarget) => ({
  ca: certificate === undefined ? undefined : readFileSync(certificate),
  key: clientKey === undefined ? undefined : readFileSync(clientKey),
  cert: clientCertificate === undefined ? undefined : readFileSync(clientCertificate),
});
