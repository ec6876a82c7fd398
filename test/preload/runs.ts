/**
 * Runs of real programs between a scripted Milvus and a real collector, both in the process of the test file.
 */
import { after, before } from 'node:test';
import { type StubMilvus, startStubMilvus } from '../../bench/stub-milvus.ts';
import {
  type FixtureOptions,
  type FixtureResult,
  type RunningFixture,
  startFixture,
} from '../../tools/processes/run-fixture.ts';
import { type ReceivedSpan, type Receiver, startReceiver } from '../../tools/servers/receiver.ts';
import { ensureDist } from '../support/dist.ts';

export interface RunOptions extends FixtureOptions {
  /** OTEL_SERVICE_NAME, which separates the spans of concurrent runs; null leaves it unset. */
  service?: string | null;
  kill?: { signal: NodeJS.Signals; afterStdout: RegExp };
}

export interface Runs {
  /** Ready only inside tests. */
  readonly receiver: Receiver;
  /** Records its calls. */
  readonly milvus: StubMilvus;
  start(options: RunOptions): RunningFixture & { service: string };
  /** Resolves at the exit. */
  run(options: RunOptions): Promise<FixtureResult & { service: string }>;
  /**
   * Resolves once `count` spans of the service are there; rejects after 5 s, or when there are more. With
   * `mayRepeat`, a span that arrives twice counts once.
   */
  spans(service: string, count: number, options?: { mayRepeat?: boolean }): Promise<ReceivedSpan[]>;
}

let runCount = 0;

/** Called once at the top of a test file: starts both before its tests, stops both after them. */
export function useRuns(): Runs {
  let receiver: Receiver;
  let milvus: StubMilvus;
  before(async () => {
    await ensureDist();
    receiver = await startReceiver();
    milvus = await startStubMilvus({ record: true });
  });
  after(async () => {
    await receiver.stop();
    await milvus.stop();
  });

  const start = ({ service = `run-${++runCount}`, kill: _, env, ...options }: RunOptions) => ({
    service: service ?? '',
    ...startFixture({
      preload: true,
      timeoutMs: 30_000,
      ...options,
      env: {
        MILVUS_ADDRESS: milvus.address,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${receiver.grpcPort}`,
        ...(service === null ? {} : { OTEL_SERVICE_NAME: service }),
        ...env,
      },
    }),
  });

  return {
    get receiver() {
      return receiver;
    },
    get milvus() {
      return milvus;
    },
    start,
    async run(options) {
      const fixture = start(options);
      if (options.kill !== undefined) {
        await fixture.waitForStdout(options.kill.afterStdout);
        fixture.kill(options.kill.signal);
      }
      return { service: fixture.service, ...(await fixture.ended) };
    },
    async spans(service, count, { mayRepeat = false } = {}) {
      const of = (spans: ReceivedSpan[]) => {
        const own = spans.filter((span) => span.service === service);
        return mayRepeat ? [...new Map(own.map((span) => [span.spanId, span])).values()] : own;
      };
      const found = of(await receiver.waitForSpans((spans) => of(spans).length >= count, 5_000));
      if (found.length > count)
        throw new Error(`${found.length} spans instead of ${count}:\n${outline(found).join('\n')}`);
      return found.sort((a, b) => a.startMs - b.startMs);
    },
  };
}

/** The names of spans, children indented below their parents, in the order in which they started. */
export function outline(spans: ReceivedSpan[]): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const below = (parentSpanId: string | undefined, indent: string): string[] =>
    spans
      .filter((span) =>
        parentSpanId === undefined
          ? span.parentSpanId === undefined || !ids.has(span.parentSpanId)
          : span.parentSpanId === parentSpanId,
      )
      .sort((a, b) => a.startMs - b.startMs)
      .flatMap((span) => [`${indent}${span.name}`, ...below(span.spanId, `${indent}  `)]);
  return below(undefined, '');
}
