/** A real Jaeger for the tests, without Docker, on free ports. */
import { freePorts } from '../processes/free-ports.ts';
import type { GoBuildOptions } from './go-program.ts';
import { ensureJaeger, jaegerVersion } from './jaeger-build.ts';
import { startTelemetryProgram } from './telemetry-program.ts';

const startAttempts = 3;

export interface Jaeger {
  /** OTLP over gRPC, on 127.0.0.1. */
  readonly otlpGrpcPort: number;
  /** OTLP over HTTP, on 127.0.0.1. */
  readonly otlpHttpPort: number;
  /** Receives Zipkin spans, `http://127.0.0.1:port/api/v2/spans`. */
  readonly zipkinUrl: string;
  /**
   * `http://127.0.0.1:port`; answers /api/services and /api/traces. Its web pages are not in the Go module.
   */
  readonly queryUrl: string;
  /** Tag of its Go module, such as `v1.76.0`. */
  readonly version: string;
  /** Kills it and resolves when it is gone. A second call does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts the real Jaeger all-in-one on free ports of 127.0.0.1, with traces in memory; built first when not
 * cached. It ends with this process, even after a crash. Rejects with the end of Jaeger's log when it does
 * not get ready, and as `ensureJaeger` does.
 */
export async function startJaeger(options: GoBuildOptions = {}): Promise<Jaeger> {
  const program = await ensureJaeger(options);
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(program, options.log);
    } catch (error) {
      // A port that was free a moment ago can be taken by now: only new ports help.
      if (attempt === startAttempts || !/address already in use/.test(String(error))) throw error;
    }
  }
}

async function launch(program: string, log: (line: string) => void = () => {}): Promise<Jaeger> {
  const [otlpGrpc, otlpHttp, zipkin, queryHttp, queryGrpc, admin, collectorGrpc, collectorHttp] =
    await freePorts(8);
  const { stop } = await startTelemetryProgram(
    program,
    [
      `--collector.otlp.grpc.host-port=127.0.0.1:${otlpGrpc}`,
      `--collector.otlp.http.host-port=127.0.0.1:${otlpHttp}`,
      `--collector.zipkin.host-port=127.0.0.1:${zipkin}`,
      `--query.http-server.host-port=127.0.0.1:${queryHttp}`,
      `--query.grpc-server.host-port=127.0.0.1:${queryGrpc}`,
      `--admin.http.host-port=127.0.0.1:${admin}`,
      `--collector.grpc-server.host-port=127.0.0.1:${collectorGrpc}`,
      `--collector.http-server.host-port=127.0.0.1:${collectorHttp}`,
    ],
    // Sampler off: Jaeger traces itself to localhost:4317, which may be another collector.
    { SPAN_STORAGE_TYPE: 'memory', OTEL_TRACES_SAMPLER: 'always_off' },
    `http://127.0.0.1:${admin}/`,
  );
  const queryUrl = `http://127.0.0.1:${queryHttp}`;
  log(`Jaeger ${jaegerVersion}: up, OTLP/gRPC on 127.0.0.1:${otlpGrpc}, query API on ${queryUrl}`);
  return {
    otlpGrpcPort: otlpGrpc as number,
    otlpHttpPort: otlpHttp as number,
    zipkinUrl: `http://127.0.0.1:${zipkin}/api/v2/spans`,
    queryUrl,
    version: jaegerVersion,
    stop,
  };
}
