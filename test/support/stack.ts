/** The real Milvus and the receiver of its spans, for the tests that need them. */
import { after } from 'node:test';
import { connectReceiver, type SharedReceiver, serveReceiver } from '../../tools/servers/shared-receiver.ts';

export interface Stack {
  /** `127.0.0.1:port`. The server exports its spans (service `standalone`) to the receiver within 0.3 s. */
  milvusAddress: string;
  receiver: SharedReceiver;
}

let stack: Promise<Stack> | undefined;
const stops: (() => Promise<void>)[] = [];

// Registered at import: only here does the hook belong to the whole test file.
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

/**
 * The stack of `npm test` for all test files, or a new one for a file that runs alone, which ends with the
 * file. Every call returns the same one. Fails when it cannot be started.
 */
export function useStack(): Promise<Stack> {
  const { MILVUS_OTEL_TEST_MILVUS: milvusAddress, MILVUS_OTEL_TEST_RECEIVER: receiverUrl } = process.env;
  stack ??=
    milvusAddress !== undefined && receiverUrl !== undefined
      ? connectReceiver(receiverUrl).then((receiver) => ({ milvusAddress, receiver }))
      : startOwnStack();
  return stack;
}

async function startOwnStack(): Promise<Stack> {
  // Imported late: a file under `npm test` need not load the SDK and the build.
  const [{ ensureBuilt }, { startMilvus }, { startReceiver }] = await Promise.all([
    import('../../tools/build/build-package.ts'),
    import('../../tools/servers/milvus.ts'),
    import('../../tools/servers/receiver.ts'),
  ]);
  await ensureBuilt();
  const receiver = await startReceiver();
  stops.push(() => receiver.stop());
  const milvus = await startMilvus({
    otlpEndpoint: `127.0.0.1:${receiver.grpcPort}`,
    log: (line) => console.error(line),
  });
  stops.push(() => milvus.stop());
  const served = await serveReceiver(receiver);
  stops.push(() => served.close());
  return { milvusAddress: milvus.address, receiver: await connectReceiver(served.url) };
}
