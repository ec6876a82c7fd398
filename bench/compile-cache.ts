import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { addedSpread, cpuMs, wallMs } from './measures.ts';
import { type Bench, oneByOne, rounds } from './rounds.ts';
import type { Program } from './run-app.ts';
import type { Spread } from './statistics.ts';
import type { Installed, Variant } from './variants.ts';

/** Effect of V8's compile cache on one way to start, in ms added to the app without preload and cache. */
export interface CacheCost {
  what: string;
  wall: Spread;
  cpu: Spread;
}

const PROGRAMS: [Program, string][] = [
  ['nothing.mjs', 'an app that does nothing'],
  ['start-up.mjs', 'an app that imports the SDK'],
];

/**
 * Start-up with and without the preload, each without a compile cache, with a filled one, and with an empty
 * one.
 */
export async function compileCache(bench: Bench, installed: Installed): Promise<CacheCost[]> {
  const scratch = await mkdtemp(path.join(os.tmpdir(), 'milvus-otel-compile-cache-'));
  try {
    const found: CacheCost[] = [];
    for (const [program, shown] of PROGRAMS) {
      const { none, ours } = installed.variants;
      const cached = (variant: Variant): Variant => ({
        ...variant,
        name: `${variant.name}, cache`,
        env: { ...variant.env, NODE_COMPILE_CACHE: path.join(scratch, `${program} ${variant.name}`) },
      });
      const unwritten: Variant = { ...ours, name: 'ours, cache that is written' };
      const variants = [none, cached(none), ours, cached(ours), unwritten];
      const options = { count: bench.plan.startUpRounds, warmUp: true };
      let written = 0;
      const costs = await rounds(bench, `compile cache, ${shown}`, options, variants, (order) => {
        written += 1;
        const folder = path.join(scratch, `${program} ${written}`);
        const withFolder = order.map((variant) =>
          variant === unwritten
            ? { ...variant, env: { ...variant.env, NODE_COMPILE_CACHE: folder } }
            : variant,
        );
        return oneByOne(bench, withFolder, program);
      });
      for (const { name } of variants.slice(1))
        found.push({
          what: `${shown}: ${name}`,
          wall: addedSpread(costs, name, wallMs),
          cpu: addedSpread(costs, name, cpuMs),
        });
    }
    return found;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
