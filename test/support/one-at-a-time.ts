/** For test files that need the demo's fixed ports: only one runs at a time, across processes. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { answers } from './answers.ts';

/** Call it once at the top of a test file, which then listens on a socket until its tests have ended. */
export function oneAtATime(name: string): void {
  const socket = path.join(os.tmpdir(), `milvus-otel-${name}.sock`);
  const server = net.createServer((connection) => connection.destroy());
  before(async () => {
    while (!(await listens(server, socket))) {
      // A killed process leaves its socket.
      if (!(await answers(socket))) rmSync(socket, { force: true });
      await sleep(100);
    }
  });
  after(() => {
    server.close();
  });
}

async function listens(server: net.Server, socket: string): Promise<boolean> {
  try {
    await once(server.listen(socket), 'listening');
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
}
