/** compose/production with real programs instead of images. Variables of its files set folders and ports. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { freePorts } from '../processes/free-ports.ts';
import { ensureCollector } from './collector-build.ts';
import { ensureJaeger2 } from './jaeger-build.ts';
import { startTelemetryProgram, type TelemetryProgram } from './telemetry-program.ts';

export const productionFolder = path.join(import.meta.dirname, '..', '..', 'compose', 'production');

export interface ProductionSet {
  /** OTLP for apps, with mutual TLS, on 127.0.0.1. */
  readonly appGrpcPort: number;
  readonly appHttpPort: number;
  /** OTLP for Milvus, without TLS. */
  readonly milvusEndpoint: string;
  /** `http://127.0.0.1:port` of Jaeger's query API. */
  readonly jaegerUrl: string;
  /** `host:port` that Prometheus reads, by the `host:port` in prometheus.yml. */
  readonly metricsTargets: Record<string, string>;
  collector: TelemetryProgram;
  jaeger: TelemetryProgram;
  /** Restarts it after a stop, with the same ports and data. `env` overrides more variables. */
  startCollector(env?: Record<string, string>): Promise<TelemetryProgram>;
  startJaeger(): Promise<TelemetryProgram>;
  stop(): Promise<void>;
}

/** Certificates of compose/production/certificates.sh for the collector and these apps. */
export function makeCertificates(into: string, ...apps: string[]): void {
  execFileSync('sh', [path.join(productionFolder, 'certificates.sh'), into, ...apps], { stdio: 'pipe' });
}

/**
 * `env` overrides variables of collector.yaml, such as KEEP_PERCENT. Data and queue are kept in `scratch`.
 */
export async function startProductionSet(
  scratch: string,
  certificates: string,
  env: Record<string, string>,
  log: (line: string) => void,
): Promise<ProductionSet> {
  const [queryPort, queryGrpcPort, jaegerOtlp, jaegerHealth, jaegerMetrics, ...ofCollector] =
    await freePorts(11);
  const [grpcPort, httpPort, milvusPort, collectorHealth, collectorMetrics, exporterPort] = ofCollector;
  const jaegerProgram = await ensureJaeger2({ log });
  const collectorProgram = await ensureCollector({ log });
  const queue = path.join(scratch, 'queue');
  mkdirSync(queue, { recursive: true });

  const startJaeger = () =>
    startTelemetryProgram(
      jaegerProgram,
      [`--config=${path.join(productionFolder, 'jaeger.yaml')}`],
      {
        LISTEN_HOST: '127.0.0.1',
        STORAGE_FOLDER: path.join(scratch, 'storage'),
        QUERY_PORT: String(queryPort),
        QUERY_GRPC_PORT: String(queryGrpcPort),
        OTLP_GRPC_PORT: String(jaegerOtlp),
        HEALTH_PORT: String(jaegerHealth),
        METRICS_PORT: String(jaegerMetrics),
        // Jaeger's own traces would go to localhost:4317, which another collector may use.
        OTEL_TRACES_SAMPLER: 'always_off',
      },
      `http://127.0.0.1:${jaegerHealth}/status`,
    );
  const startCollector = (more: Record<string, string> = {}) =>
    startTelemetryProgram(
      collectorProgram,
      [`--config=${path.join(productionFolder, 'collector.yaml')}`],
      {
        LISTEN_HOST: '127.0.0.1',
        TLS_FOLDER: certificates,
        QUEUE_FOLDER: queue,
        JAEGER_ENDPOINT: `127.0.0.1:${jaegerOtlp}`,
        OTLP_GRPC_PORT: String(grpcPort),
        OTLP_HTTP_PORT: String(httpPort),
        MILVUS_OTLP_PORT: String(milvusPort),
        HEALTH_PORT: String(collectorHealth),
        METRICS_PORT: String(collectorMetrics),
        PROMETHEUS_EXPORTER_PORT: String(exporterPort),
        ...env,
        ...more,
      },
      `http://127.0.0.1:${collectorHealth}/`,
    );
  const jaeger = await startJaeger();
  const set: ProductionSet = {
    appGrpcPort: grpcPort as number,
    appHttpPort: httpPort as number,
    milvusEndpoint: `127.0.0.1:${milvusPort}`,
    jaegerUrl: `http://127.0.0.1:${queryPort}`,
    metricsTargets: {
      'collector:8888': `127.0.0.1:${collectorMetrics}`,
      'collector:8889': `127.0.0.1:${exporterPort}`,
      'jaeger:8888': `127.0.0.1:${jaegerMetrics}`,
    },
    jaeger,
    collector: await startCollector().catch(async (error) => {
      await jaeger.stop();
      throw error;
    }),
    startCollector,
    startJaeger,
    async stop() {
      await set.collector.stop();
      await set.jaeger.stop();
    },
  };
  return set;
}
