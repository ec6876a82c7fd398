/** A real Prometheus with the configuration and the flags of compose/production. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { freePort } from '../processes/free-ports.ts';
import type { GoBuildOptions } from './go-program.ts';
import { productionFolder } from './production-set.ts';
import { ensurePrometheus } from './prometheus-build.ts';
import { startTelemetryProgram } from './telemetry-program.ts';

export interface Series {
  metric: Record<string, string>;
  /** Of an instant query. */
  value: number;
}

export interface RangeSeries {
  metric: Record<string, string>;
  /** Seconds since 1970, value. */
  points: [number, number][];
}

export interface Exemplar {
  /** Of the series. */
  metric: Record<string, string>;
  traceId: string;
  value: number;
  /** Since 1970. */
  atSeconds: number;
}

export interface Prometheus {
  readonly url: string;
  /** At `atMs`, now by default. A scalar is one series without labels. */
  query(expr: string, atMs?: number): Promise<Series[]>;
  queryRange(expr: string, fromMs: number, toMs: number, stepSeconds: number): Promise<RangeSeries[]>;
  exemplars(expr: string, fromMs: number, toMs: number): Promise<Exemplar[]>;
  stop(): Promise<void>;
}

/**
 * `targets` replaces each `host:port` in prometheus.yml, and the intervals are one second; all else is as
 * users get it. Data and configuration are written to `scratch`.
 */
export async function startPrometheus(
  scratch: string,
  targets: Record<string, string>,
  options: GoBuildOptions = {},
): Promise<Prometheus> {
  const program = await ensurePrometheus(options);
  const folder = path.join(productionFolder, 'prometheus');
  mkdirSync(scratch, { recursive: true });
  cpSync(path.join(folder, 'alerts.yml'), path.join(scratch, 'alerts.yml'));
  const config = parse(readFileSync(path.join(folder, 'prometheus.yml'), 'utf8'));
  config.global.scrape_interval = config.global.evaluation_interval = '1s';
  config.rule_files = ['alerts.yml'];
  for (const { static_configs } of config.scrape_configs)
    for (const one of static_configs) {
      one.targets = one.targets.map((target: string) => {
        const found = targets[target];
        if (found === undefined) throw new Error(`prometheus.yml: there is no program for ${target}`);
        return found;
      });
    }
  const file = path.join(scratch, 'prometheus.yml');
  writeFileSync(file, stringify(config));

  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const { stop } = await startTelemetryProgram(
    program,
    [
      ...composeFlags(),
      `--config.file=${file}`,
      `--storage.tsdb.path=${path.join(scratch, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    {},
    `${url}/-/ready`,
  );
  const ask = async (api: string, parameters: Record<string, string>) => {
    const response = await fetch(`${url}/api/v1/${api}`, {
      method: 'POST',
      body: new URLSearchParams(parameters),
    });
    const body = (await response.json()) as { status: string; error?: string; data: any };
    if (body.status !== 'success') throw new Error(`${body.error}: ${parameters.query}`);
    return body.data;
  };
  const seconds = (ms: number) => String(ms / 1000);
  return {
    url,
    async query(query, atMs = Date.now()) {
      const { resultType, result } = await ask('query', { query, time: seconds(atMs) });
      if (resultType === 'scalar') return [{ metric: {}, value: Number(result[1]) }];
      return result.map(({ metric, value }: any) => ({ metric, value: Number(value[1]) }));
    },
    async queryRange(query, fromMs, toMs, stepSeconds) {
      const step = String(stepSeconds);
      const { result } = await ask('query_range', {
        query,
        start: seconds(fromMs),
        end: seconds(toMs),
        step,
      });
      return result.map(({ metric, values }: any) => ({
        metric,
        points: values.map(([time, value]: [number, string]) => [time, Number(value)]),
      }));
    },
    async exemplars(query, fromMs, toMs) {
      const data = await ask('query_exemplars', { query, start: seconds(fromMs), end: seconds(toMs) });
      return data.flatMap(({ seriesLabels, exemplars }: any) =>
        exemplars.map(({ labels, value, timestamp }: any) => ({
          metric: seriesLabels,
          traceId: labels.trace_id,
          value: Number(value),
          atSeconds: timestamp,
        })),
      );
    },
    stop,
  };
}

/** The flags in docker-compose.yml that are not paths of its containers. */
function composeFlags(): string[] {
  const { services } = parse(readFileSync(path.join(productionFolder, 'docker-compose.yml'), 'utf8'));
  return services.prometheus.command.filter((flag: string) => flag.startsWith('--enable-feature='));
}
