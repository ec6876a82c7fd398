/**
 * A real Milvus standalone for the tests and the demo, without Docker: the server in the PyPI package
 * `milvus`. It is downloaded and unpacked once into .cache/milvus; each run has its own ports and data.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { consecutiveFreePorts } from '../processes/free-ports.ts';
import { isRunning, spawnGuarded } from '../processes/guarded-child.ts';
import { isHealthy } from './health-check.ts';

/** Of the PyPI package and the server in it. */
export const milvusVersion = '2.3.5';
const cacheFolder = path.join(import.meta.dirname, '..', '..', '.cache', 'milvus');
const installedFolder = path.join(cacheFolder, milvusVersion);

/** From the start of the process to the first answered RPC; measured: 2 to 3 s on two idle cores. */
const startDeadlineMs = 180_000;
const startAttempts = 3;

export interface MilvusOptions {
  /**
   * Where the server sends its spans: OTLP/gRPC without TLS, `host:port` without a scheme. Start the
   * collector first.
   */
  otlpEndpoint: string;
  /**
   * Share of the traces without a sampled parent that the server keeps, 0 to 1. With 0, the default, it still
   * keeps every span whose client is sampled, and none of its background work.
   */
  sampleFraction?: number;
  /** More variables of the server; they override those set here. */
  env?: Record<string, string>;
  /** `user:password` for the readiness check, when `env` turns authorisation on. */
  token?: string;
  /** Receives progress, one line at a time, without a line end. */
  log?: (line: string) => void;
}

export interface Milvus {
  /** `127.0.0.1:port`, never the default port, so that server.port is an attribute of every client span. */
  readonly address: string;
  /** As the server reports it: `v2.3.5-lite`. */
  readonly version: string;
  /** Of the server's own process. */
  readonly pid: number;
  /**
   * Kills the server and removes its data. Spans that it has not exported yet are lost: wait for them first.
   */
  stop(): Promise<void>;
}

/**
 * Resolves when the server answers RPCs and is healthy. It ends with this process, even after a crash.
 *
 * Server spans arrive in batches every 200 ms (the server's default is 5 s), about a quarter of a second
 * after their operation; background steps of the collection (loading, indexing) end later. The server listens
 * on all interfaces (it has no setting for that) without authorisation.
 */
export async function startMilvus(options: MilvusOptions): Promise<Milvus> {
  const { otlpEndpoint, sampleFraction = 0, env = {}, token, log = () => {} } = options;
  if (!/^[^/:]+:\d+$/.test(otlpEndpoint)) {
    throw new Error(
      `otlpEndpoint "${otlpEndpoint}": needs host:port without a scheme, such as 127.0.0.1:4317`,
    );
  }
  await removeAbandonedFolders();
  await installOnce(log);

  for (let attempt = 1; ; attempt++) {
    log(`Starting Milvus ${milvusVersion}`);
    const startedMs = performance.now();
    try {
      const milvus = await startServer(otlpEndpoint, sampleFraction, env, token);
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      log(`Milvus ${milvus.version} is ready at ${milvus.address} after ${seconds} s`);
      return milvus;
    } catch (error) {
      // Another process took one of the ports before the server did.
      if (!(error instanceof PortTakenError) || attempt === startAttempts) throw error;
      log(`${error.message}; trying other ports`);
    }
  }
}

class PortTakenError extends Error {}

async function startServer(
  otlpEndpoint: string,
  sampleFraction: number,
  env: Record<string, string>,
  token: string | undefined,
): Promise<Milvus> {
  const runFolder = await newFolder('run');
  const { ports, address, metricsPort, etcdFile } = await writeConfiguration(runFolder);
  const logFile = path.join(runFolder, 'logs', 'milvus.log');
  const logDescriptor = openSync(logFile, 'a');
  const binFolder = path.join(installedFolder, 'bin');
  // The shell sets the library path, since macOS removes it from the environment of its own programs, /bin/sh
  // included.
  const pidFile = path.join(runFolder, 'pid');
  const run =
    'echo $$ >"$2"; export LD_LIBRARY_PATH="$1" DYLD_LIBRARY_PATH="$1"; exec "$1/milvus" run standalone';
  const server = spawnGuarded('/bin/sh', ['-c', run, 'sh', binFolder, pidFile], {
    cwd: runFolder,
    // Nothing of this environment: Milvus reads every setting from variables, and its SDK reads OTEL_*.
    env: {
      PATH: process.env.PATH,
      HOME: runFolder,
      DEPLOY_MODE: 'STANDALONE',
      METRICS_PORT: String(metricsPort),
      ETCD_CONFIG_PATH: etcdFile,
      MILVUS_RUN_DIR: path.join(runFolder, 'run'),
      TRACE_EXPORTER: 'otlp',
      TRACE_OTLP_ENDPOINT: otlpEndpoint,
      TRACE_OTLP_SECURE: 'false',
      TRACE_SAMPLEFRACTION: String(sampleFraction),
      OTEL_BSP_SCHEDULE_DELAY: '200',
      ...env,
    },
    stdout: logDescriptor,
    stderr: logDescriptor,
    removeAtStop: runFolder,
  });
  closeSync(logDescriptor);

  let exitCode: number | null | undefined;
  server.ended.then((code) => {
    exitCode = code;
  });
  const failure = async (reason: string) => {
    const text = await readFile(logFile, 'utf8');
    await server.stop();
    await rm(runFolder, { recursive: true, force: true });
    const taken = /listen tcp[^\n]*address already in use/.exec(text);
    if (taken) return new PortTakenError(`Milvus: ${taken[0]}`);
    return new Error(`${reason} The end of its log:\n${text.trimEnd().split('\n').slice(-15).join('\n')}`);
  };

  const deadlineMs = performance.now() + startDeadlineMs;
  const healthUrl = `http://127.0.0.1:${metricsPort}/healthz`;
  for (;;) {
    if (exitCode !== undefined) {
      throw await failure(
        `Milvus ended with code ${exitCode} before it was ready (ports ${ports.join(', ')}).`,
      );
    }
    if (performance.now() > deadlineMs) {
      throw await failure(`Milvus is not ready after ${startDeadlineMs} ms.`);
    }
    // The SDK comes second: a client whose first call finds no server hangs until its deadline.
    const version = (await isHealthy(healthUrl, 'OK')) ? await versionByRpc(address, token) : undefined;
    if (version !== undefined) {
      const pid = Number(await readFile(pidFile, 'utf8'));
      return { address, version, pid, stop: () => server.stop() };
    }
    await sleep(25);
  }
}

/** The server's version over gRPC; undefined while it does not answer or is not healthy. */
async function versionByRpc(address: string, token: string | undefined): Promise<string | undefined> {
  const client = new MilvusClient({ address, token, timeout: 5_000, maxRetries: 0 });
  try {
    await client.connectPromise;
    const { isHealthy: healthy } = await client.checkHealth();
    return healthy ? (await client.getVersion()).version : undefined;
  } catch {
    return undefined;
  } finally {
    await client.closeConnection();
  }
}

/**
 * Fills ports, folders and addresses into the package's template, whose fields are `{{ name }}` and `{{
 * name(type): default }}`. Fails for a field without value or default, as another version could have.
 */
async function writeConfiguration(runFolder: string) {
  const template = await readFile(path.join(installedFolder, 'config.yaml.template'), 'utf8');
  const fieldPattern = /\{\{\s*(\w+)(?:\(\w+\))?(?::\s*(.*?))?\s*\}\}/g;
  const portFields = [...template.matchAll(fieldPattern)]
    .map(([, name]) => name)
    .filter((name) => name?.endsWith('_port'));
  const ports = await consecutiveFreePorts(portFields.length + 3);
  const [metricsPort, etcdPort, etcdPeerPort, ...componentPorts] = ports as [
    number,
    number,
    number,
    ...number[],
  ];

  const dataFolder = path.join(runFolder, 'data');
  const logFolder = path.join(runFolder, 'logs');
  const values: Record<string, string | number> = {
    etcd_data_dir: path.join(dataFolder, 'etcd'),
    etcd_log_path: path.join(logFolder, 'etcd.log'),
    local_storage_dir: dataFolder,
    rocksmq_data_dir: path.join(dataFolder, 'rocksmq'),
    // Empty: no log file, since stdout is a file already.
    system_log_path: '',
    ...Object.fromEntries(portFields.map((name, index) => [name, componentPorts[index]])),
  };
  const configuration = template
    .replace(fieldPattern, (field, name: string, fallback: string | undefined) => {
      const value = values[name] ?? fallback;
      if (value === undefined)
        throw new Error(`Milvus ${milvusVersion}: no value for ${field} in its template`);
      return String(value);
    })
    // Components connect to each other by this address; by default it is a network card's, which firewalls
    // may block.
    .replace(/^( {2}ip:) #.*$/gm, '$1 127.0.0.1');

  // The template sets only the etcd client's port; the embedded etcd's own ports (2379, 2380) need this file.
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const peerUrl = `http://127.0.0.1:${etcdPeerPort}`;
  const etcdConfiguration = [
    `listen-client-urls: ${etcdUrl}`,
    `advertise-client-urls: ${etcdUrl}`,
    `listen-peer-urls: ${peerUrl}`,
    `initial-advertise-peer-urls: ${peerUrl}`,
    `initial-cluster: default=${peerUrl}`,
  ].join('\n');

  const configFolder = path.join(runFolder, 'configs');
  for (const folder of [configFolder, dataFolder, logFolder]) await mkdir(folder);
  const etcdFile = path.join(configFolder, 'embedEtcd.yaml');
  await writeFile(path.join(configFolder, 'milvus.yaml'), configuration);
  await writeFile(path.join(configFolder, 'glog.conf'), '--logtostderr=true\n--minloglevel=0\n');
  await writeFile(etcdFile, `${etcdConfiguration}\n`);
  return { address: `127.0.0.1:${values.proxy_port}`, metricsPort, etcdFile, ports };
}

let installing: Promise<void> | undefined;

/** Concurrent starts in one process share an installation; among processes, the first to finish wins. */
function installOnce(log: (line: string) => void): Promise<void> {
  if (existsSync(installedFolder)) return Promise.resolve();
  installing ??= install(log).finally(() => {
    installing = undefined;
  });
  return installing;
}

const withoutPython = 'or run the demo with `-- --docker`, or set MILVUS_ADDRESS to a Milvus that you have';

async function install(log: (line: string) => void): Promise<void> {
  const platform = `${process.platform} ${process.arch}`;
  if (!['linux x64', 'darwin x64', 'darwin arm64'].includes(platform)) {
    throw new Error(
      `Milvus ${milvusVersion} has no Python package for ${platform}, only for Linux x64 and macOS: ` +
        `use one of these, ${withoutPython}`,
    );
  }
  await python(
    ['-m', 'pip', '--version'],
    `pip is missing: install it (for instance python3-pip), ${withoutPython}`,
  );

  const started = performance.now();
  log(
    `Installing Milvus ${milvusVersion} into ${path.relative(process.cwd(), installedFolder)}, once (60 MB to download)`,
  );
  const folder = await newFolder('install');
  try {
    const packageFolder = path.join(folder, 'package');
    await python(
      ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile', '--no-deps'].concat([
        '--target',
        packageFolder,
        `milvus==${milvusVersion}`,
      ]),
      `pip cannot install milvus==${milvusVersion}: make its package index reachable, ${withoutPython}`,
    );
    log('Unpacking it (246 MB)');
    const unpacked = path.join(folder, 'unpacked');
    await python(
      ['-c', unpackProgram, path.join(packageFolder, 'milvus', 'data'), unpacked],
      `Milvus cannot be unpacked into ${folder}: it needs 350 MB of free space and Python's lzma module, ${withoutPython}`,
    );
    await rename(unpacked, installedFolder).catch((error: NodeJS.ErrnoException) => {
      // Another process has installed it meanwhile.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  log(`Installed it in ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

/** Fails with the fix when python3 or pip is missing. */
export async function requirePip(): Promise<void> {
  await python(
    ['-m', 'pip', '--version'],
    `pip is missing: install it (for instance python3-pip), ${withoutPython}`,
  );
}

/** The package's binaries are compressed; lzma releases Python's GIL, so threads use all cores. */
const unpackProgram = `
import lzma, os, shutil, sys
from concurrent.futures import ThreadPoolExecutor
source, target = sys.argv[1:]
packed = os.path.join(source, 'bin')
os.makedirs(os.path.join(target, 'bin'))
def unpack(name):
    file = os.path.join(target, 'bin', name.removesuffix('.lzma'))
    with lzma.open(os.path.join(packed, name)) as reader, open(file, 'wb') as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
    os.chmod(file, 0o755)
largest_first = sorted(os.listdir(packed), key=lambda name: -os.path.getsize(os.path.join(packed, name)))
with ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(unpack, largest_first))
shutil.copy(os.path.join(source, 'config.yaml.template'), target)
`;

/** Runs python3. Fails with `fix` and Python's stderr, or with how to install a missing python3. */
async function python(args: string[], fix: string): Promise<void> {
  const child = spawnGuarded('python3', args, { stdout: 'ignore', stderr: 'pipe' });
  let stderr = '';
  child.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await child.ended;
  if (code === 0) return;
  // 127: the shell did not find the command.
  if (code === 127) throw new Error(`python3 is missing: install Python 3 with pip, ${withoutPython}`);
  throw new Error(`${fix}\n${stderr.trimEnd()}`);
}

/** Its name has this process' id, so that a later start finds unused folders. */
async function newFolder(purpose: 'run' | 'install'): Promise<string> {
  await mkdir(cacheFolder, { recursive: true });
  return await mkdtemp(path.join(cacheFolder, `${purpose}-${process.pid}-`));
}

/** Folders of processes that were killed during an installation, or whose server failed. */
async function removeAbandonedFolders(): Promise<void> {
  const names = await readdir(cacheFolder).catch(() => []);
  for (const name of names) {
    const pid = /^(?:run|install)-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isRunning(Number(pid))) {
      await rm(path.join(cacheFolder, name), { recursive: true, force: true });
    }
  }
}
