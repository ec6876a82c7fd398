import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { measuredEnvironment } from './environment.ts';
import { sideBySide } from './side-by-side.ts';

const execute = promisify(execFile);

const root = path.join(import.meta.dirname, '..');
const cache = path.join(root, '.cache', 'bench');

const SDK = '@zilliz/milvus2-sdk-node';
const STOCK = '@opentelemetry/auto-instrumentations-node';
const STOCK_PRELOAD = `${STOCK}/register`;
const OURS_PRELOAD = 'milvus-otel/register';
const PG_VERSION = '8.23.1';

export type VariantName =
  | 'none'
  | 'ours'
  | 'stock'
  | 'an empty preload'
  | 'an empty span'
  | 'ours, sampler always_off'
  | 'ours, exporter none';

/** One way to run the same app. */
export interface Variant {
  name: string;
  /** The folder in which it is installed and runs. */
  folder: string;
  /** Argument of `--import`; none for the app as it is. */
  preload?: string;
  /** Variables on top of `telemetryEnvironment`. */
  env: Record<string, string>;
  /** Without spans: none at the collector is correct. */
  sends?: 'nothing';
}

export interface Installed {
  variants: Record<VariantName, Variant>;
  sdk: { name: string; version: string };
  /** Installed versions. */
  versions: { sdk: string; ours: string; stock: string };
}

/** The same for all: only traces over OTLP/gRPC, so that no variant pays for a signal that others lack. */
export function telemetryEnvironment(collector: string, serviceName: string): Record<string, string> {
  return {
    OTEL_SERVICE_NAME: serviceName,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${collector}`,
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
  };
}

// The stock preload queries the metadata services of four clouds by default, which takes longer.
const LOCAL_DETECTORS = { OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process' };

const apps = path.join(cache, 'apps');

/**
 * Installs three apps below .cache/bench/apps: the Milvus SDK alone, with the stock preload, and with this
 * package as `npm pack` makes it. Express and pg are next to them, for all three. Matching versions stay;
 * this package is packed every time.
 */
export async function installVariants(say: (line: string) => void, signal: AbortSignal): Promise<Installed> {
  const { devDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const sdk = { [SDK]: devDependencies[SDK] };
  // Above the apps, so that it counts for the size of none.
  await installApp(apps, { express: devDependencies.express, pg: PG_VERSION }, say, signal);
  const withStock = { ...sdk, [STOCK]: devDependencies[STOCK] };
  const [none, stock, ours] = (await sideBySide(
    [
      (signal) => installApp(path.join(apps, 'none'), sdk, say, signal),
      (signal) => installApp(path.join(apps, 'stock'), withStock, say, signal),
      async (signal) => {
        say('packing milvus-otel');
        const withOurs = { ...sdk, 'milvus-otel': `file:${await packOurs(signal)}` };
        return installApp(path.join(apps, 'ours'), withOurs, say, signal);
      },
    ],
    { signal },
  )) as [string, string, string];
  const variants: Record<VariantName, Omit<Variant, 'name'>> = {
    none: { folder: none, env: {} },
    ours: { folder: ours, preload: OURS_PRELOAD, env: LOCAL_DETECTORS },
    stock: { folder: stock, preload: STOCK_PRELOAD, env: LOCAL_DETECTORS },
    'an empty preload': { folder: none, preload: './empty.mjs', env: {}, sends: 'nothing' },
    // With the parts of OpenTelemetry that the stock preload brings.
    'an empty span': { folder: stock, preload: './empty-span.mjs', env: {} },
    'ours, sampler always_off': {
      folder: ours,
      preload: OURS_PRELOAD,
      env: { ...LOCAL_DETECTORS, OTEL_TRACES_SAMPLER: 'always_off' },
      sends: 'nothing',
    },
    'ours, exporter none': {
      folder: ours,
      preload: OURS_PRELOAD,
      env: { ...LOCAL_DETECTORS, OTEL_TRACES_EXPORTER: 'none' },
      sends: 'nothing',
    },
  };
  return {
    variants: Object.fromEntries(
      Object.entries(variants).map(([name, variant]) => [name, { name, ...variant }]),
    ) as Record<VariantName, Variant>,
    sdk: { name: SDK, version: devDependencies[SDK] },
    versions: {
      sdk: await installedVersion(none, SDK),
      ours: await installedVersion(ours, 'milvus-otel'),
      stock: await installedVersion(stock, STOCK),
    },
  };
}

/** Bytes on disk of an app's node_modules, like `du`: whole blocks, folders included. */
export async function installedBytes(folder: string): Promise<number> {
  const walk = async (entry: string): Promise<number> => {
    const { blocks } = await lstat(entry);
    const names = await readdir(entry, { withFileTypes: true }).catch(() => []);
    const sizes = await Promise.all(
      names.map(async (child) => {
        const childPath = path.join(entry, child.name);
        return child.isDirectory() ? walk(childPath) : (await lstat(childPath)).blocks * 512;
      }),
    );
    return blocks * 512 + sizes.reduce((sum, size) => sum + size, 0);
  };
  return walk(path.join(folder, 'node_modules'));
}

/**
 * Installs an app with these dependencies and the bench's programs into `folder`, unless it has them. Returns
 * the folder.
 */
export async function installApp(
  folder: string,
  dependencies: Record<string, string>,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const stampFile = path.join(folder, 'installed.json');
  const stamp = JSON.stringify(dependencies);
  if ((await readFile(stampFile, 'utf8').catch(() => '')) !== stamp) {
    say(`installing ${Object.keys(dependencies).join(' and ')} (npm)`);
    for (const old of ['node_modules', 'package-lock.json', 'installed.json'])
      await rm(path.join(folder, old), { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await writeFile(
      path.join(folder, 'package.json'),
      JSON.stringify({ name: 'bench-app', version: '1.0.0', private: true, dependencies }),
    );
    // Install scripts are not compared, and none of these packages needs its own.
    await npm(['install', '--no-audit', '--no-fund', '--ignore-scripts'], folder, signal);
    await writeFile(stampFile, stamp);
  }
  await cp(path.join(import.meta.dirname, 'programs'), folder, { recursive: true });
  return folder;
}

/**
 * Packs this package and returns the tarball's path; its name has a hash of the content, to detect changes.
 */
async function packOurs(signal: AbortSignal): Promise<string> {
  const folder = path.join(cache, 'packed');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await npm(['pack', '--pack-destination', folder], root, signal);
  const packed = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  if (!packed) throw new Error(`npm pack left no tarball in ${folder}`);
  const hash = createHash('sha256').update(await readFile(path.join(folder, packed)));
  const kept = path.join(folder, `milvus-otel-${hash.digest('hex').slice(0, 16)}.tgz`);
  await cp(path.join(folder, packed), kept);
  await rm(path.join(folder, packed));
  return kept;
}

async function npm(args: string[], cwd: string, signal: AbortSignal): Promise<void> {
  try {
    await execute('npm', args, { cwd, signal, env: measuredEnvironment(), maxBuffer: 64 * 2 ** 20 });
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    throw new Error(`npm ${args.join(' ')} failed in ${cwd}:\n${stderr.trim() || message}`);
  }
}

export async function installedVersion(folder: string, name: string): Promise<string> {
  return JSON.parse(await readFile(path.join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
}
