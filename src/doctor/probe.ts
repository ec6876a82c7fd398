/**
 * A separate program, under the preload: one traced call to Milvus, by the app's SDK where there is one. It
 * reads only (Connect and GetVersion), so nothing is created.
 *
 * stdin: JSON (ProbeOrder). stdout: one line, ANSWER and JSON (ProbeAnswer without complaints).
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { messages, text } from '../otlp/protobuf.ts';
import { MARK } from './marked-span.ts';
import { milvusPlace } from './milvus-place.ts';
import { sdkVersionAt } from './packages.ts';
import { ANSWER, type ProbeAnswer, type ProbeOrder } from './probe-run.ts';

declare const __filename: string;
const require = createRequire(__filename);

const RPC_MS = 3_000;

type Told = Pick<ProbeAnswer, 'sdkVersion' | 'version'>;

class StepError extends Error {
  readonly step: string;
  readonly code: number | null;
  constructor(step: string, cause: unknown) {
    const { code, details, reason, message } = (cause ?? {}) as Record<string, unknown>;
    super(String(details || reason || message || cause));
    this.step = step;
    this.code = typeof code === 'number' ? code : null;
  }
}

const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw new StepError(name, error);
  }
};

async function main(): Promise<void> {
  const order = JSON.parse(readFileSync(0, 'utf8')) as ProbeOrder;
  const tracer = trace.getTracer('milvus-otel');
  const root = tracer.startSpan(MARK);
  const { traceId } = root.spanContext();
  let told: Told = { sdkVersion: order.sdkPath === null ? null : sdkVersionAt(order.sdkPath), version: null };
  let failure: ProbeAnswer['failure'] = null;
  await context.with(trace.setSpan(context.active(), root), async () => {
    try {
      told = { ...told, version: await (order.sdkPath === null ? askByGrpc(order) : askBySdk(order)) };
    } catch (error) {
      const { step = 'GetVersion', code = null, message } = error as StepError;
      failure = { step, code, message };
      root.setStatus({ code: SpanStatusCode.ERROR });
    }
  });
  root.end();
  const serviceName = process.env.OTEL_SERVICE_NAME ?? '';
  const answer: Omit<ProbeAnswer, 'complaints'> = { traceId, serviceName, failure, ...told };
  process.stdout.write(`${ANSWER}${JSON.stringify(answer)}\n`);
}

interface Sdk {
  MilvusClient: new (
    config: object,
  ) => {
    connectPromise?: Promise<unknown>;
    getVersion(): Promise<{ version: string; status?: { error_code?: string; reason?: string } }>;
    closeConnection(): Promise<unknown>;
  };
}

async function askBySdk({ sdkPath, address, token, username, password }: ProbeOrder): Promise<string> {
  const { MilvusClient } = require(sdkPath as string) as Sdk;
  const client = new MilvusClient({
    address,
    ...(token ? { token } : username ? { username, password } : {}),
    timeout: RPC_MS,
    maxRetries: 0,
    retryDelay: 10,
  });
  try {
    await step('Connect', async () => client.connectPromise);
    const { version, status } = await step('GetVersion', () => client.getVersion());
    if (status?.error_code !== undefined && status.error_code !== 'Success')
      throw new StepError('GetVersion', status);
    // The SDK makes an empty answer out of "unknown method".
    if (!version) throw new StepError('GetVersion', 'it answers, but tells no version: is it a Milvus?');
    return version;
  } finally {
    await Promise.resolve(client.closeConnection()).catch(() => {});
  }
}

async function askByGrpc({ address, token, username, password }: ProbeOrder): Promise<string> {
  const grpc = await import('@grpc/grpc-js');
  const place = milvusPlace(address);
  if (place === undefined) throw new Error(`${address} is not an address`);
  const host = place.host.includes(':') ? `[${place.host}]` : place.host;
  const client = new grpc.Client(
    `${host}:${place.port}`,
    place.tls ? grpc.credentials.createSsl() : grpc.credentials.createInsecure(),
  );
  const span = trace.getTracer('milvus-otel').startSpan(`getVersion ${place.shown}`, {
    kind: SpanKind.CLIENT,
    attributes: { 'db.system.name': 'milvus', 'db.operation.name': 'getVersion' },
  });
  const metadata = new grpc.Metadata();
  propagation.inject(trace.setSpan(context.active(), span), metadata, {
    set: (to, name, value) => to.set(name, value),
  });
  const secret = token ?? (username === undefined ? undefined : `${username}:${password ?? ''}`);
  if (secret !== undefined) metadata.set('authorization', Buffer.from(secret).toString('base64'));
  try {
    return await step(
      'GetVersion',
      () =>
        new Promise<string>((resolve, reject) => {
          client.makeUnaryRequest(
            '/milvus.proto.milvus.MilvusService/GetVersion',
            (request: Buffer) => request,
            (response: Buffer) => response,
            Buffer.alloc(0),
            metadata,
            { deadline: Date.now() + RPC_MS },
            (error, response) => {
              if (error) return reject(error);
              // GetVersionResponse { status = 1 { reason = 2 }, version = 2 }
              const bytes = response ?? Buffer.alloc(0);
              const reason = messages(bytes, 1)
                .map((status) => text(status, 2))
                .find((found) => found !== '');
              const version = text(bytes, 2);
              if (version === '' && reason !== undefined) reject(new Error(reason));
              else resolve(version);
            },
          );
        }),
    );
  } finally {
    span.end();
    client.close();
  }
}

void main();
