import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { addedSpread, cpuMs, cpuOfSearch, searchCosts, startUpCosts, wallMs } from './measures.ts';
import { type Bench, search } from './rounds.ts';
import type { SideProcess } from './side-process.ts';
import type { Spread } from './statistics.ts';
import { type Installed, installApp, installedBytes, installedVersion, type Variant } from './variants.ts';

interface PeerDefinition {
  name: string;
  package: string;
  /** Used when the newest version cannot be installed. */
  fallback?: string;
  /** The preload that its documentation names. */
  preload: string;
  /** Variables that it needs in addition to OpenTelemetry's. */
  env: (agent: SideProcess) => Record<string, string>;
}

// No metadata services of clouds, as for the others; Splunk and AWS have no such option.
const DETECTORS = { OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process' };

export const PEERS: PeerDefinition[] = [
  {
    name: 'Elastic',
    package: '@elastic/opentelemetry-node',
    preload: '@elastic/opentelemetry-node',
    // It sends metrics in addition to those of OTEL_METRICS_EXPORTER.
    env: () => ({ ...DETECTORS, ELASTIC_OTEL_METRICS_DISABLED: 'true' }),
  },
  {
    name: 'Splunk',
    package: '@splunk/otel',
    fallback: '4.7.2',
    preload: '@splunk/otel/instrument.js',
    env: () => DETECTORS,
  },
  {
    name: 'Datadog',
    package: 'dd-trace',
    preload: 'dd-trace/initialize.mjs',
    // It sends to Datadog's agent by default; its OTLP is HTTP only.
    // Telemetry about itself, metrics and remote configuration are not tracing.
    env: (agent) => ({
      OTEL_TRACES_EXPORTER: '',
      DD_TRACE_AGENT_URL: `http://${agent.address}`,
      DD_TRACE_STARTUP_LOGS: 'false',
      DD_RUNTIME_METRICS_ENABLED: 'false',
      DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
      DD_REMOTE_CONFIGURATION_ENABLED: 'false',
    }),
  },
  {
    name: 'AWS',
    package: '@aws/aws-distro-opentelemetry-node-autoinstrumentation',
    preload: '@aws/aws-distro-opentelemetry-node-autoinstrumentation/register',
    env: () => ({ ...DETECTORS, OTEL_AWS_APPLICATION_SIGNALS_ENABLED: 'false' }),
  },
];

/** A line of the table of peers: its costs, or the reason why it has none. */
export interface Peer {
  name: string;
  package: string;
  version?: string;
  startUpWallMs?: Spread;
  startUpCpuMs?: Spread;
  searchCpuUs?: Spread;
  peakMiB?: Spread;
  sizeMiB?: number;
  /** Why it could not be measured: its installation or an app under it fails. One line. */
  problem?: string;
}

/**
 * Installs the peers into a scratch folder, and measures them with this package and the stock preload in the
 * same rounds. A failure is a line with its reason.
 */
export async function measurePeers(
  bench: Bench,
  installed: Installed,
  agent: SideProcess,
  say: (line: string) => void,
): Promise<Peer[]> {
  const scratch = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-peers-'));
  try {
    const { none, ours, stock } = installed.variants;
    const peers: Peer[] = [
      { name: 'milvus-otel', package: 'milvus-otel', version: installed.versions.ours },
      {
        name: 'stock',
        package: '@opentelemetry/auto-instrumentations-node',
        version: installed.versions.stock,
      },
    ];
    const variants = new Map<Peer, Variant>([
      [peers[0] as Peer, ours],
      [peers[1] as Peer, stock],
    ]);
    for (const definition of PEERS) {
      const peer: Peer = { name: definition.name, package: definition.package };
      peers.push(peer);
      const folder = path.join(scratch, definition.name);
      try {
        await install(folder, definition, installed.sdk, say, bench.signal);
        peer.version = await installedVersion(folder, definition.package);
        say(`${definition.package} ${peer.version}`);
        const variant = {
          name: definition.name,
          folder,
          preload: definition.preload,
          env: definition.env(agent),
          ...(definition.name === 'Datadog' ? { sends: 'nothing' as const } : {}),
        };
        await tryOut(bench, variant, agent);
        variants.set(peer, variant);
      } catch (error) {
        bench.signal.throwIfAborted();
        peer.problem = firstLine(error as Error);
        say(`${definition.name} is left out: ${peer.problem}`);
      }
    }

    const order = [none, ...variants.values()];
    const startUps = await startUpCosts(bench, 'start-up of peers', 'start-up.mjs', order);
    const { peerSearchRounds, searchStretches, searchCalls, warmUpCalls } = bench.plan;
    const load = {
      count: peerSearchRounds,
      stretches: searchStretches,
      calls: searchCalls,
      warmUp: warmUpCalls,
      workload: 'mixed',
    } as const;
    const { stretches } = await searchCosts(bench, 'searches of peers', load, order);
    const sizeOfNone = await installedBytes(none.folder);
    for (const [peer, { name, folder }] of variants) {
      peer.startUpWallMs = addedSpread(startUps, name, wallMs);
      peer.startUpCpuMs = addedSpread(startUps, name, cpuMs);
      peer.searchCpuUs = addedSpread(stretches, name, cpuOfSearch(searchCalls));
      peer.peakMiB = addedSpread(startUps, name, ({ peakMiB }) => peakMiB);
      peer.sizeMiB = ((await installedBytes(folder)) - sizeOfNone) / 2 ** 20;
    }
    return peers;
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function install(
  folder: string,
  { package: name, fallback }: PeerDefinition,
  sdk: Installed['sdk'],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const dependencies = { [sdk.name]: sdk.version };
  try {
    await installApp(folder, { ...dependencies, [name]: 'latest' }, say, signal);
  } catch (error) {
    if (fallback === undefined || signal.aborted) throw error;
    say(`the newest ${name} cannot be installed (${firstLine(error as Error)}): taking ${fallback}`);
    await installApp(folder, { ...dependencies, [name]: fallback }, say, signal);
  }
}

/** Rejects when an app under the peer fails, or no span of its searches arrives. */
async function tryOut(bench: Bench, variant: Variant, agent: SideProcess): Promise<void> {
  bench.progress(`trying ${variant.name}`, 0, 0);
  await agent.ask('forget what came before');
  // More than one batch: some never send the last one.
  const { received } = await search(bench, [variant], {
    calls: 1200,
    slices: 1,
    inFlight: 8,
    warmUp: 10,
    workload: 'uniform',
  });
  const arrived = variant.sends === 'nothing' ? await agent.ask('what came?') : received.get(variant.name);
  if (arrived === 0) throw new Error('none of its spans arrived');
}

/** npm's and Node's errors have many lines; the relevant one has a name before a colon. */
function firstLine({ message }: Error): string {
  const lines = message.split('\n').map((line) => line.trim());
  const telling = lines.find(
    (line) =>
      /^(npm (error|ERR!) (?!A complete log)\S.*|\w*Error\b.*: .*)/.test(line) &&
      !/^npm error code/.test(line),
  );
  return (telling ?? lines[0] ?? '').replace(/^npm (error|ERR!) /, '').slice(0, 160);
}
