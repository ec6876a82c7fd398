/** Replacements of globals in the copy of grpc-js: the preload's originals where it is loaded, else the globals. */
interface Globals {
  Date: typeof globalThis.Date;
  performance: Pick<typeof globalThis.performance, 'now' | 'timeOrigin'>;
  setTimeout: typeof globalThis.setTimeout;
  clearTimeout: typeof globalThis.clearTimeout;
  setInterval: typeof globalThis.setInterval;
  clearInterval: typeof globalThis.clearInterval;
  setImmediate: typeof globalThis.setImmediate;
  queueMicrotask: typeof globalThis.queueMicrotask;
  dateNow: typeof globalThis.Date.now;
  mathRandom: typeof globalThis.Math.random;
}

const own: Globals = Object.assign(Object.create(globalThis), {
  dateNow: globalThis.Date.now,
  mathRandom: globalThis.Math.random,
});
const held = (globalThis as Record<symbol, unknown>)[Symbol.for('milvus-otel.originals')] as
  | Globals
  | undefined;

export const {
  performance,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  queueMicrotask,
  dateNow,
  mathRandom,
} = held ?? own;

const OriginalDate = (held ?? own).Date;

export { OriginalDate as Date };
