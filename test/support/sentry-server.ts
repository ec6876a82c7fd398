/** The part of Sentry's service that receives envelopes. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createGunzip } from 'node:zlib';

export interface SentryItem {
  /** event, transaction, span, client_report, … */
  type: string;
  payload: any;
}

export interface SentryServer {
  readonly dsn: string;
  /** Everything since the start or the last clear(). */
  items(): SentryItem[];
  clear(): void;
  stop(): Promise<void>;
}

/** Lines of an envelope: its header, then header and payload of each item. */
export async function startSentryServer(): Promise<SentryServer> {
  let items: SentryItem[] = [];
  const server = createServer(async (request, response) => {
    const isZipped = request.headers['content-encoding'] === 'gzip';
    const envelope = await text(isZipped ? request.pipe(createGunzip()) : request);
    const [, ...lines] = envelope.trimEnd().split('\n');
    for (let i = 0; i + 1 < lines.length; i += 2)
      items.push({
        type: JSON.parse(lines[i] as string).type,
        payload: JSON.parse(lines[i + 1] as string),
      });
    response.end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    dsn: `http://public@127.0.0.1:${(server.address() as AddressInfo).port}/1`,
    items: () => items,
    clear() {
      items = [];
    },
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
