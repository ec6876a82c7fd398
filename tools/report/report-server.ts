/** Serves the report on this machine only, rendered for each request. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const host = '127.0.0.1';

export interface ReportServer {
  /** `http://127.0.0.1:port/`. */
  readonly url: string;
  stop(): Promise<void>;
}

/** @param render returns the HTML; a failure is answered with its message and status 500. */
export async function serveReport(render: () => Promise<string>): Promise<ReportServer> {
  const server = createServer(async ({ method, url, headers }, response) => {
    // Rejects foreign host names (DNS rebinding).
    const isOurs = headers.host === `${host}:${port}` || headers.host === `localhost:${port}`;
    const answer = (status: number, type: string, text: string) =>
      response
        .writeHead(status, { 'content-type': `${type}; charset=utf-8`, 'cache-control': 'no-store' })
        .end(method === 'HEAD' ? undefined : text);
    if (!isOurs) answer(403, 'text/plain', `The report is at http://${host}:${port}/\n`);
    else if (method !== 'GET' && method !== 'HEAD') answer(405, 'text/plain', 'Only GET and HEAD\n');
    else if (url !== '/') answer(404, 'text/plain', `The report is at http://${host}:${port}/\n`);
    else {
      const html = await render().catch((error: Error) => error);
      if (html instanceof Error) answer(500, 'text/plain', `${html.message}\n`);
      else answer(200, 'text/html', html);
    }
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${port}/`,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
