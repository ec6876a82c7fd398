/** Runs the production set under a load of known counts, which the dashboard's queries must return. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureBuilt } from '../build/build-package.ts';
import { freePort } from '../processes/free-ports.ts';
import { type RunningFixture, runFixture, startFixture } from '../processes/run-fixture.ts';
import { type Milvus, startMilvus } from '../servers/milvus.ts';
import { makeCertificates, type ProductionSet, startProductionSet } from '../servers/production-set.ts';
import { type Prometheus, startPrometheus } from '../servers/prometheus.ts';

/** Questions to the RAG sample. */
const questionsPerSecond = 10;
/** Rounds of test/fixtures/some-calls-fail.mjs: three calls that succeed and one that fails. */
const roundsPerSecond = 2;
/** An app whose collector is unreachable, with more spans than its queue holds. */
export const lossy = { rounds: 10, spans: 41, queueSize: 16 };
/**
 * An app whose searches are each retried `retriesPerSearch` times, in the first 60 % of the load. Then `held`
 * searches stay in flight until the end, through `poolSize` connections.
 */
export const crowded = { retriesPerSearch: 2, held: 5, poolSize: 2 };
const crowdedSearchesPerSecond = 2;
const arrivalWithinMs = 90_000;

export interface MeasuredLoad {
  readonly set: ProductionSet;
  readonly milvus: Milvus;
  readonly prometheus: Prometheus;
  /** By service name. */
  readonly apps: Record<'rag-service' | 'shop' | 'lossy' | 'crowded', RunningFixture>;
  /** Address of the scripted Milvus of `crowded`, which sends no spans. */
  readonly crowdedAddress: string;
  /** Variables of an app that sends to the collector. */
  readonly appEnv: Record<string, string>;
  /** Searches of the RAG sample: one per question and one at its start, with four rows each. */
  readonly searches: number;
  readonly rounds: number;
  /** Completed searches of `crowded`, with two rows each. */
  readonly crowdedSearches: number;
  /** Start and end of the load. At `toMs` Prometheus has its spans and metrics, and no app starts a call. */
  readonly fromMs: number;
  readonly toMs: number;
  stop(): Promise<void>;
}

/** Only failed calls are kept in Jaeger. Rejects when the spans of the load do not arrive in Prometheus. */
export async function runMeasuredLoad(
  scratch: string,
  seconds: number,
  log: (line: string) => void,
): Promise<MeasuredLoad> {
  await ensureBuilt();
  const stops: (() => Promise<unknown> | undefined)[] = [];
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    const certificates = path.join(scratch, 'certificates');
    makeCertificates(certificates, 'app');
    const env = { SLOW_MS: '60000', KEEP_PERCENT: '0', DECISION_WAIT: '6s', SPAN_METRICS_INTERVAL: '1s' };
    const set = await startProductionSet(scratch, certificates, env, log);
    stops.push(() => set.stop());
    const milvus = await startMilvus({ otlpEndpoint: set.milvusEndpoint, log });
    stops.push(() => milvus.stop());
    const prometheus = await startPrometheus(path.join(scratch, 'prometheus'), set.metricsTargets, { log });
    stops.push(() => prometheus.stop());

    const appEnv = {
      MILVUS_ADDRESS: milvus.address,
      OTEL_EXPORTER_OTLP_ENDPOINT: `https://localhost:${set.appGrpcPort}`,
      OTEL_EXPORTER_OTLP_CERTIFICATE: path.join(certificates, 'ca.crt'),
      OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: path.join(certificates, 'app.crt'),
      OTEL_EXPORTER_OTLP_CLIENT_KEY: path.join(certificates, 'app.key'),
      OTEL_METRICS_EXPORTER: 'otlp',
      OTEL_METRIC_EXPORT_INTERVAL: '1000',
      OTEL_METRIC_EXPORT_TIMEOUT: '900',
      OTEL_BSP_SCHEDULE_DELAY: '200',
    };
    const timeoutMs = (seconds + 600) * 1_000;
    const start = (service: string, file: string, args: string[], more: Record<string, string> = {}) => {
      const app = startFixture({
        file,
        args,
        preload: true,
        timeoutMs,
        env: { ...appEnv, ...more, OTEL_SERVICE_NAME: service },
      });
      stops.push(() => {
        app.kill('SIGTERM');
        return app.ended.catch(() => {});
      });
      return app;
    };
    const rag = start('rag-service', 'samples/rag/server.js', [], { PORT: '0' });
    const [, ragUrl] = await rag.waitForStdout(/(http:\/\/\S+:\d+)/);
    const delaying = startFixture({ file: 'test/fixtures/milvus-that-delays.mjs', timeoutMs });
    stops.push(() => {
      delaying.kill('SIGTERM');
      return delaying.ended.catch(() => {});
    });
    const [crowdedAddress] = await delaying.waitForStdout(/\S+:\d+/);

    const fromMs = Date.now();
    const questions = Math.round(seconds * questionsPerSecond);
    const searches = questions + 1;
    const rounds = Math.round(seconds * roundsPerSecond);
    log(`Load: ${questions} questions and ${rounds} rounds of calls in ${seconds} s`);
    const shop = start('shop', 'test/fixtures/some-calls-fail.mjs', [
      'rag_passages',
      String(rounds),
      String(1_000 / roundsPerSecond),
    ]);
    const lossyApp = start(
      'lossy',
      'test/fixtures/some-calls-fail.mjs',
      ['rag_passages', String(lossy.rounds), '100'],
      {
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `http://127.0.0.1:${await freePort()}`,
        OTEL_BSP_MAX_QUEUE_SIZE: String(lossy.queueSize),
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: String(lossy.queueSize),
      },
    );
    const crowdedSearches = Math.round(0.6 * seconds * crowdedSearchesPerSecond);
    const crowdedApp = start(
      'crowded',
      'test/fixtures/retries-then-waits.mjs',
      [crowdedSearches, 1_000 / crowdedSearchesPerSecond, crowded.held, crowded.poolSize].map(String),
      { MILVUS_ADDRESS: crowdedAddress },
    );
    const asked = await runFixture({
      file: 'samples/rag/load.mjs',
      args: [
        ...['--url', ragUrl as string],
        ...['--requests-per-second', String(questionsPerSecond), '--seconds', String(seconds)],
      ],
      timeoutMs,
    });
    if (asked.code !== 0) throw new Error(`The load failed: ${asked.stdout}\n${asked.stderr}`);
    await shop.waitForStdout(/^done$/m);
    await lossyApp.waitForStdout(/^done$/m);
    await crowdedApp.waitForStdout(/^done$/m);

    await arrival(prometheus, [
      [
        `sum(traces_span_metrics_calls_total{service_name="rag-service",db_operation_name="search"})`,
        searches,
      ],
      [`sum(traces_span_metrics_calls_total{service_name="shop",db_operation_name="search"})`, rounds],
      [`sum(traces_kept_calls_total{service_name="shop"})`, rounds],
      [`sum(traces_span_metrics_calls_total{rpc_method="Search"})`, searches],
      [
        `sum(db_client_operation_duration_seconds_count{service_name="rag-service",db_operation_name="search"})`,
        searches,
      ],
      [
        `sum(traces_span_metrics_calls_total{service_name="crowded",db_operation_name="search"})`,
        crowdedSearches,
      ],
      [`sum(db_client_connection_pending_requests{service_name="crowded"})`, crowded.held - crowded.poolSize],
    ]);
    // Two exports and scrapes of the apps' final metrics.
    await sleep(4_000);
    return {
      set,
      milvus,
      prometheus,
      apps: { 'rag-service': rag, shop, lossy: lossyApp, crowded: crowdedApp },
      crowdedAddress,
      appEnv,
      searches,
      rounds,
      crowdedSearches,
      fromMs,
      toMs: Date.now(),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Resolves when each query has its expected value. */
async function arrival(prometheus: Prometheus, wanted: [expr: string, value: number][]): Promise<void> {
  const deadlineMs = performance.now() + arrivalWithinMs;
  for (const [expr, value] of wanted) {
    for (;;) {
      const [found] = await prometheus.query(expr);
      if (found?.value === value) break;
      if (performance.now() > deadlineMs)
        throw new Error(`Not in Prometheus: ${expr} is ${found?.value ?? 'empty'}, not ${value}`);
      await sleep(500);
    }
  }
}
