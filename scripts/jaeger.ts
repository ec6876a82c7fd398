/** A real Jaeger for the tests, without Docker, on free ports. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GoBuildOptions, lastLines } from './go-program.ts';
import { spawnGuarded } from './guarded-child.ts';
import { ensureJaeger, jaegerVersion } from './jaeger-build.ts';

const readyWithinMs = 30_000;
const startAttempts = 3;

export interface Jaeger {
  /** OTLP over gRPC, on 127.0.0.1. */
  readonly otlpGrpcPort: number;
  /** OTLP over HTTP, on 127.0.0.1. */
  readonly otlpHttpPort: number;
  /** `http://127.0.0.1:port`; answers /api/services and /api/traces. Its web pages are not in the Go module. */
  readonly queryUrl: string;
  /** As its Go module is tagged, such as `v1.76.0`. */
  readonly version: string;
  /** Kills it and resolves when it is gone. A second call does nothing. */
  stop(): Promise<void>;
}

/**
 * The real Jaeger all-in-one on free ports of 127.0.0.1, traces in memory, ready to receive. Built first when it is not in
 * the cache. It dies with this process, whatever way this process ends. Rejects with the end of Jaeger's own log when it
 * does not get ready, and as `ensureJaeger` does.
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
  const [otlpGrpc, otlpHttp, queryHttp, queryGrpc, admin, collectorGrpc, collectorHttp] = await freePorts(7);
  const server = spawnGuarded(
    program,
    [
      `--collector.otlp.grpc.host-port=127.0.0.1:${otlpGrpc}`,
      `--collector.otlp.http.host-port=127.0.0.1:${otlpHttp}`,
      `--query.http-server.host-port=127.0.0.1:${queryHttp}`,
      `--query.grpc-server.host-port=127.0.0.1:${queryGrpc}`,
      `--admin.http.host-port=127.0.0.1:${admin}`,
      `--collector.grpc-server.host-port=127.0.0.1:${collectorGrpc}`,
      `--collector.http-server.host-port=127.0.0.1:${collectorHttp}`,
    ],
    {
      cwd: dirname(program),
      // Nothing of the caller's environment: Jaeger reads OTEL_* and any of its options from there. Sampler off, since it
      // traces itself to localhost:4317, which may be somebody's collector.
      env: { SPAN_STORAGE_TYPE: 'memory', OTEL_TRACES_SAMPLER: 'always_off' },
      stdout: 'ignore',
      stderr: 'pipe',
    },
  );
  let output = '';
  // Read to the end, or a full pipe would stop Jaeger; its last words are for the message of a failed start.
  server.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-8_000);
  });
  const closed = once(server.process, 'close');
  const stop = async () => {
    await server.stop();
    await closed;
  };

  const deadline = Date.now() + readyWithinMs;
  while (!(await isReady(`http://127.0.0.1:${admin}/`))) {
    const { exitCode } = server.process;
    if (exitCode !== null || Date.now() > deadline) {
      await stop();
      const what =
        exitCode !== null ? `ended with code ${exitCode}` : `was not ready within ${readyWithinMs / 1000} s`;
      throw new Error(
        `Jaeger ${jaegerVersion} ${what}. The end of its log:\n${lastLines(output.trim(), 10)}`,
      );
    }
    await sleep(50);
  }
  const queryUrl = `http://127.0.0.1:${queryHttp}`;
  log(`Jaeger ${jaegerVersion}: up, OTLP/gRPC on 127.0.0.1:${otlpGrpc}, query API on ${queryUrl}`);
  return {
    otlpGrpcPort: otlpGrpc as number,
    otlpHttpPort: otlpHttp as number,
    queryUrl,
    version: jaegerVersion,
    stop,
  };
}

async function isReady(healthUrl: string): Promise<boolean> {
  try {
    const response = await fetch(healthUrl, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

/** Ports of 127.0.0.1 that nobody listens on now. All are held together before any is given back, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
