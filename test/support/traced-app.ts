/** Apps with separately installed packages, whose spans arrive with Milvus' at the tests' stack. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after } from 'node:test';
import { type FixtureResult, runFixture } from '../../tools/processes/run-fixture.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import type { Stack } from './stack.ts';

const fixtures = path.join(import.meta.dirname, '..', 'fixtures');
const arrivalTimeoutMs = 20_000;

const placed: string[] = [];
after(async () => {
  await Promise.all(placed.map((folder) => rm(folder, { recursive: true, force: true })));
});

/**
 * Copies a program of test/fixtures to where its imports find the packages of `folder`
 * (tools/processes/installed.ts), else this project's. Resolves to the copy's path; it is removed after the
 * test file.
 */
export async function placeProgram(name: string, folder: string): Promise<string> {
  // In a separate folder: another test file may place the same program.
  const own = await mkdtemp(path.join(folder, 'program-'));
  placed.push(own);
  const copy = path.join(own, name);
  await cp(path.join(fixtures, name), copy);
  return copy;
}

export interface TracedAppOptions {
  /** A path, or a file of test/fixtures. */
  program: string;
  stack: Stack;
  /** OTEL_SERVICE_NAME: the stack is shared, so each run has its own. */
  service: string;
  env?: Record<string, string>;
  /** Without the preload: the app as it is. */
  bare?: boolean;
  /** Time limit. */
  timeoutMs?: number;
}

/** Runs a program until it exits. MILVUS_ADDRESS is Milvus' address. */
export function runApp({
  program,
  stack,
  service,
  env,
  bare = false,
  timeoutMs,
}: TracedAppOptions): Promise<FixtureResult> {
  return runFixture({
    file: path.resolve(fixtures, program),
    preload: !bare,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    env: {
      MILVUS_ADDRESS: stack.milvusAddress,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${stack.receiver.grpcPort}`,
      ...env,
    },
  });
}

/** A span of the app, with the RPCs of Milvus' spans directly under it, each once, sorted. */
export interface Joined {
  span: ReceivedSpan;
  rpcs: string[];
}

const RPC = 'milvus.proto.milvus.MilvusService/';

/**
 * The app's spans in order of their start, once `count` have arrived and those selected by `isServed` have a
 * span of Milvus under them. Rejects at the time limit, listing the spans; for further spans; and for
 * RPCs that are not under a span of the app.
 */
export async function joinedSpans(
  { receiver }: Stack,
  service: string,
  count: number,
  isServed: (joined: Joined, index: number) => boolean = ({ span, rpcs }) =>
    span.scope !== 'milvus-otel' || rpcs.length > 0,
): Promise<Joined[]> {
  const spans = await receiver.waitForSpans(
    (received) => {
      const joined = join(received, service);
      return joined.length >= count && joined.every(isServed);
    },
    arrivalTimeoutMs,
    { service },
  );
  const joined = join(spans, service);
  if (joined.length > count)
    throw new Error(
      `${joined.length} spans instead of ${count}: ${joined.map(({ span }) => span.name).join(', ')}`,
    );
  const own = new Set(joined.map(({ span }) => span.spanId));
  const strays = spans.filter(
    ({ name, parentSpanId }) => name.startsWith(RPC) && !own.has(parentSpanId ?? ''),
  );
  if (strays.length > 0)
    throw new Error(`Not under a span of the app's: ${strays.map(({ name }) => name).join(', ')}`);
  return joined;
}

function join(spans: ReceivedSpan[], service: string): Joined[] {
  return spans
    .filter((span) => span.service === service)
    .sort((a, b) => a.startMs - b.startMs)
    .map((span) => {
      const rpcs = spans
        .filter(({ name, parentSpanId }) => parentSpanId === span.spanId && name.startsWith(RPC))
        .map(({ name }) => name.slice(RPC.length));
      return { span, rpcs: [...new Set(rpcs)].sort() };
    });
}
