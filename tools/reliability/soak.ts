/** A long run at a steady rate: memory and descriptors of the process, and whether every span arrives. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ReceivedSpans } from '../../bench/collector.ts';
import { startSideProcess } from '../../bench/side-process.ts';
import { spread } from '../../bench/statistics.ts';
import { startFixture } from '../processes/run-fixture.ts';

export interface SoakPlan {
  seconds: number;
  operationsPerSecond: number;
  sampleSeconds: number;
}

/** The soak of the documents, and a short one for every test run. */
export const LONG: SoakPlan = { seconds: 600, operationsPerSecond: 500, sampleSeconds: 10 };
export const SHORT: SoakPlan = { seconds: 24, operationsPerSecond: 500, sampleSeconds: 2 };

/** Output of the program; memory in bytes. */
interface Sample {
  begun: number;
  failed: number;
  slowestMs: number;
  heapUsed: number;
  rss: number;
  descriptors: number;
  listeners: number;
}

export interface Soak {
  plan: SoakPlan;
  samples: Sample[];
  operations: number;
  /** Client spans of searches, queries and inserts at the collector. */
  received: number;
  stderr: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Runs test/fixtures/soak.mjs between a stub Milvus and a collector, each in a separate process. */
export async function soak(
  plan: SoakPlan,
  {
    preload = true,
    progress = (_: string) => {},
  }: { preload?: boolean; progress?: (elapsedSeconds: string) => void } = {},
): Promise<Soak> {
  const collector = await startSideProcess(new URL('../../bench/collector.ts', import.meta.url));
  try {
    const milvus = await startSideProcess(new URL('../../bench/stub-milvus.ts', import.meta.url));
    try {
      const fixture = startFixture({
        file: 'test/fixtures/soak.mjs',
        args: [plan.seconds, plan.operationsPerSecond, plan.sampleSeconds].map(String),
        preload,
        env: {
          NODE_OPTIONS: '--expose-gc',
          MILVUS_ADDRESS: milvus.address,
          OTEL_SERVICE_NAME: 'soak',
          OTEL_EXPORTER_OTLP_ENDPOINT: `http://${collector.address}`,
        },
        // On a busy machine the program catches up at the end.
        timeoutMs: plan.seconds * 2_000 + 120_000,
      });
      const { ended } = fixture;
      const beganMs = performance.now();
      for (let done = false; !done; ) {
        done = await Promise.race([
          ended.then(() => true),
          sleep(plan.sampleSeconds * 1_000, false, { ref: false }),
        ]);
        if (!done) progress(String(Math.round((performance.now() - beganMs) / 1_000)));
      }
      const { stdout, ...end } = await ended;
      const samples = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Sample);
      const { soak: counts = {} } = (await collector.ask('spans')) as ReceivedSpans;
      const received = Object.entries(counts)
        .filter(([name]) => /^(search|query|insert) /.test(name))
        .reduce((sum, [, count]) => sum + count, 0);
      return { plan, samples, operations: samples.at(-1)?.begun ?? 0, received, ...end };
    } finally {
      await milvus.stop();
    }
  } finally {
    await collector.stop();
  }
}

export interface Figures {
  /** Medians of the second and the last third of the run, in MiB; the first third is warm-up. */
  heapMiB: { middle: number; end: number };
  descriptors: { middle: number; end: number };
  listeners: { middle: number; end: number };
}

export function figuresOf({ samples }: Soak): Figures {
  // The last sample is after the work.
  const running = samples.slice(0, -1);
  const third = Math.floor(running.length / 3);
  const compare = (read: (sample: Sample) => number) => ({
    middle: spread(running.slice(third, 2 * third).map(read))?.median ?? Number.NaN,
    end: spread(running.slice(2 * third).map(read))?.median ?? Number.NaN,
  });
  return {
    heapMiB: compare(({ heapUsed }) => heapUsed / 2 ** 20),
    descriptors: compare(({ descriptors }) => descriptors),
    listeners: compare(({ listeners }) => listeners),
  };
}

/** Failed expectations, one line each. */
export function problemsOf(run: Soak): string[] {
  const { plan, samples, operations, received, stderr, code } = run;
  const { heapMiB, descriptors, listeners } = figuresOf(run);
  const planned = plan.seconds * plan.operationsPerSecond;
  const failed = samples.at(-1)?.failed ?? 0;
  const fell = (holds: boolean, problem: string) => (holds ? [] : [problem]);
  return [
    ...fell(
      code === 0 && stderr === '',
      `it ended with ${run.signal ?? code} and wrote ${JSON.stringify(stderr)}`,
    ),
    ...fell(operations >= planned * 0.99, `${operations} operations instead of ${planned}`),
    ...fell(failed === 0, `${failed} operations failed`),
    ...fell(received === operations, `${received} spans of ${operations} operations arrived`),
    // The queue varies by one batch: up to 512 spans, of which 64 are objects of 2 KiB each.
    ...fell(
      heapMiB.end <= heapMiB.middle * 1.05 + 1,
      `the heap grew from ${heapMiB.middle.toFixed(1)} to ${heapMiB.end.toFixed(1)} MiB`,
    ),
    ...fell(
      descriptors.end <= descriptors.middle,
      `file descriptors grew from ${descriptors.middle} to ${descriptors.end}`,
    ),
    ...fell(listeners.end <= listeners.middle, `listeners grew from ${listeners.middle} to ${listeners.end}`),
  ];
}
