/** Gives the SDK's spans the clock of operations: the SDK starts them at whole milliseconds. */
import { type Context, trace } from '@opentelemetry/api';
import { hrTimeToMilliseconds, millisToHrTime } from '@opentelemetry/core';
import type { Span, SpanProcessor } from '@opentelemetry/sdk-trace';
import { isSdkSpan } from '../sdk/sdk-internals.ts';
import type { Clock } from './clock.ts';

/**
 * Runs before the processors that read a span's start. The end needs no change: the SDK computes it from the
 * start.
 */
export class ExactStarts implements SpanProcessor {
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  onStart(span: Span, parent: Context): void {
    if (!isSdkSpan(span) || span._startTimeProvided) return;
    const givenMs = hrTimeToMilliseconds(span.startTime);
    const exactMs = this.clock.epochMs(givenMs, span._performanceStartTime);
    const startMs = startBelow(parent, exactMs, span._performanceStartTime);
    span.startTime = millisToHrTime(startMs);
    span._performanceOffset += startMs - givenMs;
  }

  onEnd(): void {}

  async forceFlush(): Promise<void> {}

  async shutdown(): Promise<void> {}
}

/**
 * The start of the span in `context`; undefined when the app gave the start time, or for an unknown class of
 * span.
 */
function startIn(context: Context): { startMs: number; beganMs: number } | undefined {
  const span = trace.getSpan(context);
  if (span === undefined || !isSdkSpan(span) || span._startTimeProvided) return undefined;
  return { startMs: hrTimeToMilliseconds(span.startTime), beganMs: span._performanceStartTime };
}

/** A larger difference means that the wall clock was set: the corrections of Clock are smaller. */
const SET_MS = 1;

/**
 * Start of a child of `parent` whose time by the clock is `epochMs`: the parent's start plus the difference
 * of the monotonic clock, so that the parent contains the child. After the wall clock was set, it is the new
 * time, but not before the parent.
 */
function startBelow(parent: Context, epochMs: number, monotonicMs: number): number {
  const above = startIn(parent);
  if (above === undefined) return epochMs;
  const alongMs = above.startMs + monotonicMs - above.beganMs;
  return Math.abs(alongMs - epochMs) <= SET_MS ? alongMs : Math.max(epochMs, above.startMs);
}
