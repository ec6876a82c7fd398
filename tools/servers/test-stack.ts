/** The stack of `npm test` and `npm run test:frameworks`: a real Milvus and a receiver of its spans. */
import type { Teardown } from '../processes/teardown.ts';
import { startMilvus } from './milvus.ts';
import { startReceiver } from './receiver.ts';
import { serveReceiver } from './shared-receiver.ts';

/** Resolves to its variables for test files, which test/support/stack.ts reads. */
export async function startTestStack(teardown: Teardown): Promise<Record<string, string>> {
  const receiver = await startReceiver();
  teardown.add(() => receiver.stop());
  const served = await serveReceiver(receiver);
  teardown.add(() => served.close());
  const log = (line: string) => console.error(line);
  const milvus = await startMilvus({ otlpEndpoint: `127.0.0.1:${receiver.grpcPort}`, log });
  teardown.add(() => milvus.stop());
  return { MILVUS_OTEL_TEST_MILVUS: milvus.address, MILVUS_OTEL_TEST_RECEIVER: served.url };
}

/** The environment without the developer's own variables that would change the programs under test. */
export function withoutTelemetrySettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OTEL_')));
}
