// Preload: localhost resolves to two addresses, IPv6 first, regardless of the hosts file.
import dns from 'node:dns';
import { syncBuiltinESMExports } from 'node:module';

const ADDRESSES = [
  { address: '::1', family: 6 },
  { address: '127.0.0.1', family: 4 },
];
const { lookup, promises } = dns;
const { lookup: lookupPromise } = promises;

const isPair = (host, options) => host === 'localhost' && options?.all === true && !options.family;

dns.lookup = function (host, ...rest) {
  const [options, done] = rest;
  if (!isPair(host, options)) return lookup.call(this, host, ...rest);
  process.nextTick(done, null, ADDRESSES);
};
promises.lookup = function (host, options) {
  return isPair(host, options) ? Promise.resolve(ADDRESSES) : lookupPromise.call(this, host, options);
};
syncBuiltinESMExports();
