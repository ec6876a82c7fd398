/** Generates certificates for TLS tests: no key is in the repository, and none expires unintentionally. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  certificate: string;
  key: string;
}

export interface Authority extends Certificate {
  /** A certificate of this authority for the server or client `name`, an IPv4 address or a DNS name. */
  issue(name: string): Certificate;
}

/** An authority that signs its own certificate. */
export function createAuthority(name: string): Authority {
  // basicConstraints, critical: an authority.
  const constraints = extension('551d13', sequence(element(0x01, Buffer.of(0xff))), true);
  const { certificate: own, privateKey } = signedByItself(name, constraints);
  return {
    certificate: own,
    key: pemKey(privateKey),
    issue(forName) {
      const keys = newKeys();
      const certificate = certificateOf({
        subject: distinguishedName(forName),
        publicKey: keys.publicKey,
        issuer: distinguishedName(name),
        issuerKey: privateKey,
        extensions: [alternativeName(forName)],
      });
      return { certificate, key: pemKey(keys.privateKey) };
    },
  };
}

/** Signed by its own key, for the server or client `name`, an IPv4 address or a DNS name. */
export function selfSigned(name: string, { expired = false } = {}): Certificate {
  const { certificate, privateKey } = signedByItself(name, alternativeName(name), expired ? -1 : undefined);
  return { certificate, key: pemKey(privateKey) };
}

function signedByItself(name: string, extension: Buffer, untilDays?: number) {
  const { publicKey, privateKey } = newKeys();
  const subject = distinguishedName(name);
  const certificate = certificateOf({
    subject,
    publicKey,
    issuer: subject,
    issuerKey: privateKey,
    extensions: [extension],
    untilDays,
  });
  return { certificate, privateKey };
}

const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const pemKey = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();

interface Request {
  subject: Buffer;
  publicKey: KeyObject;
  issuer: Buffer;
  issuerKey: KeyObject;
  extensions: Buffer[];
  /** From now. */
  untilDays?: number;
}

/** X.509, version 3, valid since ten days ago, signed by ECDSA with SHA-256. PEM. */
function certificateOf({
  subject,
  publicKey,
  issuer,
  issuerKey,
  extensions,
  untilDays = 9,
}: Request): string {
  const dayMs = 86_400_000;
  const signed = sequence(
    element(0xa0, integer(Buffer.of(2))),
    // A first bit that is set would make it negative.
    integer(Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ecdsaWithSha256,
    issuer,
    sequence(time(Date.now() - 10 * dayMs), time(Date.now() + untilDays * dayMs)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    element(0xa3, sequence(...extensions)),
  );
  const der = sequence(signed, ecdsaWithSha256, bitString(sign('sha256', signed, issuerKey)));
  return `-----BEGIN CERTIFICATE-----\n${der
    .toString('base64')
    .match(/.{1,64}/g)
    ?.join('\n')}\n-----END CERTIFICATE-----\n`;
}

// ASN.1 DER: tag, length, content.
function element(tag: number, ...contents: Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const lengthBytes =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.of(tag, ...lengthBytes), content]);
}
const sequence = (...contents: Buffer[]) => element(0x30, ...contents);
const integer = (bytes: Buffer) => element(0x02, bytes);
const bitString = (bytes: Buffer) => element(0x03, Buffer.of(0), bytes);
const objectId = (hex: string) => element(0x06, Buffer.from(hex, 'hex'));
const time = (ms: number) =>
  element(0x18, Buffer.from(`${new Date(ms).toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`));
const ecdsaWithSha256 = sequence(objectId('2a8648ce3d040302'));
const distinguishedName = (commonName: string) =>
  sequence(element(0x31, sequence(objectId('550403'), element(0x0c, Buffer.from(commonName)))));
const extension = (id: string, content: Buffer, critical = false) =>
  sequence(objectId(id), ...(critical ? [element(0x01, Buffer.of(0xff))] : []), element(0x04, content));
const alternativeName = (name: string) =>
  extension(
    '551d11',
    sequence(
      /^[\d.]+$/.test(name)
        ? element(0x87, Buffer.from(name.split('.').map(Number)))
        : element(0x82, Buffer.from(name)),
    ),
  );
