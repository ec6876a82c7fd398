/** Apps in packaged forms: a single executable, Yarn's archives, a bundle. */
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'rolldown';
import { packInto } from '../processes/published.ts';
import type { FixtureResult } from '../processes/run-fixture.ts';
import { singleExecutable } from '../processes/single-executable.ts';
import { yarnApp } from '../processes/yarn.ts';
import type { Receiver } from '../servers/receiver.ts';
import { deadlineMs, endWithin, type Program, STOCK, startProgram, type Variant } from './programs.ts';

export interface PackagedApp {
  what: string;
  program: Omit<Program, 'collectorPort' | 'args'>;
}

export const PACKAGED_EXITS = { drain: 'event loop drains', exit: 'process.exit(9)' } as const;

export interface PackagedOutcome {
  /** undefined: it hung and was killed. */
  result: FixtureResult | undefined;
  /** The program's own spans, of twenty. */
  ownSpans: number;
  /** Spans of its searches, of twenty. */
  searches: number;
  /** How often the program was started. */
  starts: number;
}

const root = path.join(import.meta.dirname, '..', '..');
const source = path.join(root, 'test/fixtures/packaged-searches.mjs');
const SDK = '@zilliz/milvus2-sdk-node';

/** Builds and installs them below `folder`. */
export async function packageApps(folder: string): Promise<PackagedApp[]> {
  const bundle = path.join(folder, 'bundle.cjs');
  await build({
    input: source,
    platform: 'node',
    logLevel: 'silent',
    output: { file: bundle, format: 'cjs', codeSplitting: false },
  });
  const executable = await singleExecutable(bundle, { folder, name: 'my-tool' });
  const yarn = await yarnProgram(path.join(folder, 'yarn'));
  return [
    {
      what: 'single executable (node:sea) of a bundle, --require in NODE_OPTIONS',
      program: { file: bundle, nodePath: executable, loadedBy: '--require' },
    },
    { what: "Yarn 4, Plug'n'Play", program: yarn },
    { what: 'bundle with the SDK inside', program: { file: bundle } },
  ];
}

async function yarnProgram(folder: string): Promise<PackagedApp['program']> {
  await mkdir(folder, { recursive: true });
  const { tarball } = await packInto(folder);
  const { dependencies, devDependencies } = JSON.parse(
    await readFile(path.join(root, 'package.json'), 'utf8'),
  );
  const stock = JSON.parse(await readFile(path.join(root, 'node_modules', STOCK, 'package.json'), 'utf8'));
  const app = await yarnApp(path.join(folder, 'app'), {
    ...stock.peerDependencies,
    '@opentelemetry/api': dependencies['@opentelemetry/api'],
    [SDK]: devDependencies[SDK],
    [STOCK]: devDependencies[STOCK],
    'milvus-otel': `file:${tarball}`,
  });
  const file = path.join(app.folder, path.basename(source));
  await copyFile(source, file);
  return {
    file,
    cwd: app.folder,
    env: { NODE_OPTIONS: app.nodeOptions },
    preloads: { none: undefined, ours: 'milvus-otel/register', stock: `${STOCK}/register` },
  };
}

let count = 0;

export async function runPackaged(
  { program }: PackagedApp,
  exit: keyof typeof PACKAGED_EXITS,
  variant: Variant,
  { receiver, milvusAddress, folder }: { receiver: Receiver; milvusAddress: string; folder: string },
): Promise<PackagedOutcome> {
  const startsFile = path.join(folder, `starts-${++count}.log`);
  const started = startProgram(variant, {
    ...program,
    args: [exit],
    collectorPort: receiver.grpcPort,
    env: { ...program.env, MILVUS_ADDRESS: milvusAddress, STARTS_FILE: startsFile },
  });
  await started.waitForStdout(/found/);
  const result = await endWithin(started, deadlineMs);
  // Time for the receiver's thread to forward received spans.
  await sleep(500);
  const own = receiver.spans().filter(({ service }) => service === started.service);
  const distinct = (spans: typeof own) => new Set(spans.map(({ spanId }) => spanId)).size;
  return {
    result,
    ownSpans: distinct(own.filter(({ name }) => name === 'some')),
    searches: distinct(own.filter(({ name, kind }) => kind === 'CLIENT' && /(^|\/)search/i.test(name))),
    starts: (await readFile(startsFile, 'utf8')).split('\n').length - 1,
  };
}
