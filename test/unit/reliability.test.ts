import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import { describe, test } from 'node:test';
import { createAuthority } from '../../tools/servers/certificates.ts';

const script = path.join(import.meta.dirname, '..', '..', 'scripts', 'reliability.ts');

describe('npm run reliability', () => {
  const cases: [args: string[], expected: RegExp][] = [
    [['--only', 'shutdown'], /^reliability: --only shutdown is not known: take exits or faults\n$/],
    [['--write', '--only', 'faults'], /^reliability: --write [^\n]+ leave out --only and --seconds\n$/],
  ];
  for (const [args, expected] of cases) {
    test(`${args.join(' ')} exits with 2 and names the problem`, () => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
      assert.deepEqual({ status, stdout }, { status: 2, stdout: '' });
      assert.match(stderr, expected);
    });
  }
});

describe('certificates for tests', () => {
  const authority = createAuthority('Authority');
  const issuer = new X509Certificate(authority.certificate);

  // Names of several lengths: the text's last line may be full.
  for (const name of ['localhost', '127.0.0.1', 'elsewhere.test', `${'a'.repeat(60)}.test`]) {
    test(`one for ${name} is the authority's`, () => {
      const certificate = new X509Certificate(authority.issue(name).certificate);
      assert.equal(certificate.checkIssued(issuer), true);
      assert.equal(certificate.verify(issuer.publicKey), true);
      assert.equal(certificate.ca, false);
      assert.equal(name === '127.0.0.1' ? certificate.checkIP(name) : certificate.checkHost(name), name);
      assert.ok(
        certificate.validFromDate.getTime() < Date.now() && certificate.validToDate.getTime() > Date.now(),
      );
    });
  }

  test('an authority is one', () => {
    assert.equal(issuer.ca, true);
  });
});
