/** The metric of the database conventions: how long operations take. */
import { type Attributes, createNoopMeter, type Meter, type Span } from '@opentelemetry/api';

/** Records one operation that has ended. `startMs` is performance.now() at its start. */
export type RecordDuration = (span: Span, startMs: number, attributes: Attributes) => void;

/** Boundaries in seconds, as the conventions advise. Source: semantic conventions, database client metrics. */
const BOUNDARIES_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/** Undefined when `meter` measures nothing, so that nothing is prepared for it. */
export function createDurationMetric(meter: Meter): RecordDuration | undefined {
  if (meter === createNoopMeter()) return undefined;
  const histogram = meter.createHistogram('db.client.operation.duration', {
    description: 'Duration of database client operations.',
    unit: 's',
    advice: { explicitBucketBoundaries: BOUNDARIES_S },
  });
  return (span, startMs, attributes) => {
    // The SDK's spans know their duration; one that is not sampled does not.
    const { duration } = span as { duration?: [number, number] };
    const seconds =
      span.isRecording() || duration === undefined || !(duration[0] >= 0)
        ? (performance.now() - startMs) / 1_000
        : duration[0] + duration[1] / 1e9;
    histogram.record(seconds, withoutUndefined(attributes));
  };
}

/** An attribute that is there and undefined would make a series of its own. */
const withoutUndefined = (attributes: Attributes): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
