// A RAG service on Express and Milvus: documents in, questions answered out of them, with sources.
//   node --import milvus-otel/register server.js
import { readFile } from 'node:fs/promises';
import express from 'express';
import { assembleAnswer, splitIntoPassages } from './answer.js';
import { embed } from './embed.js';
import { openLibrary } from './library.js';
import { step } from './steps.js';

const address = process.env.MILVUS_ADDRESS || 'localhost:19530';
const collection = process.env.RAG_COLLECTION || 'rag_passages';
const port = Number(process.env.PORT || 3000);
const usualPassages = 4;
const mostPassages = 20;
const mostQuestionCharacters = 1_000;

if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error(`PORT=${process.env.PORT} is no port: set it to a number from 0 (any free one) to 65535`);
  process.exit(1);
}

let library;
const app = express();
app.use(express.json());

app.post('/ask', async (request, response) => {
  const { question, limit = usualPassages, fresh = false } = request.body ?? {};
  if (!isText(question) || question.length > mostQuestionCharacters)
    return refuse(response, `question is missing or above ${mostQuestionCharacters} characters`);
  if (!Number.isInteger(limit) || limit < 1 || limit > mostPassages)
    return refuse(response, `limit is not a whole number from 1 to ${mostPassages}`);
  if (typeof fresh !== 'boolean') return refuse(response, 'fresh is neither true nor false');

  const vector = step('embed question', { 'rag.question.length': question.length }, () => embed(question));
  const passages = await library.search(vector, limit, fresh);
  const answer = step('assemble answer', { 'rag.passages': passages.length }, () =>
    assembleAnswer(vector, passages),
  );
  response.json({ answer, sources: passages.map(({ title, score }) => ({ title, score })) });
});

app.post('/documents', async (request, response) => {
  const documents = request.body?.documents;
  const isDocument = (each) => isText(each?.title) && isText(each?.text);
  if (!Array.isArray(documents) || documents.length === 0 || !documents.every(isDocument))
    return refuse(response, 'documents is not [{"title": "words", "text": "sentences"}]');
  response.status(201).json({ passages: await addDocuments(documents) });
});

app.get('/healthz', async (_request, response) => {
  const isReady = await library.isReady();
  response.status(isReady ? 200 : 503).json({ status: isReady ? 'ok' : 'the collection is not loaded' });
});

// Four parameters make it Express' error handler.
app.use((error, _request, response, _next) => {
  const status = error.status >= 400 && error.status < 500 ? error.status : 502;
  response.status(status).json({ error: messageOf(error) });
});

try {
  library = await openLibrary(address, collection);
  if (library.isNew) {
    const corpus = JSON.parse(await readFile(new URL('corpus.json', import.meta.url), 'utf8'));
    const count = await addDocuments(corpus);
    // Waits until they can be found, so that the first question does not come too early.
    await library.search(embed(corpus[0].text), 1, true);
    console.log(`${collection} is new: ${count} passages of corpus.json are in it`);
  }
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
    await library.close();
    console.log('closed');
  });
}

/** Gives the number of passages that the documents, {title, text}, have become. */
function addDocuments(documents) {
  const passages = documents.flatMap(({ title, text }) =>
    splitIntoPassages(text).map((passage) => ({ title, text: passage })),
  );
  const rows = step('embed passages', { 'rag.passages': passages.length }, () =>
    passages.map(({ title, text }) => ({ title, text, vector: embed(`${title} ${text}`) })),
  );
  return library.add(rows);
}

function isText(value) {
  return typeof value === 'string' && value.trim() !== '';
}

function refuse(response, error) {
  response.status(400).json({ error });
}

/** The SDK throws bare status objects besides Errors. */
function messageOf(error) {
  return error.message ?? error.status?.reason ?? error.reason;
}
