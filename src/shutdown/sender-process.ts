/**
 * A program of its own, run by last-flush.ts when the app's process can no longer wait for anything: reads OTLP
 * requests from stdin, posts them, and prints how many were accepted. It loads no package, and of Node what its protocol needs.
 *
 * stdin: one line of JSON (LastRequest), then the bodies, one after the other.
 * stdout: one line of JSON (LastAnswer).
 */
import { readFileSync } from 'node:fs';
import type { request as httpsRequest } from 'node:https';
import { brokenBy, tlsOptions } from '../otlp/connection.ts';
import { rejectionIn } from '../otlp/partial-success.ts';
import type { OtlpTarget } from '../otlp/target.ts';

export interface LastRequest {
  target: OtlpTarget;
  /** Length of each body, in bytes. */
  lengths: number[];
}

export interface LastAnswer {
  /** For each body: null when it was accepted. One for all of them when none could be sent. */
  failures: (Failure | null)[];
}

export interface Failure {
  reason: string;
  /** Spans, where the others were accepted. */
  count?: number;
}

async function main(): Promise<void> {
  const input = readFileSync(0);
  const lineEnd = input.indexOf(10);
  const { target, lengths } = JSON.parse(input.toString('utf8', 0, lineEnd)) as LastRequest;
  let offset = lineEnd + 1;
  const bodies = lengths.map((length) => {
    const body = input.subarray(offset, offset + length);
    offset += length;
    return body;
  });
  const failures = await (target.protocol === 'grpc' ? postGrpc(target, bodies) : postHttp(target, bodies));
  process.stdout.write(`${JSON.stringify({ failures } satisfies LastAnswer)}\n`);
}

const settled = (promises: Promise<Failure | null>[]): Promise<(Failure | null)[]> =>
  Promise.all(promises.map((promise) => promise.catch((error: Error) => ({ reason: brokenBy(error) }))));

async function postGrpc(target: OtlpTarget, bodies: Buffer[]): Promise<(Failure | null)[]> {
  const { GrpcClient } = await import('../otlp/otlp-grpc.ts');
  const client = new GrpcClient(target, true);
  const failures = await settled(
    bodies.map(async (body) => rejectionIn(await client.post(body), false) ?? null),
  );
  client.close();
  return failures;
}

async function postHttp(target: OtlpTarget, bodies: Buffer[]): Promise<(Failure | null)[]> {
  const { request } = await import(target.url.startsWith('https:') ? 'node:https' : 'node:http');
  const messages = target.compression === 'gzip' ? bodies.map(gzipped) : bodies;
  return settled(messages.map((message) => postOneHttp(request, target, message)));
}

const gzipped = (body: Buffer): Buffer => process.getBuiltinModule('node:zlib').gzipSync(body);

function postOneHttp(
  post: typeof httpsRequest,
  target: OtlpTarget,
  message: Buffer,
): Promise<Failure | null> {
  return new Promise((resolve, reject) => {
    const request = post(
      target.url,
      {
        method: 'POST',
        headers: {
          ...target.headers,
          'content-type': target.protocol === 'http/json' ? 'application/json' : 'application/x-protobuf',
          'content-length': message.length,
          ...(target.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
        },
        ...tlsOptions(target),
      },
      async (response) => {
        const status = response.statusCode ?? 0;
        if (status < 200 || status > 299) {
          response.resume();
          reject(new Error(`HTTP status ${status}`));
          return;
        }
        // An answer that ends in the middle has said yes by its status.
        const answer: Buffer[] = await response.toArray().catch(() => []);
        resolve(rejectionIn(Buffer.concat(answer), target.protocol === 'http/json') ?? null);
      },
    );
    request.on('error', reject);
    request.end(message);
  });
}

main().catch((error: Error) => {
  process.stdout.write(`${JSON.stringify({ failures: [{ reason: error.message }] } satisfies LastAnswer)}\n`);
});
