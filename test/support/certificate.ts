/** Certificates for servers under test, made here: no program of the machine's is needed, and none ever expires. */
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { isIP } from 'node:net';

export interface Certificate {
  /** PEM. */
  key: string;
  cert: string;
}

const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
};
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const text = (tag: number, value: string) => der(tag, Buffer.from(value));

const ECDSA_WITH_SHA256 = sequence(der(6, Buffer.from('2a8648ce3d040302', 'hex')));
const COMMON_NAME = der(6, Buffer.from('550403', 'hex'));
const ALTERNATIVE_NAMES = der(6, Buffer.from('551d11', 'hex'));

/** Signed by its own key; valid for `names`, each a host name or an IPv4 address. X.509 v3, RFC 5280. */
export function selfSigned(names: string[], { expired = false } = {}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const name = sequence(der(0x31, sequence(COMMON_NAME, text(0x0c, names[0] ?? 'nobody'))));
  const alternatives = names.map((each) =>
    isIP(each) ? der(0x87, Buffer.from(each.split('.').map(Number))) : text(0x82, each),
  );
  const extension = sequence(ALTERNATIVE_NAMES, der(4, sequence(...alternatives)));
  const toBeSigned = sequence(
    der(0xa0, der(2, Buffer.from([2]))),
    der(2, Buffer.from([1])),
    ECDSA_WITH_SHA256,
    name,
    sequence(text(0x17, '200101000000Z'), text(0x17, expired ? '210101000000Z' : '491231235959Z')),
    name,
    publicKey,
    der(0xa3, sequence(extension)),
  );
  const signature = sign('sha256', toBeSigned, createPrivateKey(privateKey));
  const certificate = sequence(toBeSigned, ECDSA_WITH_SHA256, der(3, Buffer.from([0]), signature));
  const body = certificate.toString('base64').replace(/.{64}/g, '$&\n').trimEnd();
  return { key: privateKey, cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n` };
}
