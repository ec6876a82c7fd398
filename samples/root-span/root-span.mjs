// The operations of the quickstart inside one span that the program creates, so that all of them are one
// trace.
//   node --import milvus-otel/register root-span.mjs
// @opentelemetry/api does nothing by itself: without the preload this runs as a plain Milvus program.
import { setTimeout as sleep } from 'node:timers/promises';
import { SpanStatusCode, trace } from '@opentelemetry/api';
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

await trace.getTracer('root-span-sample').startActiveSpan('test_milvus_otel', async (span) => {
  // Inside the span, because the constructor makes the first call.
  const client = new MilvusClient({ address });
  try {
    await reachMilvus(client);
    await runOperations(client);
  } catch (error) {
    // The SDK also throws plain status objects.
    const message = error.message ?? error.status?.reason ?? error.reason;
    console.error(message);
    span.setStatus({ code: SpanStatusCode.ERROR, message });
    process.exitCode = 1;
  }
  await client.closeConnection();
  console.log('closed');
  span.end();
});

async function runOperations(client) {
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
 * Resolves once Milvus has answered the SDK's first call; rejects, naming the fix, when none does in time.
 */
async function reachMilvus(client) {
  try {
    const tooLate = sleep(connectTimeoutMs, undefined, { ref: false }).then(() => {
      throw new Error(`no answer within ${connectTimeoutMs} ms`);
    });
    await Promise.race([client.connectPromise, tooLate]);
    // To the SDK, any other gRPC server looks like an old Milvus.
    if (client.connectStatus !== CONNECT_STATUS.CONNECTED)
      throw new Error('what answers there is not Milvus');
  } catch (error) {
    throw new Error(
      `No Milvus at ${address}: start it there or set MILVUS_ADDRESS=host:port (${error.message})`,
    );
  }
  console.log(`connected to ${address}`);
}

/** Most calls return a failure instead of throwing it: gives the response back, or throws its status. */
function checked(response) {
  const status = response.status ?? response;
  if (status.error_code !== 'Success') throw status;
  return response;
}
