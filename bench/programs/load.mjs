import { MilvusClient } from '@zilliz/milvus2-sdk-node';

/** @param config of the client, beside its address */
export const newClient = (config = {}) => new MilvusClient({ address: process.env.BENCH_MILVUS, ...config });

export const withoutHeartbeats = { telemetry: { enabled: false } };

/** One search. Gives whether it came back with its five hits. */
export async function search(client) {
  const found = await client.search({
    collection_name: 'quick_setup',
    data: [0.1, 0.2, 0.3, 0.4, 0.5],
    limit: 5,
  });
  return found.results.length === 5;
}

/** Makes `total` calls, `atOnce` at a time; `call` gets the number of the call, from 0 on. */
export async function run(total, atOnce, call) {
  let begun = 0;
  const worker = async () => {
    while (begun < total) {
      begun += 1;
      await call(begun - 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
