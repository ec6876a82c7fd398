/** The time of spans: the wall clock's time with the resolution of the monotonic clock. */

/** Both in ms, with fractions where the source has them. */
export interface TimeSources {
  /** Since 1970, in whole ms. */
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** The wall clock's time when the monotonic clock was 0, down to the microsecond. */
  readonly originMs: number;
}

/** Node's clocks, as they are when the preload is loaded: an app may replace them. */
export const NODE_TIME: TimeSources = {
  wallMs: Date.now,
  monotonicMs: performance.now.bind(performance),
  originMs: performance.timeOrigin,
};

/** The origin is off by up to 10 µs: Node reads the two clocks one after the other. */
const TOLERANCE_MS = 0.02;

/**
 * Date.now() is too coarse for the gap between a client and a server. timeOrigin + performance.now() is wrong
 * once the clock was set or the machine has slept. So each reading checks the offset between the two, and
 * computes it anew when the wall clock shows that it is wrong. One reading of whole ms gives it to within 1
 * ms; further readings, at other parts of a millisecond, make it more precise.
 */
export class Clock {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  private offsetMs: number;

  constructor({ wallMs, monotonicMs, originMs }: TimeSources = NODE_TIME) {
    this.wallMs = wallMs;
    this.monotonicMs = monotonicMs;
    this.offsetMs = originMs;
  }

  /**
   * The time since 1970 at `monotonicMs`.
   *
   * @param wallMs read just before it. The process may have been suspended in between, so only a time that is
   *   too early is certainly wrong; one that is too late needs a second reading.
   */
  epochMs(wallMs: number, monotonicMs: number): number {
    const epochMs = monotonicMs + this.offsetMs;
    if (epochMs < wallMs - TOLERANCE_MS) {
      this.offsetMs = wallMs - monotonicMs;
    } else if (epochMs >= wallMs + 1 + TOLERANCE_MS) {
      const latestMs = this.wallMs() + 1;
      if (epochMs >= latestMs + TOLERANCE_MS) this.offsetMs = latestMs - monotonicMs;
    }
    return monotonicMs + this.offsetMs;
  }
}
