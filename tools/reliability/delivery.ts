/** Measures whether each span arrives once, and when refused requests are sent again. */
import { request } from 'node:http';
import { status } from '@grpc/grpc-js';
import { startSlow } from './collectors.ts';
import {
  type CountedRequest,
  type Counting,
  duplicatesOf,
  type Refusal,
  startCounting,
  startGoingAway,
} from './counting-collectors.ts';
import type { FaultProtocol } from './faults.ts';
import { deadlineMs, endWithin, startProgram, type Variant } from './programs.ts';

export interface DeliveryCase {
  what: string;
  protocol: FaultProtocol;
  file: string;
  args: string[];
  env?: Record<string, string>;
  /** Requests to a service, each with one span; other programs print their number of spans. */
  requests?: number;
  /** Until the collector answers. */
  latencyMs?: number;
  start(): Promise<Counting>;
}

export interface Delivered {
  made: number;
  arrived: number;
  twice: number;
  /** For the refused span. */
  attempts: number;
  /** Between the attempts. */
  gapsMs: number[];
  hangs: boolean;
}

const busySpans = 'test/fixtures/busy-spans.mjs';
const both = ['grpc', 'http/protobuf'] as const;

const blocking = (blockMs: number, requests: number): DeliveryCase[] =>
  both.map((protocol) => ({
    what: `a request handler that blocks the event loop for ${blockMs / 1_000} s each time, network latency 10 ms`,
    protocol,
    file: 'test/fixtures/blocking-service.mjs',
    args: [String(blockMs), String(requests)],
    requests,
    latencyMs: 10,
    start: () => startCounting(protocol),
  }));

const goingAway = (what: string, rest: Pick<DeliveryCase, 'args' | 'env' | 'start'>): DeliveryCase => ({
  what,
  protocol: 'grpc',
  file: busySpans,
  ...rest,
});

/** A hundred spans in ten requests, all sent when the event loop drains. */
const atExit = {
  args: ['60000', '0', '100', 'at-once'],
  env: { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '10', OTEL_BSP_SCHEDULE_DELAY: '60000' },
};

export const DUPLICATES: readonly DeliveryCase[] = [
  ...blocking(1_200, 24),
  ...blocking(5_000, 10),
  goingAway('GOAWAY at every third request, the app continues', {
    args: ['5000', '0'],
    env: { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '5', OTEL_BSP_SCHEDULE_DELAY: '100' },
    start: () => startGoingAway(3),
  }),
  goingAway('GOAWAY amid ten requests as the event loop drains', {
    ...atExit,
    start: () => startGoingAway(3),
  }),
  goingAway('the same GOAWAY with an error code (ENHANCE_YOUR_CALM)', {
    ...atExit,
    start: () => startGoingAway(3, 11),
  }),
];

/** Exports every 100 ms, so that only the sender's retry policy delays an attempt. */
const often = { OTEL_BSP_SCHEDULE_DELAY: '100' };

const refusedTwice = (what: string, forMs: number, refusal: Refusal): DeliveryCase[] =>
  both.map((protocol) => ({
    what,
    protocol,
    file: busySpans,
    args: [String(forMs), '0'],
    env: often,
    start: () => startCounting(protocol, (attempt) => (attempt <= 2 ? refusal : undefined)),
  }));

const poisoned = (code: number, httpStatus: number): DeliveryCase[] =>
  both.map((protocol) => ({
    what: `always ${status[code]} or ${httpStatus} for one span, accepts others; OTEL_BSP_MAX_QUEUE_SIZE=50`,
    protocol,
    file: busySpans,
    args: ['120000', '0', '300'],
    env: { ...often, OTEL_BSP_MAX_QUEUE_SIZE: '50', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '50' },
    start: () =>
      startCounting(protocol, (_, names) =>
        names.includes('poison') ? { code, details: 'cannot take this', httpStatus } : undefined,
      ),
  }));

export const RETRIES: readonly DeliveryCase[] = [
  ...refusedTwice('UNAVAILABLE or 503 twice, then accepts', 8_000, {
    code: status.UNAVAILABLE,
    details: 'restarting',
    httpStatus: 503,
  }),
  ...refusedTwice('the same, and asks for 4 s (RetryInfo, Retry-After)', 12_000, {
    code: status.UNAVAILABLE,
    details: 'busy',
    httpStatus: 503,
    retryAfterSeconds: 4,
  }),
  ...poisoned(status.UNAVAILABLE, 503),
  ...poisoned(status.RESOURCE_EXHAUSTED, 429),
];

/** Requests with the span that caused the first refusal: the poisoned span, else its first. */
export function attemptsIn(requests: CountedRequest[]): CountedRequest[] {
  const { spans = [] } = requests.find(({ isRefused }) => isRefused) ?? {};
  const watched = spans.find(({ name }) => name === 'poison') ?? spans[0];
  return requests.filter((request) => request.spans.some(({ spanId }) => spanId === watched?.spanId));
}

export const gapsBetween = (requests: CountedRequest[]): number[] =>
  requests.slice(1).map(({ atMs }, index) => atMs - (requests[index]?.atMs ?? Number.NaN));

/** Runs the program under a preload, with a separate collector. */
export async function measureDelivery(one: DeliveryCase, variant: Variant): Promise<Delivered> {
  const { protocol, file, args, env, requests, latencyMs, start } = one;
  const collector = await start();
  const network = latencyMs === undefined ? undefined : await startSlow(collector.port, latencyMs);
  try {
    const collectorPort = (network ?? collector).port;
    const program = startProgram(variant, {
      file,
      args,
      collectorPort,
      env: { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, ...env },
    });
    let made = requests;
    if (requests === undefined) {
      const [, count] = await program.waitForStdout(/^(\d+)\n/);
      made = Number(count);
    } else {
      const [, port] = await program.waitForStdout(/port (\d+)/);
      await askInTurn(Number(port), requests);
    }
    const result = await endWithin(program, deadlineMs);
    if (result !== undefined && result.code !== 0)
      throw new Error(`${file} ended with ${result.signal ?? result.code}:\n${result.stderr}`);
    const counted = attemptsIn(collector.requests);
    return {
      made: made ?? Number.NaN,
      arrived: collector.seen.size,
      twice: duplicatesOf(collector),
      attempts: counted.length,
      gapsMs: gapsBetween(counted),
      hangs: result === undefined,
    };
  } finally {
    await network?.stop();
    await collector.stop();
  }
}

/** Two clients, with a new connection per request. */
async function askInTurn(port: number, requests: number): Promise<void> {
  let left = requests;
  const client = async () => {
    while (left-- > 0)
      await new Promise<void>((resolve, reject) => {
        request({ host: '127.0.0.1', port, agent: false }, (response) =>
          response.resume().on('end', resolve).on('error', reject),
        )
          .on('error', reject)
          .end();
      });
  };
  await Promise.all([client(), client()]);
}
