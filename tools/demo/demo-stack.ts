/** Shared by the demos and the picture: a Milvus, a receiver of its spans, and an app under the preload. */
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { callsOf, countJoins, traceTrees } from '../pictures/trace-tree.ts';
import { spawnGuarded } from '../processes/guarded-child.ts';
import type { Teardown } from '../processes/teardown.ts';
import { startMilvus } from '../servers/milvus.ts';
import { type ReceivedSpan, startReceiver } from '../servers/receiver.ts';

export const clientService = 'milvus-client';
/** The collection that the sample creates and drops. */
const sampleCollection = 'quick_setup';
const root = path.join(import.meta.dirname, '..', '..');
const defaultMilvusPort = 19530;
const reachDeadlineMs = 5_000;
const appDeadlineMs = 120_000;
/** Time limit for spans under a client span whose direct children have arrived. */
const lateSpansMs = 3_000;
const sampleEveryMs = 500;

/** Prints a line of progress; `who` is its source, such as `milvus`. */
export type Say = (who: string, line: string) => void;

/** A running Milvus and the receiver of its spans and the app's. */
export interface Stack {
  milvusAddress: string;
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  otlpEndpoint: string;
  /** Web page of the traces; undefined without one. */
  viewerUrl: string | undefined;
  /** The page of one trace, if the viewer has such pages. */
  traceUrl?(traceId: string): string;
  /** The viewer ran before the demo and keeps running after it. */
  staysUp?: boolean;
  /** All spans of the run so far. */
  spans(): Promise<ReceivedSpan[]>;
}

export interface StackOptions {
  say: Say;
  teardown: Teardown;
  /** The user's own Milvus, `host:port`; without it one is started. */
  milvusAddress?: string;
  /** With a web page, on the usual ports where these are free: 4317, 4318 and 8080. */
  viewer: boolean;
  /** The collection that the app creates and drops; the quickstart's by default. */
  collection?: string;
}

/** Fails when the given Milvus does not answer or none can be started, with the fix in the message. */
export async function startStack({ say, teardown, viewer, ...options }: StackOptions): Promise<Stack> {
  const milvusAddress = options.milvusAddress && withPort(options.milvusAddress);
  // Checked first, so that the user's mistakes are reported at once.
  if (milvusAddress !== undefined) {
    const fix = 'set MILVUS_ADDRESS to where one is, or unset MILVUS_ADDRESS to let the demo start one';
    await checkMilvus(milvusAddress, `MILVUS_ADDRESS "${milvusAddress}"`, fix, options.collection);
  }

  const receiver = await startReceiver({
    ui: viewer,
    grpcPort: viewer ? await portNear(4317, 'OTLP over gRPC', say) : 0,
    httpPort: viewer ? await portNear(4318, 'OTLP over HTTP', say) : 0,
    uiPort: viewer ? await portNear(8080, 'the web page', say) : 0,
  });
  teardown.add(() => receiver.stop());
  const { grpcPort, httpPort, uiUrl } = receiver;
  if (viewer)
    say('viewer', `${uiUrl}, takes OTLP on localhost:${grpcPort} (gRPC) and localhost:${httpPort} (HTTP)`);

  // The receiver first: the server's C++ part may stop when its collector is missing.
  const address = milvusAddress ?? (await ownMilvus(`127.0.0.1:${grpcPort}`, say, teardown));
  if (milvusAddress !== undefined) sayTraceBlock(milvusAddress, grpcPort, say);
  return {
    milvusAddress: address,
    otlpEndpoint: `http://localhost:${grpcPort}`,
    viewerUrl: uiUrl,
    spans: async () => receiver.spans(),
  };
}

async function ownMilvus(otlpEndpoint: string, say: Say, teardown: Teardown): Promise<string> {
  const milvus = await withSigns(
    (line) => say('milvus', line),
    (log) => startMilvus({ otlpEndpoint, log }),
  );
  teardown.add(() => milvus.stop());
  return milvus.address;
}

/** Prints a line every ten seconds of silent work, so that it does not look hung. */
export async function withSigns<T>(
  log: (line: string) => void,
  work: (log: (line: string) => void) => Promise<T>,
): Promise<T> {
  const signEveryMs = 10_000;
  let startedMs = performance.now();
  let last = '';
  const timer = setInterval(() => {
    log(`${last}: ${Math.round((performance.now() - startedMs) / 1000)} s so far`);
  }, signEveryMs);
  try {
    return await work((line) => {
      last = line;
      startedMs = performance.now();
      timer.refresh();
      log(line);
    });
  } finally {
    clearInterval(timer);
  }
}

/**
 * The preferred port, the same with a leading 1, or 0 for any. Fixed ports first: a Milvus may be configured
 * for them.
 */
async function portNear(preferred: number, purpose: string, say: Say): Promise<number> {
  if (await isFree(preferred)) return preferred;
  const second = preferred + 10_000;
  const port = (await isFree(second)) ? second : 0;
  say(
    'viewer',
    `port ${preferred} is taken, ${purpose} gets ${port === 0 ? 'any free one' : `port ${port}`} instead`,
  );
  return port;
}

/**
 * Tests by connecting: `localhost` has two addresses, and the result of listening on one differs by system.
 */
async function isFree(port: number): Promise<boolean> {
  const answers = await Promise.all(['127.0.0.1', '::1'].map((host) => connects(host, port)));
  return !answers.includes(undefined);
}

/** Undefined when a server listens there, else the error. */
async function connects(host: string, port: number): Promise<string | undefined> {
  const socket = net.connect({ host, port });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(reachDeadlineMs) });
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ABORT_ERR' ? `no answer within ${reachDeadlineMs} ms` : (code ?? message);
  } finally {
    socket.destroy();
  }
}

/**
 * Fails unless a Milvus without the sample's collection answers there. The message begins with `named` and
 * ends with `fix`, in lower case.
 */
export async function checkMilvus(
  address: string,
  named: string,
  fix: string,
  collection = sampleCollection,
): Promise<void> {
  const { host, port } = hostAndPort(address);
  if (host === '') throw new Error(`${named}: needs host:port, such as localhost:${defaultMilvusPort}.`);
  const failure = await connects(host, port);
  if (failure !== undefined) {
    throw new Error(`${named}: no Milvus is reachable there (${failure}). Start it, ${fix}.`);
  }

  const client = new MilvusClient({ address, timeout: reachDeadlineMs, maxRetries: 0 });
  let isTaken: boolean;
  try {
    await client.connectPromise;
    const { value, status } = await client.hasCollection({ collection_name: collection });
    // The SDK turns "unimplemented" into an empty response.
    if (status?.error_code !== 'Success') throw new Error(status?.reason ?? 'it has no MilvusService');
    isTaken = Boolean(value);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(
      `${named}: the server there does not answer as Milvus does (${message}). Start one, ${fix}.`,
    );
  } finally {
    await client.closeConnection();
  }
  if (isTaken) {
    throw new Error(
      `${named}: it has a collection ${collection}, which the sample would drop. Drop or rename it yourself, ${fix}.`,
    );
  }
}

/** An empty host when the address cannot be parsed. */
function hostAndPort(address: string): { host: string; port: number } {
  // A scheme other than http, whose default port URL would drop.
  const url = URL.parse(`milvus://${address.replace(/^\w+:\/\//, '')}`);
  return {
    host: url?.hostname.replace(/^\[|\]$/g, '') ?? '',
    port: url?.port ? Number(url.port) : defaultMilvusPort,
  };
}

/** The SDK accepts an address without a port, but warns at every use. */
function withPort(address: string): string {
  const isBareHost = /^[\w.-]+$/.test(address);
  return isBareHost ? `${address}:${defaultMilvusPort}` : address;
}

function sayTraceBlock(address: string, grpcPort: number, say: Say): void {
  say(
    'milvus',
    `yours at ${address}. To send its spans here, it needs this in its milvus.yaml, and a restart`,
  );
  for (const line of [
    'trace:',
    '  exporter: otlp',
    '  sampleFraction: 0',
    '  otlp:',
    `    endpoint: 127.0.0.1:${grpcPort}`,
    '    method: grpc',
    '    secure: false',
  ]) {
    say('milvus', `  ${line}`);
  }
  if (!/^(localhost|127\.|::1)/.test(hostAndPort(address).host)) {
    say(
      'milvus',
      `on its machine, forward that port to this one: ssh -R ${grpcPort}:127.0.0.1:${grpcPort} <there>`,
    );
  }
}

/** The variables that configure tracing in the demo's app; nothing else does. */
export function appVariables(
  { otlpEndpoint }: Pick<Stack, 'otlpEndpoint'>,
  service = clientService,
): Record<string, string> {
  return {
    OTEL_SERVICE_NAME: service,
    OTEL_RESOURCE_ATTRIBUTES: 'application=milvus-otel-demo',
    OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint,
  };
}

/** An app from this repository that runs under the preload. */
export interface TracedApp {
  /** Resolves with the match of the first matching line of stdout; rejects when the app exits without one. */
  waitForLine(pattern: RegExp): Promise<RegExpExecArray>;
  /** The exit code, null when it was killed, once all output has been read. */
  ended: Promise<number | null>;
  stop(): Promise<void>;
}

export interface TracedAppOptions {
  stack: Stack;
  /** From the root of the repository. */
  file: string;
  say: Say;
  teardown: Teardown;
  /** OTEL_SERVICE_NAME. */
  service?: string;
  /** Variables in addition to MILVUS_ADDRESS. */
  variables?: Record<string, string>;
}

/** Starts it with the preload under its published name, and prints its output line by line. */
export function startTraced(options: TracedAppOptions): TracedApp {
  const { stack, file, say, teardown, service, variables = {} } = options;
  const args = ['--import', 'milvus-otel/register', file];
  const assigned = { ...appVariables(stack, service), ...variables };
  say(
    'app',
    `$ ${Object.entries(assigned)
      .map((pair) => pair.join('='))
      .join(' ')} \\`,
  );
  say('app', `    node ${args.join(' ')}`);

  // The user's tracing settings and preloads are not for this app.
  const inherited = Object.entries(process.env).filter(([name]) => !/^OTEL_|^NODE_OPTIONS$/.test(name));
  const app = spawnGuarded(process.execPath, args, {
    cwd: root,
    env: { ...Object.fromEntries(inherited), ...assigned, MILVUS_ADDRESS: stack.milvusAddress },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  teardown.add(() => app.stop());
  const lines: string[] = [];
  const listeners = new Set<() => void>();
  for (const output of [app.process.stdout, app.process.stderr]) {
    if (!output) continue;
    createInterface({ input: output }).on('line', (line) => {
      say('app', line);
      if (output === app.process.stdout) lines.push(line);
      for (const look of listeners) look();
    });
  }
  const closed = once(app.process, 'close');
  const ended = app.ended.then(async (code) => {
    await closed;
    return code;
  });
  // A caller that ignores `ended` gets no unhandled rejection.
  ended.catch(() => {});

  return {
    ended,
    stop: () => app.stop(),
    waitForLine: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = lines.map((line) => pattern.exec(line)).find((found) => found !== null);
          if (match === undefined) return;
          listeners.delete(look);
          resolve(match);
        };
        listeners.add(look);
        look();
        ended.then(
          (code) => reject(new Error(`${file} ended with code ${code}: see its lines above`)),
          reject,
        );
      }),
  };
}

/** Runs an app until it exits. Resolves with its exit code, null when it was killed. */
export async function runTraced(
  stack: Stack,
  file: string,
  say: Say,
  teardown: Teardown,
): Promise<number | null> {
  const app = startTraced({ stack, file, say, teardown });
  const deadline = setTimeout(() => app.stop(), appDeadlineMs);
  const code = await app.ended;
  clearTimeout(deadline);
  return code;
}

export interface JoinedSpansOptions {
  /** The client's service name. */
  service?: string;
  /** Whether all requests have their spans; when not given, one trace is enough. */
  isAllHere?: (spans: ReceivedSpan[]) => boolean;
}

/** Resolves with all spans once all client traces are joined and complete, or at the deadline. */
export async function joinedSpans(
  stack: Stack,
  deadlineMs: number,
  { service = clientService, isAllHere = () => true }: JoinedSpansOptions = {},
): Promise<ReceivedSpan[]> {
  const startedMs = performance.now();
  let joinedAtMs: number | undefined;
  for (;;) {
    const spans = await stack.spans();
    const { clientTraces, joined } = countJoins(callsOf(spans), service);
    const nowMs = performance.now();
    const isJoined = clientTraces > 0 && joined === clientTraces && isAllHere(spans);
    if (isJoined) joinedAtMs ??= nowMs;

    const isComplete = isJoined && strayedServerSpans(spans, service).length === 0;
    if (isComplete || nowMs - (joinedAtMs ?? nowMs) > lateSpansMs || nowMs - startedMs > deadlineMs)
      return spans;
    await sleep(sampleEveryMs);
  }
}

/** Roots in the client's traces that belong to other services: their parents have not arrived. */
function strayedServerSpans(spans: ReceivedSpan[], client: string): ReceivedSpan[] {
  const ofClient = new Set(spans.filter(({ service }) => service === client).map(({ traceId }) => traceId));
  return traceTrees(spans)
    .map(({ span }) => span)
    .filter(({ service, traceId }) => service !== client && ofClient.has(traceId));
}
