/** An OTLP receiver for the tests and the demo, which keeps every span sent to it. */
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ReceivedLog, ReceivedRequest, ReceivedSpan } from './received-span.ts';

export type { ReceivedRequest, ReceivedSpan } from './received-span.ts';

export interface ReceiverOptions {
  /** 0, the default, takes a free port; so do the other two. */
  grpcPort?: number;
  httpPort?: number;
  /** Also serve mockotlpserver's web page, which draws each trace. */
  ui?: boolean;
  uiPort?: number;
}

export interface Receiver {
  /** On 127.0.0.1, without TLS. */
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly uiUrl: string | undefined;
  /** Everything since the start or the last clear(), in order of arrival. */
  spans(): ReceivedSpan[];
  /** Every request of every signal since the start or the last clear(), one per export. */
  requests(): ReceivedRequest[];
  /** Every log record since the start or the last clear(), in order of arrival. */
  logs(): ReceivedLog[];
  clear(): void;
  /** Resolves with all spans once `done` is true; rejects after timeoutMs, listing the received spans. */
  waitForSpans(done: (spans: ReceivedSpan[]) => boolean, timeoutMs: number): Promise<ReceivedSpan[]>;
  /** Closes the ports and open connections. */
  stop(): Promise<void>;
}

export type WorkerOptions = Required<ReceiverOptions>;
export type FromWorker =
  | { type: 'listening'; grpcPort: number; httpPort: number; uiUrl: string | undefined }
  | { type: 'failed'; reason: string }
  | { type: 'spans'; spans: ReceivedSpan[] }
  | { type: 'logs'; logs: ReceivedLog[] }
  | { type: 'request'; request: ReceivedRequest };

/** Fails when a given port is taken. */
export async function startReceiver(options: ReceiverOptions = {}): Promise<Receiver> {
  const workerOptions: WorkerOptions = { grpcPort: 0, httpPort: 0, ui: false, uiPort: 0, ...options };
  const worker = new Worker(new URL('./receiver-worker.ts', import.meta.url), {
    workerData: workerOptions,
    // No flags or environment: a preload under test in them would trace the receiver. gRPC's own messages are
    // off: the errors here say more.
    execArgv: [],
    env: { GRPC_VERBOSITY: 'NONE' },
  });

  let spans: ReceivedSpan[] = [];
  let requests: ReceivedRequest[] = [];
  let logs: ReceivedLog[] = [];
  /** For the web page's files: clear() does not remove those. */
  const shownTraceIds = new Set<string>();
  const arrivals = new Set<() => void>();
  const listening = new Promise<Extract<FromWorker, { type: 'listening' }>>((resolve, reject) => {
    worker.once('error', reject);
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'request') requests.push(message.request);
      else if (message.type === 'logs') logs.push(...message.logs);
      else if (message.type === 'spans') {
        spans.push(...message.spans);
        if (workerOptions.ui) for (const { traceId } of message.spans) shownTraceIds.add(traceId);
        for (const arrival of [...arrivals]) arrival();
      } else if (message.type === 'listening') resolve(message);
      else reject(new Error(`${portNames(workerOptions)}: the receiver cannot listen: ${message.reason}`));
    });
  });
  const { grpcPort, httpPort, uiUrl } = await listening.catch(async (error: unknown) => {
    await worker.terminate();
    throw error;
  });

  return {
    grpcPort,
    httpPort,
    uiUrl,
    spans: () => [...spans],
    requests: () => [...requests],
    logs: () => [...logs],
    clear() {
      spans = [];
      requests = [];
      logs = [];
    },
    waitForSpans(done, timeoutMs) {
      return new Promise((resolve, reject) => {
        const finish = (settle: () => void) => {
          clearTimeout(deadline);
          arrivals.delete(check);
          settle();
        };
        const check = () => {
          try {
            if (done([...spans])) finish(() => resolve([...spans]));
          } catch (error) {
            finish(() => reject(error));
          }
        };
        const deadline = setTimeout(
          () => finish(() => reject(new Error(`Not there after ${timeoutMs} ms. ${describeSpans(spans)}`))),
          timeoutMs,
        );
        arrivals.add(check);
        check();
      });
    },
    async stop() {
      await worker.terminate();
      removeTraceFiles(shownTraceIds);
    },
  };
}

/** One line per span, for messages: `client milvus-client: search docs (trace 4f…, parent 1b…)`. */
export function describeSpans(spans: ReceivedSpan[]): string {
  if (spans.length === 0) return 'Received no span at all.';
  const shown = 60;
  const lines = spans.slice(0, shown).map((span) => {
    const parent = span.parentSpanId === undefined ? 'root' : `parent ${span.parentSpanId}`;
    return `  ${span.kind} ${span.service}: ${span.name} (trace ${span.traceId}, span ${span.spanId}, ${parent})`;
  });
  if (spans.length > shown) lines.push(`  and ${spans.length - shown} more`);
  return `Received ${spans.length}:\n${lines.join('\n')}`;
}

function portNames({ grpcPort, httpPort, uiPort, ui }: WorkerOptions): string {
  const name = (port: number) => (port === 0 ? 'any' : port);
  return `gRPC port ${name(grpcPort)}, HTTP port ${name(httpPort)}${ui ? `, UI port ${name(uiPort)}` : ''}`;
}

/** The web page would show these traces forever, and their files would fill node_modules. */
function removeTraceFiles(traceIds: Iterable<string>): void {
  const packageJson = createRequire(import.meta.url).resolve('@elastic/mockotlpserver/package.json');
  for (const traceId of traceIds) {
    rmSync(path.join(path.dirname(packageJson), 'db', `trace-${traceId}.ndjson`), { force: true });
  }
}
