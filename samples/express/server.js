// A search service on Express and Milvus, without any tracing code.
//   node --import milvus-otel/register server.js
import { setTimeout as sleep } from 'node:timers/promises';
import { CONNECT_STATUS, MilvusClient } from '@zilliz/milvus2-sdk-node';
import express from 'express';
import { dimension, embed } from './embed.js';

const address = process.env.MILVUS_ADDRESS || 'localhost:19530';
const port = Number(process.env.PORT || 3000);
const collection_name = 'docs';
const connectTimeoutMs = 5_000;
const seedTexts = [
  'Milvus stores vectors and finds the nearest ones',
  'A trace is a tree of spans',
  'A span has a name, a start and a duration',
  'The collector receives spans and hands them on',
  'Express matches a request to its handler',
];

if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`PORT=${process.env.PORT} is no port: set it to a number from 0 (any free one) to 65535`);
  process.exit(1);
}

const milvus = new MilvusClient({ address });
const app = express();
app.use(express.json());

app.get('/search', async (request, response) => {
  const text = request.query.q;
  if (typeof text !== 'string' || text === '') {
    response.status(400).json({ error: 'q is missing: GET /search?q=words' });
    return;
  }
  const found = checked(
    await milvus.search({
      collection_name,
      data: embed(text),
      limit: 3,
      output_fields: ['text'],
      // A weaker consistency may not see a document that was posted a moment ago.
      consistency_level: 'Strong',
    }),
  );
  response.json({ hits: found.results.map(({ text, score }) => ({ text, score })) });
});

app.post('/documents', async (request, response) => {
  const texts = request.body?.texts;
  if (!Array.isArray(texts) || texts.length === 0 || !texts.every((text) => typeof text === 'string')) {
    response.status(400).json({ error: 'texts is missing: POST /documents {"texts": ["words"]}' });
    return;
  }
  response.status(201).json({ inserted: await insertTexts(texts) });
});

// Four parameters make it Express' error handler.
app.use((error, _request, response, _next) => {
  const status = error.status >= 400 && error.status < 500 ? error.status : 502;
  response.status(status).json({ error: messageOf(error) });
});

try {
  await reachMilvus();
  await prepareCollection();
} catch (error) {
  console.error(messageOf(error));
  // exit: a server that drops packets would keep the open call waiting for the SDK's 15 s.
  process.exit(1);
}

const server = app.listen(port, (error) => {
  if (error) {
    console.error(`Port ${port} cannot be opened (${error.code}): set PORT to a free one`);
    process.exit(1);
  }
  console.log(`listening on http://localhost:${server.address().port}`);
});

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, stop);

/** Lets running requests finish; after that nothing keeps the process alive, so it ends by itself. */
function stop(signal) {
  console.log(`${signal}: closing`);
  server.close(async () => {
    await milvus.closeConnection();
    console.log('closed');
    // The channel to a parent, such as pm2 or node:cluster, keeps a worker of it alive.
    process.disconnect?.();
  });
}

/** Creates and fills the collection when Milvus does not have it yet; loads the one that is there. */
async function prepareCollection() {
  const { value: isThere } = checked(await milvus.hasCollection({ collection_name }));
  if (isThere) {
    checked(await milvus.loadCollection({ collection_name }));
    return;
  }
  checked(await milvus.createCollection({ collection_name, dimension, auto_id: true }));
  console.log(`seeded ${collection_name} with ${await insertTexts(seedTexts)} documents`);
}

/** Gives the number of rows that Milvus took. */
async function insertTexts(texts) {
  const data = texts.map((text) => ({ vector: embed(text), text }));
  const inserted = checked(await milvus.insert({ collection_name, data }));
  return Number(inserted.insert_cnt);
}

/** Resolves once Milvus has answered the SDK's first call; rejects, naming the fix, when none does in time. */
async function reachMilvus() {
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

/** The SDK throws bare status objects besides Errors. */
function messageOf(error) {
  return error.message ?? error.status?.reason ?? error.reason;
}
