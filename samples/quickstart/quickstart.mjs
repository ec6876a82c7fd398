// A plain Milvus program, without any tracing code.
//   node quickstart.mjs                                  runs it
//   node --import milvus-otel/register quickstart.mjs    runs and traces it
import { setTimeout as sleep } from 'node:timers/promises';
import { CONNECT_STATUS, MilvusClient } from '@zilliz/milvus2-sdk-node';

const address = process.env.MILVUS_ADDRESS || 'localhost:19530';
const collection_name = 'quick_setup';
const dimension = 5;
const rowCount = 10;
const connectTimeoutMs = 5_000;

const vectorOf = (id) => Array.from({ length: dimension }, (_, axis) => Math.sin(1 + id * dimension + axis));
const rows = Array.from({ length: rowCount }, (_, id) => ({
  id,
  vector: vectorOf(id),
  color: `color_${id}`,
}));

const client = new MilvusClient({ address });

try {
  await reachMilvus();
} catch (error) {
  console.error(`No Milvus at ${address}: start it there or set MILVUS_ADDRESS=host:port (${error.message})`);
  // exit: a server that drops packets would keep the open call waiting for the SDK's 15 s.
  process.exit(1);
}
console.log(`connected to ${address}`);

try {
  await runOperations();
} catch (error) {
  // The SDK also throws plain status objects.
  console.error(`Milvus refused: ${error.message ?? error.status?.reason ?? error.reason}`);
  process.exitCode = 1;
} finally {
  await client.closeConnection();
  console.log('closed');
}

async function runOperations() {
  const has = checked(await client.hasCollection({ collection_name }));
  console.log(`has ${collection_name}: ${has.value}`);

  // In Milvus, dropping a missing collection is no error.
  checked(await client.dropCollection({ collection_name }));
  console.log(`dropped ${collection_name}`);

  checked(await client.createCollection({ collection_name, dimension }));
  console.log(`created ${collection_name}, dimension ${dimension}`);

  const { state } = checked(await client.getLoadState({ collection_name }));
  console.log(`load state: ${state}`);

  const inserted = checked(await client.insert({ collection_name, data: rows }));
  console.log(`insert count ${inserted.insert_cnt}`);

  // Strong: a weaker consistency may not see rows that were written a moment ago.
  const consistency_level = 'Strong';
  const found = checked(
    await client.search({
      collection_name,
      data: vectorOf(3),
      limit: 3,
      output_fields: ['color'],
      consistency_level,
    }),
  );
  console.log(`search found ${found.results.map((hit) => hit.color).join(', ')}`);

  const read = checked(
    await client.query({ collection_name, filter: 'id < 2', output_fields: ['color'], consistency_level }),
  );
  console.log(`query read ${read.data.length} rows`);

  checked(await client.dropCollection({ collection_name }));
  console.log(`dropped ${collection_name}`);
}

/**
 * Resolves once Milvus has answered the SDK's first call; rejects when it does not within connectTimeoutMs.
 */
async function reachMilvus() {
  const tooLate = sleep(connectTimeoutMs, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${connectTimeoutMs} ms`);
  });
  await Promise.race([client.connectPromise, tooLate]);
  // To the SDK, any other gRPC server looks like an old Milvus.
  if (client.connectStatus !== CONNECT_STATUS.CONNECTED) throw new Error('what answers there is not Milvus');
}

/** Most calls return a failure instead of throwing it: gives the response back, or throws its status. */
function checked(response) {
  const status = response.status ?? response;
  if (status.error_code !== 'Success') throw status;
  return response;
}
