/** Programs without a preload, under this one, and under the stock one. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { telemetryEnvironment } from '../../bench/variants.ts';
import {
  type FixtureOptions,
  type FixtureResult,
  type RunningFixture,
  startFixture,
} from '../processes/run-fixture.ts';

export type Variant = 'none' | 'ours' | 'stock';

export const STOCK = '@opentelemetry/auto-instrumentations-node';

const root = path.join(import.meta.dirname, '..', '..');

/** In the root of the repository. */
const PRELOADS: Record<Variant, string | undefined> = {
  none: undefined,
  ours: './dist/register.cjs',
  stock: `${STOCK}/register`,
};

/** A program that runs this long after its last output hangs, and is killed. */
export const deadlineMs = 15_000;
/** Time limit until a program's last output. Beyond it the command fails: that is not a finding. */
const startDeadlineMs = 180_000;

export interface Program extends Omit<FixtureOptions, 'preload' | 'timeoutMs'> {
  /** By OTLP/gRPC on 127.0.0.1, unless `env` names another. */
  collectorPort: number;
  /** How NODE_OPTIONS loads the preload; --import by default. */
  loadedBy?: '--import' | '--require';
  /** Other paths of the preloads. */
  preloads?: Record<Variant, string | undefined>;
}

export interface StartedProgram extends RunningFixture {
  /** Name of the service in its spans. */
  service: string;
}

let runCount = 0;

export function startProgram(variant: Variant, program: Program): StartedProgram {
  const { collectorPort, env = {}, loadedBy = '--import', preloads = PRELOADS, ...options } = program;
  const service = `${variant}-${++runCount}`;
  const preload = preloads[variant];
  const { NODE_OPTIONS = '', ...others } = env;
  const nodeOptions = preload === undefined ? NODE_OPTIONS : `${NODE_OPTIONS} ${loadedBy} ${preload}`.trim();
  const fixture = startFixture({
    cwd: root,
    ...options,
    timeoutMs: startDeadlineMs + deadlineMs,
    env: {
      ...telemetryEnvironment(`127.0.0.1:${collectorPort}`, service),
      OTEL_NODE_RESOURCE_DETECTORS: 'env,host,process',
      ...others,
      ...(nodeOptions === '' ? {} : { NODE_OPTIONS: nodeOptions }),
    },
  });
  return { service, ...fixture };
}

/** undefined: it has not ended within `ms`, and was killed. */
export async function endWithin(fixture: RunningFixture, ms: number): Promise<FixtureResult | undefined> {
  const result = await Promise.race([fixture.ended, sleep(ms, undefined, { ref: false })]);
  if (result === undefined) {
    fixture.kill('SIGKILL');
    await fixture.ended.catch(() => {});
  }
  return result;
}
