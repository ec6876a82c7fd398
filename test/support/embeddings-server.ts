/** A server with the embeddings API of OpenAI: the app under test needs no account and no network. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

export interface EmbeddingsServer {
  /** For OPENAI_BASE_URL. */
  url: string;
  close(): Promise<void>;
}

/** Equal texts have equal vectors. */
export async function startEmbeddings(dimension: number): Promise<EmbeddingsServer> {
  const embed = (text: string) =>
    Array.from({ length: dimension }, (_, index) => (text.charCodeAt(index % text.length) + index) % 7);
  const server = createServer(async (request, response) => {
    const { input, model } = (await json(request)) as { input: string | string[]; model: string };
    const data = [input]
      .flat()
      .map((text, index) => ({ object: 'embedding', index, embedding: embed(text) }));
    const usage = { prompt_tokens: 1, total_tokens: 1 };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ object: 'list', model, data, usage }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
