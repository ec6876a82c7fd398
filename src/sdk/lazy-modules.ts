import { createRequire } from 'node:module';

// The bundle is CommonJS, so that a synchronous hook can load its parts.
declare const __filename: string;
const requireChunk = createRequire(__filename);

/** Loads one of the parts that the build writes next to the preload. */
export function loadChunk<T>(name: string): T {
  return requireChunk(`./${name}.cjs`) as T;
}

/**
 * A stand-in for an export of a part, which loads the part at the first use. The build replaces packages by
 * it that NodeSDK imports but seldom uses.
 */
export function standIn(part: string, name: string): unknown {
  const load = () => (loadChunk<Record<string, any>>(part) as Record<string, any>)[name];
  return new Proxy(class {}, {
    construct: (_target, args) => Reflect.construct(load(), args),
    get: (_target, property) => load()[property],
  });
}
