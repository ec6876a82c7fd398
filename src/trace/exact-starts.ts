/** Gives the SDK's own spans the clock that operations have: the SDK starts them at whole milliseconds. */
import { type Context, trace } from '@opentelemetry/api';
import { hrTimeToMilliseconds, millisToHrTime } from '@opentelemetry/core';
import type { Span, SpanProcessor } from '@opentelemetry/sdk-trace';
import type { Clock } from './clock.ts';
import { isSdkSpan } from './sdk-internals.ts';

/** Comes before the processors that read a span's start. Ends follow: the SDK reckons them from the start. */
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

/** A start by both clocks, in ms. */
interface Start {
  readonly startMs: number;
  readonly beganMs: number;
}

/** The start of the span in `context`; undefined where the clock did not give it. */
function startIn(context: Context): Start | undefined {
  const span = trace.getSpan(context);
  if (span === undefined) return undefined;
  if ((span as Partial<Start>).beganMs !== undefined) return span as unknown as Start;
  if (!isSdkSpan(span) || span._startTimeProvided) return undefined;
  return { startMs: hrTimeToMilliseconds(span.startTime), beganMs: span._performanceStartTime };
}

/** The clock closes in on the right time by steps of less. */
const SET_MS = 1;

/**
 * When a span starts below the one in `parent`, at `epochMs` by the clock: as long after its parent as the monotonic clock says,
 * so that the parent contains it. After the clock was set, it starts at the new time, but not before its parent.
 */
export function startBelow(parent: Context, epochMs: number, monotonicMs: number): number {
  const above = startIn(parent);
  if (above === undefined) return epochMs;
  const alongMs = above.startMs + monotonicMs - above.beganMs;
  return Math.abs(alongMs - epochMs) <= SET_MS ? alongMs : Math.max(epochMs, above.startMs);
}
