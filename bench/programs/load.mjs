import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { mixedFails, mixedLimit, mixedRows } from './mixed-searches.mjs';

/** @param config of the client, in addition to its address */
export const newClient = (config = {}) => new MilvusClient({ address: process.env.BENCH_MILVUS, ...config });

export const withoutHeartbeats = { telemetry: { enabled: false } };

/** One search. Returns whether it has its five hits. `more` is added to the request. */
export async function search(client, more = {}) {
  const found = await client.search({
    collection_name: 'quick_setup',
    data: [0.1, 0.2, 0.3, 0.4, 0.5],
    limit: 5,
    ...more,
  });
  return found.results.length === 5;
}

const MIXED_COLLECTIONS = 20;
const MIXED_PARTITIONS = 30;

/**
 * Two workloads. `uniform` repeats one search. `mixed` is like a real service: search `number` has its own
 * collection, partition, limit and filter, and the stub Milvus answers with `mixedRows(number)` hits, or with
 * an error. `prepared` is the number of searches that reach every collection once; `search` returns whether
 * the answer is as expected.
 */
export const WORKLOADS = {
  uniform: { prepared: 1, search: (client) => search(client) },
  mixed: {
    prepared: MIXED_COLLECTIONS,
    async search(client, number) {
      const { status, results } = await client.search({
        collection_name: `mixed_${number % MIXED_COLLECTIONS}`,
        partition_names: [`partition_${number % MIXED_PARTITIONS}`],
        data: [0.1, 0.2, 0.3, 0.4, 0.5],
        limit: mixedLimit(number),
        filter: `number == ${number}`,
      });
      return mixedFails(number) ? status.code !== 0 : results.length === mixedRows(number);
    },
  },
};

/** Makes `total` calls, `atOnce` at a time; `call` gets the call's number, from 0 on. */
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
