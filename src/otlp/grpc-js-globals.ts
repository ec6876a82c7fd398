/**
 * Replacements of globals in the copy of grpc-js: the preload's originals where it is loaded, else the
 * globals.
 */
type Globals = typeof import('../sdk/originals.ts');

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

const { Date: OriginalDate, Promise: OriginalPromise } = held ?? own;

export { OriginalDate as Date, OriginalPromise as Promise };
