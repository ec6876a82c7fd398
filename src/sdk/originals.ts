/**
 * Clocks, timers, promises and random numbers as they were when the preload was loaded. In the bundle these
 * stand for the globals of the same names, in OpenTelemetry's code too: tools/build/build-package.ts.
 * docs/decisions/original-clocks.md says why.
 */
const {
  // Its instances are those of a replaced Date too, as all of them are made by this constructor.
  Date: OriginalDate,
  // An app's, such as Bluebird, may lack Promise.withResolvers.
  Promise: OriginalPromise,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  queueMicrotask,
} = globalThis;

export {
  clearInterval,
  clearTimeout,
  OriginalDate as Date,
  OriginalPromise as Promise,
  queueMicrotask,
  setImmediate,
  setInterval,
  setTimeout,
};

/** Mocks replace these on the objects themselves. */
export const dateNow = globalThis.Date.now;
export const mathRandom = globalThis.Math.random;

const clock = globalThis.performance;
export const performance = { now: clock.now.bind(clock), timeOrigin: clock.timeOrigin };

/**
 * For the copy of grpc-js, which is loaded later, and in processes without the preload:
 * src/otlp/grpc-js-globals.ts.
 */
(globalThis as Record<symbol, unknown>)[Symbol.for('milvus-otel.originals')] = {
  Date: OriginalDate,
  Promise: OriginalPromise,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  queueMicrotask,
  performance,
  dateNow,
  mathRandom,
};
