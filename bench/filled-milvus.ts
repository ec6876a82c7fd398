/** A real Milvus with the collection that the bench's programs search. */
import { DataType, MilvusClient } from '@zilliz/milvus2-sdk-node';
import { type Milvus, startMilvus } from '../tools/servers/milvus.ts';
import { STUB_COLLECTION, STUB_DIMENSION } from './stub-milvus.ts';

const ROWS = 1000;

/** Resolves when the collection is loaded and its rows can be found. */
export async function startFilledMilvus(otlpEndpoint: string): Promise<Milvus> {
  const milvus = await startMilvus({ otlpEndpoint, log: (line) => console.error(`bench: ${line}`) });
  const client = new MilvusClient({ address: milvus.address });
  try {
    await client.createCollection({
      collection_name: STUB_COLLECTION,
      fields: [
        { name: 'id', data_type: DataType.Int64, is_primary_key: true },
        { name: 'vector', data_type: DataType.FloatVector, dim: STUB_DIMENSION },
      ],
      index_params: [{ field_name: 'vector', index_type: 'FLAT', metric_type: 'L2' }],
    });
    await client.insert({
      collection_name: STUB_COLLECTION,
      data: Array.from({ length: ROWS }, (_, id) => ({
        id,
        vector: Array.from({ length: STUB_DIMENSION }, (_, at) => Math.sin(id + at)),
      })),
    });
    await client.flushSync({ collection_names: [STUB_COLLECTION] });
    await client.loadCollectionSync({ collection_name: STUB_COLLECTION });
    return milvus;
  } catch (error) {
    await milvus.stop();
    throw error;
  } finally {
    await client.closeConnection();
  }
}
