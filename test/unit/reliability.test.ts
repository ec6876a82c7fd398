import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import path from 'node:path';
import { describe, test } from 'node:test';
import { retryDelayIn } from '../../src/otlp/retry-info.ts';
import { retryInfo } from '../../tools/reliability/counting-collectors.ts';
import { attemptsIn, gapsBetween } from '../../tools/reliability/delivery.ts';
import { createAuthority } from '../../tools/servers/certificates.ts';

const script = path.join(import.meta.dirname, '..', '..', 'scripts', 'reliability.ts');

describe('npm run reliability', () => {
  const cases: [args: string[], expected: RegExp][] = [
    [
      ['--only', 'faults,shutdown'],
      /^reliability: --only shutdown is not known: take some of exits, faults, duplicates, retries, packaged\n$/,
    ],
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

describe('attempts to deliver a span', () => {
  const request = (atMs: number, isRefused: boolean, ...names: string[]) => ({
    atMs,
    isRefused,
    spans: names.map((name) => ({ name, spanId: name })),
  });

  test('are the requests with the poisoned span', () => {
    const requests = [
      request(0, false, 'a'),
      request(100, true, 'b', 'poison'),
      request(200, false, 'c'),
      request(1_100, true, 'poison'),
    ];
    assert.deepEqual(attemptsIn(requests), [requests[1], requests[3]]);
  });

  test('are those with the first refused span when no span is poisoned', () => {
    const requests = [
      request(0, true, 'a', 'b'),
      request(100, false, 'poison'),
      request(1_100, false, 'a', 'b'),
    ];
    assert.deepEqual(attemptsIn(requests), [requests[0], requests[2]]);
  });

  test('are none when nothing is refused', () => {
    assert.deepEqual(attemptsIn([request(0, false, 'a')]), []);
    assert.deepEqual(attemptsIn([]), []);
  });

  test('have gaps between them', () => {
    assert.deepEqual(gapsBetween([50, 1_050, 3_050].map((atMs) => request(atMs, true))), [1_000, 2_000]);
    assert.deepEqual(gapsBetween([request(50, true)]), []);
  });
});

test('the collector under test sends a valid RetryInfo', () => {
  assert.equal(retryDelayIn(retryInfo(14, 4)), 4_000);
});

describe('certificates for tests', () => {
  const authority = createAuthority('Authority');
  const issuer = new X509Certificate(authority.certificate);

  // Names of several lengths: the text's last line may be full.
  for (const name of ['localhost', '127.0.0.1', 'elsewhere.test', `${'a'.repeat(60)}.test`]) {
    test(`one for ${name} is signed by the authority`, () => {
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

  test('the authority is a CA', () => {
    assert.equal(issuer.ca, true);
  });
});
