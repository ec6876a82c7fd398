/** Free ports of 127.0.0.1, for servers that tests and commands start. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** All are open at the same time, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

/**
 * Consecutive free ports below the ephemeral range. A server that opens many connections before its last
 * component listens could lose that component's port to one of them.
 */
export async function consecutiveFreePorts(count: number): Promise<number[]> {
  const [lowest, highest] = [10_000, 32_000];
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = lowest + Math.floor(Math.random() * (highest - count - lowest));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return ports;
  }
  throw new Error(`${count} consecutive free ports between ${lowest} and ${highest} are needed: none found`);
}

async function isFree(port: number): Promise<boolean> {
  // Tests both: on some systems, a port in use on one of them is free on the other.
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const server = createServer();
    const listens = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen({ port, host, exclusive: true }, () => resolve(true));
    });
    if (!listens) return false;
    await new Promise((resolve) => server.close(resolve));
  }
  return true;
}
