/** The collection `docs` that apps search, in a separate database for each test file. */
import { ConsistencyLevelEnum, MilvusClient } from '@zilliz/milvus2-sdk-node';

const collection_name = 'docs';
const dimension = 8;

/** Resolves to a function that removes both. */
export async function createDocs(address: string, database: string): Promise<() => Promise<void>> {
  const first = new MilvusClient({ address });
  await first.createDatabase({ db_name: database });
  await first.closeConnection();
  const milvus = new MilvusClient({ address, database });
  await milvus.createCollection({
    collection_name,
    dimension,
    metric_type: 'COSINE',
    enable_dynamic_field: true,
  });
  const vectors = [1, 2, 3].map((id) => Array.from({ length: dimension }, (_, index) => (index + id) % 5));
  await milvus.insert({
    collection_name,
    data: vectors.map((vector, index) => ({ id: index + 1, vector, text: `text ${index + 1}` })),
  });
  // The rows are visible after a strong search.
  await milvus.search({
    collection_name,
    data: vectors[0] as number[],
    consistency_level: ConsistencyLevelEnum.Strong,
  });
  await milvus.closeConnection();
  return async () => {
    const last = new MilvusClient({ address, database });
    await last.dropCollection({ collection_name });
    await last.dropDatabase({ db_name: database });
    await last.closeConnection();
  };
}
