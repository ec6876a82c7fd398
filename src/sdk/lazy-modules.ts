import { createRequire } from 'node:module';

// The bundle is CommonJS, so that its parts can be loaded in the middle of a synchronous hook.
declare const __filename: string;
const requireChunk = createRequire(__filename);

/** Loads one of the parts that the build puts beside the preload; nothing of it is loaded before. */
export function loadChunk<T>(name: string): T {
  return requireChunk(`./${name}.cjs`) as T;
}

/**
 * Stands for something that a part exports, and loads the part at the first use. The build puts it in the place of
 * packages that NodeSDK imports but seldom uses.
 */
export function standIn(part: string, name: string): unknown {
  const load = () => (loadChunk<Record<string, any>>(part) as Record<string, any>)[name];
  return new Proxy(class {}, {
    construct: (_target, args) => Reflect.construct(load(), args),
    get: (_target, property) => load()[property],
  });
}
