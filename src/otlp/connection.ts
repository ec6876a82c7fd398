/** What the ways to a collector have in common. */
import { readFileSync } from 'node:fs';
import type { OtlpTarget } from './target.ts';

/** The method by which spans come over gRPC. */
export const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';

/** Reads the files; throws when one cannot be read. */
export const tlsOptions = ({ certificate, clientKey, clientCertificate }: OtlpTarget) => ({
  ...(certificate === undefined ? {} : { ca: readFileSync(certificate) }),
  ...(clientKey === undefined ? {} : { key: readFileSync(clientKey) }),
  ...(clientCertificate === undefined ? {} : { cert: readFileSync(clientCertificate) }),
});

/** What a connection broke by. Of several addresses that were tried, the last one stands for all. */
export function brokenBy(error: Error | undefined): string {
  // A stream of HTTP/2 says only that it was cancelled; why, its cause says.
  const cause = error?.cause instanceof Error ? error.cause : error;
  const one = cause instanceof AggregateError ? cause.errors.at(-1) : cause;
  return one?.message ?? 'the connection was closed';
}
