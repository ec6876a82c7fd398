import os from 'node:os';
import type { Figures } from './measures.ts';
import type { Peer } from './peers.ts';
import type { Plan } from './rounds.ts';
import { floorTable, growthTable, mainTable, markdown, peerTable, replacePart, type Table } from './table.ts';
import type { Installed } from './variants.ts';

/** bench/results.json: the last full run, and the last one with peers. */
export interface Results extends Figures {
  /** Machine, versions and rounds, one line each. */
  conditions: string[];
  peers?: { conditions: string[]; rows: Peer[] };
}

/** The setup and the rounds: no date and no host, so that an unchanged setup gives unchanged text. */
export function conditions(installed: Installed, rounds: string): string[] {
  return [...setup(installed), `Rounds: ${rounds}; values are medians, with the smallest and the largest`];
}

/** The machine and the versions. */
export function setup(installed: Installed): string[] {
  const [cpu] = os.cpus();
  const { sdk, ours, stock } = installed.versions;
  return [
    `Machine: ${os.cpus().length} cores (${cpu?.model.trim() ?? 'unknown'}), ${Math.round(os.totalmem() / 2 ** 30)} GiB, ` +
      `${os.platform()} ${os.arch()}, Node ${process.versions.node}`,
    `Versions: milvus-otel ${ours}, @opentelemetry/auto-instrumentations-node ${stock}, @zilliz/milvus2-sdk-node ${sdk}`,
  ];
}

export function roundsOf(plan: Plan): string {
  return (
    `${plan.startUpRounds} for start-up, ${plan.searchRounds} ${searchesOf(plan)} (${plan.uniformRounds} of one search repeated, ${plan.metricsRounds} with metrics) ` +
    `(${plan.floorRounds} of ${plan.floorCalls.toLocaleString('en')} after ` +
    `${plan.floorWarmUpCalls.toLocaleString('en')} for the floor), ${plan.memoryRounds} for memory, ` +
    `${plan.growthRounds} of ${plan.growthTurns} turns for each size of what grows, ${plan.burstRounds} bursts, ` +
    `${plan.latencyCalls.toLocaleString('en')} searches of each process on the real Milvus`
  );
}

const searchesOf = ({ searchStretches, searchCalls, warmUpCalls }: Plan): string =>
  `sets of processes that make ${searchStretches} times ${searchCalls.toLocaleString('en')} searches after ` +
  `${warmUpCalls.toLocaleString('en')}`;

export function roundsOfPeers(plan: Plan): string {
  return `${plan.startUpRounds} for start-up, ${plan.peerSearchRounds} ${searchesOf(plan)}`;
}

/** The non-empty tables of a run. */
export function tablesOf({ rows, growth, floors }: Figures): Table[] {
  return [mainTable(rows), growthTable(growth), floorTable(floors)].filter(({ lines }) => lines.length > 0);
}

/** docs/benchmarks.md with the tables of `results`. */
export function writtenInto(page: string, { rows, growth, floors, conditions, peers }: Results): string {
  const withConditions = (table: Table, lines: string[]) =>
    [markdown(table), '', ...lines.map((line) => `- ${line}`)].join('\n');
  let written = replacePart(page, 'table', withConditions(mainTable(rows), conditions));
  written = replacePart(written, 'growth', markdown(growthTable(growth)));
  written = replacePart(written, 'floor', markdown(floorTable(floors)));
  return peers
    ? replacePart(written, 'peers', withConditions(peerTable(peers.rows), peers.conditions))
    : written;
}
