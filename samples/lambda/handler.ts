import { MilvusClient } from '@zilliz/milvus2-sdk-node';

// Once per execution environment; invocations share its connection.
const milvus = new MilvusClient({ address: process.env.MILVUS_ADDRESS ?? 'localhost:19530' });

export const handler = async (event: { vector: number[]; limit?: number }) => {
  const { results } = await milvus.search({
    collection_name: process.env.MILVUS_COLLECTION ?? 'docs',
    data: event.vector,
    limit: event.limit ?? 5,
  });
  return { results };
};
