/**
 * Rows of the table of tried apps (tools/docs/tried-apps.ts): installs and runs a row's app, and compares its
 * traces.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type AppName, tried } from '../../tools/docs/tried-apps.ts';
import { installed, type Packages } from '../../tools/processes/installed.ts';
import type { FixtureResult } from '../../tools/processes/run-fixture.ts';
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';
import type { Stack } from './stack.ts';

const arrivalTimeoutMs = 20_000;

/** Packages of these rows. Fails when two rows need different versions of a package. */
export function packagesOf(...apps: AppName[]): Packages {
  const packages: Packages = {};
  for (const app of apps) {
    for (const [name, version] of Object.entries(tried(app).packages)) {
      assert.equal(packages[name] ?? version, version, `${name} of ${app}`);
      packages[name] = version;
    }
  }
  return packages;
}

/** Installs the packages of these rows and `others`, and prints their versions. Resolves to the folder. */
export async function installTried(apps: AppName[], others: Packages): Promise<string> {
  const packages = packagesOf(...apps);
  const folder = await installed({ ...packages, ...others });
  await printVersions(folder, Object.keys(packages));
  return folder;
}

export async function printVersions(folder: string, names: string[]): Promise<void> {
  const versions = await Promise.all(
    names.map(async (name) => {
      const manifest = await readFile(path.join(folder, 'node_modules', name, 'package.json'), 'utf8');
      return `${name} ${JSON.parse(manifest).version}`;
    }),
  );
  console.error(versions.join(', '));
}

/**
 * The spans from the root to the span of `service` with this name and a Milvus server span below it. Rejects
 * when it does not arrive, listing the spans.
 */
export async function wayTo(
  { receiver }: Stack,
  service: string,
  name: string,
  isMeant: (span: ReceivedSpan, spans: ReceivedSpan[]) => boolean = () => true,
): Promise<ReceivedSpan[]> {
  const find = (spans: ReceivedSpan[]) =>
    spans.find(
      (span) =>
        span.service === service &&
        span.name === name &&
        isMeant(span, spans) &&
        spans.some(({ parentSpanId, service: of }) => parentSpanId === span.spanId && of === 'standalone'),
    );
  const spans = await receiver.waitForSpans((received) => find(received) !== undefined, arrivalTimeoutMs, {
    service,
  });
  const way: ReceivedSpan[] = [];
  for (let span = find(spans); span !== undefined; ) {
    way.unshift(span);
    const { parentSpanId } = span;
    span = spans.find(({ spanId }) => spanId === parentSpanId);
  }
  return way;
}

/** Checks the trace of a row; `collection` when it is not docs. Resolves to the operation's span. */
export async function assertSeen(
  stack: Stack,
  app: AppName,
  service: string,
  collection = 'docs',
): Promise<ReceivedSpan> {
  const seen = tried(app).seen.map((name) => name.replace(/ docs$/, ` ${collection}`));
  const way = await wayTo(stack, service, seen.at(-1) as string);
  assert.deepEqual(
    way.map(({ name }) => name),
    seen,
  );
  return way.at(-1) as ReceivedSpan;
}

/** Asserts equal exits and equal output, except parts that match `differing`, such as times. */
export function assertSameRun(
  traced: FixtureResult,
  bare: FixtureResult,
  differing: (text: string) => string = (text) => text,
): void {
  const compared = ({ stdout, stderr, code, signal }: FixtureResult) => ({
    stdout: differing(stdout),
    stderr: differing(stderr),
    code,
    signal,
  });
  assert.deepEqual(compared(traced), compared(bare));
}
