/**
 * Shares one receiver among test files, which are separate processes, over HTTP. JSON has no undefined: a
 * root span comes without parentSpanId.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeSpans, type ReceivedSpan, type Receiver } from './receiver.ts';

/**
 * Unset fields do not filter. Several test files send at the same time: give each run its own service name.
 */
export interface SpanFilter {
  /** Spans of every trace that has a span of this service, including other services (`standalone`). */
  service?: string;
  traceIds?: string[];
}

export interface SharedReceiver {
  /** On 127.0.0.1, without TLS: where a program under test sends its spans. */
  readonly grpcPort: number;
  readonly httpPort: number;
  spans(filter?: SpanFilter): Promise<ReceivedSpan[]>;
  /** Resolves with the filtered spans once `done` is true; rejects after timeoutMs, listing them. */
  waitForSpans(
    done: (spans: ReceivedSpan[]) => boolean,
    timeoutMs: number,
    filter?: SpanFilter,
  ): Promise<ReceivedSpan[]>;
}

export function filterSpans(spans: ReceivedSpan[], { service, traceIds }: SpanFilter): ReceivedSpan[] {
  const ofService =
    service === undefined
      ? undefined
      : new Set(spans.filter((span) => span.service === service).map((span) => span.traceId));
  return spans.filter(
    ({ traceId }) => (ofService?.has(traceId) ?? true) && (traceIds?.includes(traceId) ?? true),
  );
}

/** Resolves to the address for connectReceiver, and a function that closes the server. */
export async function serveReceiver(receiver: Receiver): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const { searchParams, pathname } = new URL(request.url ?? '/', 'http://127.0.0.1');
    const filter: SpanFilter = JSON.parse(searchParams.get('filter') ?? '{}');
    const { grpcPort, httpPort } = receiver;
    const answer = pathname === '/spans' ? filterSpans(receiver.spans(), filter) : { grpcPort, httpPort };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Fails when `url` does not answer. */
export async function connectReceiver(url: string): Promise<SharedReceiver> {
  const ask = async (pathAndQuery: string) => {
    const response = await fetch(`${url}${pathAndQuery}`).catch((error: Error) => {
      throw new Error(`The tests' receiver does not answer at ${url}: ${error.cause ?? error.message}`);
    });
    return await response.json();
  };
  const spans = async (filter: SpanFilter = {}) =>
    (await ask(`/spans?filter=${encodeURIComponent(JSON.stringify(filter))}`)) as ReceivedSpan[];
  const { grpcPort, httpPort } = (await ask('/')) as { grpcPort: number; httpPort: number };

  return {
    grpcPort,
    httpPort,
    spans,
    async waitForSpans(done, timeoutMs, filter) {
      const deadlineMs = performance.now() + timeoutMs;
      for (;;) {
        const received = await spans(filter);
        if (done(received)) return received;
        if (performance.now() > deadlineMs) {
          throw new Error(`Not there after ${timeoutMs} ms. ${describeSpans(received)}`);
        }
        await sleep(50);
      }
    },
  };
}
