import { once } from 'node:events';
import net from 'node:net';

/** Whether a server accepts a connection at this port of 127.0.0.1, or at this path of a socket. */
export async function answers(at: number | string): Promise<boolean> {
  const connection = typeof at === 'number' ? net.connect(at, '127.0.0.1') : net.connect(at);
  try {
    await once(connection, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    connection.destroy();
  }
}
