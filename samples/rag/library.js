// The service's documents, as passages in Milvus.
import { setTimeout as sleep } from 'node:timers/promises';
import { CONNECT_STATUS, DataType, MilvusClient } from '@zilliz/milvus2-sdk-node';
import { dimension } from './embed.js';

const connectTimeoutMs = 5_000;
const mostTitleBytes = 256;
const mostTextBytes = 8_192;

/**
 * Connects, and creates and loads the collection when Milvus does not have it. Rejects, naming the fix, when no Milvus
 * answers in time. `isNew`: the collection was created here and is empty.
 */
export async function openLibrary(address, collection_name) {
  const milvus = new MilvusClient({ address });
  await reachMilvus(milvus, address);
  const { value: isThere } = checked(await milvus.hasCollection({ collection_name }));
  if (!isThere) await createCollection(milvus, collection_name);
  checked(await milvus.loadCollection({ collection_name }));

  return {
    isNew: !isThere,

    /** Rows are {title, text, vector}. Gives the number that Milvus took. */
    async add(rows) {
      const inserted = checked(await milvus.insert({ collection_name, data: rows }));
      return Number(inserted.insert_cnt);
    },

    /** The nearest passages, {title, text, score}, the nearest first. `fresh` waits for what was added a moment ago. */
    async search(vector, limit, fresh) {
      const found = checked(
        await milvus.search({
          collection_name,
          data: vector,
          limit,
          output_fields: ['title', 'text'],
          consistency_level: fresh ? 'Strong' : 'Bounded',
        }),
      );
      return found.results.map(({ title, text, score }) => ({ title, text, score }));
    },

    /** Whether Milvus has the collection ready to be searched. */
    async isReady() {
      const { state } = checked(await milvus.getLoadState({ collection_name }));
      return state === 'LoadStateLoaded';
    },

    close: () => milvus.closeConnection(),
  };
}

async function createCollection(milvus, collection_name) {
  checked(
    await milvus.createCollection({
      collection_name,
      fields: [
        { name: 'id', data_type: DataType.Int64, is_primary_key: true, autoID: true },
        { name: 'title', data_type: DataType.VarChar, max_length: mostTitleBytes },
        { name: 'text', data_type: DataType.VarChar, max_length: mostTextBytes },
        { name: 'vector', data_type: DataType.FloatVector, dim: dimension },
      ],
    }),
  );
  checked(
    await milvus.createIndex({
      collection_name,
      field_name: 'vector',
      index_type: 'HNSW',
      metric_type: 'COSINE',
      params: { M: 16, efConstruction: 200 },
    }),
  );
}

/** Resolves once Milvus has answered the SDK's first call; rejects, naming the fix, when none does in time. */
async function reachMilvus(milvus, address) {
  try {
    const tooLate = sleep(connectTimeoutMs, undefined, { ref: false }).then(() => {
      throw new Error(`no answer within ${connectTimeoutMs} ms`);
    });
    await Promise.race([milvus.connectPromise, tooLate]);
    // To the SDK, any other gRPC server looks like an old Milvus.
    if (milvus.connectStatus !== CONNECT_STATUS.CONNECTED)
      throw new Error('what answers there is not Milvus');
  } catch (error) {
    throw new Error(
      `No Milvus at ${address}: start it there or set MILVUS_ADDRESS=host:port (${error.message})`,
    );
  }
}

/** Most calls return a failure instead of throwing it: gives the response back, or throws its status. */
function checked(response) {
  const status = response.status ?? response;
  if (status.error_code !== 'Success') throw status;
  return response;
}
