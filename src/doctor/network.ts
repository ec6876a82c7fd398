/** The first steps of any connection, one at a time, each bounded: name, TCP, TLS, HTTP version. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';

export interface TlsFiles {
  /** Paths of PEM files. */
  certificate?: string;
  clientKey?: string;
  clientCertificate?: string;
}

export type Failure = { failure: string; code: string | undefined };
export const failed = (result: object): result is Failure => 'failure' in result;

const LOOKUP = `require('node:dns').lookup(process.argv[1], { all: true }, (error, found) =>
  process.stdout.write(JSON.stringify(error ? { failure: error.message, code: error.code } : { addresses: found.map((one) => one.address) })))`;

/**
 * As the system resolves it, hosts file included. In a separate process: a lookup cannot be cancelled, and
 * Node waits for it at its end.
 */
export function resolveName(host: string, limitMs: number): Promise<{ addresses: string[] } | Failure> {
  if (isIP(host)) return Promise.resolve({ addresses: [host] });
  return new Promise((resolve) => {
    // Without NODE_OPTIONS, which would load the preload under test.
    const env = { ...process.env, NODE_OPTIONS: '' };
    const options = { timeout: limitMs, killSignal: 'SIGKILL', env } as const;
    execFile(process.execPath, ['-e', LOOKUP, host], options, (error, stdout) => {
      try {
        resolve(JSON.parse(stdout));
      } catch {
        const late = error?.killed === true;
        resolve({
          failure: late ? `no answer within ${limitMs} ms` : String(error?.message),
          code: undefined,
        });
      }
    });
  });
}

/** Runs until `settle` is called, or the time is over; the socket is gone afterwards. */
function withSocket<T>(
  socket: Socket,
  limitMs: number,
  start: (settle: (result: T | Failure) => void) => void,
): Promise<T | Failure> {
  return new Promise((resolve) => {
    const settle = (result: T | Failure) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(
      () => settle({ failure: `no answer within ${limitMs} ms`, code: 'ETIMEDOUT' }),
      limitMs,
    );
    socket.on('error', (error: NodeJS.ErrnoException) =>
      settle({ failure: error.message || String(error.code), code: error.code }),
    );
    start(settle);
  });
}

/** The first of the addresses that takes a connection, or why the last one did not. */
export async function reachAny(
  addresses: readonly string[],
  port: number,
  limitMs: number,
): Promise<{ address: string } | Failure> {
  let result: { address: string } | Failure = { failure: 'no address', code: undefined };
  for (const address of addresses) {
    const socket = connectTcp({ host: address, port });
    result = await withSocket<{ address: string }>(socket, limitMs, (settle) =>
      socket.once('connect', () => settle({ address })),
    );
    if (!failed(result)) return result;
  }
  return result;
}

export interface Handshake {
  /** Why the certificate is not accepted, undefined when it is. */
  refused: string | undefined;
  alpn: string | undefined;
  /** Names and end of validity, for people to read. */
  certificate: string;
}

/**
 * A TLS handshake to its end, whatever the certificate is; a failure when the other side does not speak TLS.
 */
export function shakeHands(
  address: string,
  port: number,
  serverName: string,
  files: TlsFiles,
  alpn: string[],
  limitMs: number,
): Promise<Handshake | Failure> {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
  let socket: TLSSocket;
  try {
    socket = connectTls({
      host: address,
      port,
      servername: isIP(serverName) ? '' : serverName,
      ca: read(files.certificate),
      key: read(files.clientKey),
      cert: read(files.clientCertificate),
      ALPNProtocols: alpn,
      // A rejected certificate is a result here, not an error.
      rejectUnauthorized: false,
    });
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return Promise.resolve({ failure: message, code });
  }
  return withSocket<Handshake>(socket, limitMs, (settle) =>
    socket.once('secureConnect', () => {
      const peer = socket.getPeerCertificate();
      settle({
        refused: socket.authorized ? undefined : String(socket.authorizationError),
        alpn: socket.alpnProtocol || undefined,
        certificate: describeCertificate(peer),
      });
    }),
  );
}

const describeCertificate = ({ subject, subjectaltname, valid_to }: PeerCertificate): string =>
  `certificate for ${subjectaltname?.replaceAll('DNS:', '').replaceAll('IP Address:', '') || subject?.CN || 'no name'}, valid to ${valid_to}`;

export type DetectedProtocol = 'http/2' | 'http/1.1' | 'tls' | 'nothing';

/** HTTP/2's preface and empty settings, which gRPC begins with. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** The protocol of an answer, by its first bytes; undefined while they are too few. */
export function recognise(bytes: Buffer): DetectedProtocol | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes.toString('latin1', 0, 5) === 'HTTP/')
    // Servers that expect TLS answer plain HTTP with the status 400 and a text that names HTTPS or SSL. Other
    // pages may contain a link with https.
    return /^HTTP\/\S+ 400\b.*(https|SSL)/is.test(bytes.toString('latin1')) ? 'tls' : 'http/1.1';
  // A TLS alert.
  if (bytes[0] === 0x15 && bytes[1] === 3) return 'tls';
  // A SETTINGS frame on stream 0.
  if (bytes.length >= 9 && bytes[3] === 4 && bytes.readUInt32BE(5) === 0) return 'http/2';
  return bytes.length >= 9 ? 'nothing' : undefined;
}

/**
 * Sends the first bytes of HTTP/2 or HTTP/1.1 and returns the protocol of the answer. `nothing`: closed or
 * silent.
 */
async function ask(address: string, port: number, bytes: Buffer, limitMs: number): Promise<DetectedProtocol> {
  const socket = connectTcp({ host: address, port });
  let got = Buffer.alloc(0);
  const result = await withSocket<{ protocol: DetectedProtocol }>(socket, limitMs, (settle) => {
    socket.once('connect', () => socket.write(bytes));
    socket.on('data', (data) => {
      got = Buffer.concat([got, data]);
      const protocol = recognise(got);
      if (protocol !== undefined) settle({ protocol });
    });
    socket.once('close', () => settle({ protocol: 'nothing' }));
  });
  return failed(result) ? 'nothing' : result.protocol;
}

/** The protocol of a port: `wanted`, the other HTTP version, or TLS. All three are tried at once. */
export async function detectProtocol(
  address: string,
  port: number,
  host: string,
  wanted: 'http/2' | 'http/1.1',
  limitMs: number,
): Promise<DetectedProtocol> {
  const first: Record<'http/2' | 'http/1.1', Buffer> = {
    'http/2': PREFACE,
    'http/1.1': Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`),
  };
  const other = wanted === 'http/2' ? 'http/1.1' : 'http/2';
  const [asWanted, asOther, tls] = await Promise.all([
    ask(address, port, first[wanted], limitMs),
    ask(address, port, first[other], limitMs),
    shakeHands(address, port, host, {}, ['h2', 'http/1.1'], limitMs),
  ]);
  if (asWanted === wanted) return wanted;
  if (!failed(tls) || asWanted === 'tls' || asOther === 'tls') return 'tls';
  return [asWanted, asOther].find((protocol) => protocol === other) ?? 'nothing';
}
