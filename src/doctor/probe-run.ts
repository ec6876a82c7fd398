/** Runs the probe: a child under the preload, as the app would be, with what it is to do on stdin. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

declare const __dirname: string;

export interface ProbeOrder {
  /**
   * May hold credentials, as the others do: stdin, not arguments, which everybody on the machine can read.
   */
  address: string;
  token?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
  /** Main file of the app's SDK; null: plain gRPC. */
  sdkPath: string | null;
}

export interface ProbeAnswer {
  traceId: string;
  serviceName: string;
  /** Null when the SDK is not installed in the app. */
  sdkVersion: string | null;
  /** As the server tells it; null when it could not be asked. */
  version: string | null;
  failure: { step: string; code: number | null; message: string } | null;
  /** Lines of the preload's own. */
  complaints: string[];
}

/** Before the answer on the probe's stdout, on which an SDK may print too. */
export const ANSWER = 'milvus-otel-probe ';

/**
 * Settings that would keep the probe's own trace from being made; the stage before has said what they do to
 * the app.
 */
const REMOVED = [
  'NODE_OPTIONS',
  'OTEL_SDK_DISABLED',
  'OTEL_TRACES_SAMPLER_ARG',
  'OTEL_NODE_ENABLED_INSTRUMENTATIONS',
  'OTEL_NODE_DISABLED_INSTRUMENTATIONS',
  'OTEL_PROPAGATORS',
  'OTEL_METRICS_EXPORTER',
  'OTEL_LOGS_EXPORTER',
  'OTEL_LOG_LEVEL',
  'NODE_CHANNEL_FD',
];

export function probeEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.fromEntries(Object.entries(env).filter(([name]) => !REMOVED.includes(name)));
  return {
    ...kept,
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_TRACES_SAMPLER: 'always_on',
    OTEL_BSP_SCHEDULE_DELAY: '0',
    OTEL_NODE_FLUSH_TIMEOUT: '1500',
    OTEL_SERVICE_NAME: env.OTEL_SERVICE_NAME || 'milvus-otel doctor',
    GRPC_VERBOSITY: 'NONE',
  };
}

/** Killed after `limitMs`, whatever it hangs in. Never rejects. */
export function runProbe(
  order: ProbeOrder,
  appFolder: string,
  env: NodeJS.ProcessEnv,
  limitMs: number,
): Promise<ProbeAnswer | { failure: string }> {
  const preload = pathToFileURL(join(__dirname, 'register.cjs')).href;
  const child = spawn(process.execPath, ['--import', preload, join(__dirname, 'doctor-probe.cjs')], {
    cwd: appFolder,
    env: probeEnvironment(env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(order));
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  return new Promise((resolve) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, limitMs);
    const settle = (reason: string) => {
      clearTimeout(timer);
      process.off('exit', killAtExit);
      const line = stdout.split('\n').find((text) => text.startsWith(ANSWER));
      if (line === undefined) return resolve({ failure: reason });
      const complaints = stderr.split('\n').filter((text) => text.startsWith('milvus-otel: '));
      resolve({ ...(JSON.parse(line.slice(ANSWER.length)) as ProbeAnswer), complaints });
    };
    child.once('error', (error) => settle(error.message));
    child.once('close', (code) =>
      settle(
        late
          ? `no answer within ${limitMs} ms`
          : `it ended with code ${code}: ${stderr.trim().split('\n').at(-1) ?? ''}`,
      ),
    );
  });
}
