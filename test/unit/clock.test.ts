import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Clock } from '../../src/trace/clock.ts';
import { RUNS } from '../support/arbitrary-values.ts';

/** A machine whose time is moved by hand, in µs. */
function machine() {
  const state = { monotonicUs: 0, wallAheadUs: 1_700_000_000_000_000 };
  const wallUs = () => state.wallAheadUs + state.monotonicUs;
  const sources = {
    wallMs: () => Math.floor(wallUs() / 1_000),
    monotonicMs: () => state.monotonicUs / 1_000,
    originMs: state.wallAheadUs / 1_000,
  };
  return { state, sources, wallMs: () => wallUs() / 1_000 };
}

function read(clock: Clock): number {
  const wallMs = clock.wallMs();
  return clock.epochMs(wallMs, clock.monotonicMs());
}

/** Half of the resolution of a double at today's time in ms. */
const ROUNDING_MS = 0.000_2;

test('a time has fractions of a millisecond, which the wall clock does not have', () => {
  const { state, sources, wallMs } = machine();
  const clock = new Clock(sources);
  for (let reading = 0; reading < 1_000; reading++) {
    state.monotonicUs += 137;
    const epochMs = read(clock);
    assert.ok(Math.abs(epochMs - wallMs()) <= ROUNDING_MS, `${epochMs} at ${wallMs()}`);
  }
});

for (const [what, aheadUs] of [
  ['set forward by an hour', 3_600e6],
  ['set back by an hour', -3_600e6],
  ['set forward by 3 ms', 3_000],
  ['set back by 0.4 ms', -400],
] as const) {
  test(`after the wall clock was ${what}, a time is right to 1 ms at once, and to 50 µs after some readings`, () => {
    const { state, sources, wallMs } = machine();
    const clock = new Clock(sources);
    read(clock);
    state.wallAheadUs += aheadUs;
    for (let reading = 0; reading < 300; reading++) {
      // A program reads it at any part of a millisecond.
      state.monotonicUs += 1_617;
      const error = Math.abs(read(clock) - wallMs());
      const limitMs = reading < 200 ? 1 : 0.05;
      assert.ok(error <= limitMs + ROUNDING_MS, `${error} ms at reading ${reading}`);
    }
  });
}

test('a time is right after the machine slept, which stops the monotonic clock', () => {
  const { state, sources, wallMs } = machine();
  const clock = new Clock(sources);
  state.wallAheadUs += 8 * 3_600e6;
  assert.ok(Math.abs(read(clock) - wallMs()) <= 1);
});

test('the first reading corrects a wrong origin', () => {
  const { state, sources, wallMs } = machine();
  const clock = new Clock({ ...sources, originMs: 0 });
  state.monotonicUs = 12_345;
  assert.ok(Math.abs(read(clock) - wallMs()) <= 1);
});

test('a pause of the process between the two readings is not taken for a change of the clock', () => {
  const { state, sources, wallMs } = machine();
  const clock = new Clock(sources);
  for (const haltUs of [100, 900, 1_000, 50_000]) {
    const wall = sources.wallMs();
    state.monotonicUs += haltUs;
    const epochMs = clock.epochMs(wall, sources.monotonicMs());
    assert.ok(Math.abs(epochMs - wallMs()) <= ROUNDING_MS, `${epochMs} at ${wallMs()}`);
  }
});

test('whatever happens to the wall clock, a time is never off by more than 1 ms', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          passUs: fc.integer({ min: 0, max: 5_000 }),
          setUs: fc.oneof(fc.constant(0), fc.integer({ min: -1e9, max: 1e9 })),
        }),
      ),
      (steps) => {
        const { state, sources, wallMs } = machine();
        const clock = new Clock(sources);
        for (const { passUs, setUs } of steps) {
          state.monotonicUs += passUs;
          state.wallAheadUs += setUs;
          const epochMs = read(clock);
          assert.ok(Math.abs(epochMs - wallMs()) <= 1 + ROUNDING_MS, `${epochMs} at ${wallMs()}`);
        }
      },
    ),
    RUNS,
  );
});
