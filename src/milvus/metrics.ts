/** The metrics of the database conventions: duration of operations and number of returned rows. */
import { type Attributes, createNoopMeter, type Meter, type Span } from '@opentelemetry/api';
import { METRIC_DB_CLIENT_OPERATION_DURATION } from '@opentelemetry/semantic-conventions';

/**
 * Records one operation that has ended.
 *
 * @param startMs performance.now() at its start
 * @param returnedRows undefined when it returns no rows, or failed
 */
export type RecordOperation = (
  span: Span,
  startMs: number,
  attributes: Attributes,
  returnedRows: number | undefined,
) => void;

/** In seconds. Source of both: semantic conventions, database client metrics. */
export const DURATION_BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];
export const ROWS_BOUNDARIES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];

/** In development, so not in the package's stable entry. */
export const METRIC_RETURNED_ROWS = 'db.client.response.returned_rows';

/** Undefined when `meter` is a no-op, so that operations prepare no values for it. */
export function createMetrics(meter: Meter): RecordOperation | undefined {
  if (meter === createNoopMeter()) return undefined;
  const durations = meter.createHistogram(METRIC_DB_CLIENT_OPERATION_DURATION, {
    description: 'Duration of database client operations.',
    unit: 's',
    advice: { explicitBucketBoundaries: DURATION_BOUNDARIES },
  });
  const rows = meter.createHistogram(METRIC_RETURNED_ROWS, {
    description: 'The actual number of records returned by the database operation.',
    unit: '{row}',
    advice: { explicitBucketBoundaries: ROWS_BOUNDARIES },
  });
  return (span, startMs, attributes, returnedRows) => {
    const series = withoutUndefined(attributes);
    durations.record(durationSeconds(span, startMs), series);
    if (returnedRows !== undefined) rows.record(returnedRows, series);
  };
}

/** The span's own duration, where it has one: a span that is not sampled, or of another SDK, has none. */
function durationSeconds(span: Span, startMs: number): number {
  const { duration } = span as { duration?: [number, number] };
  return span.isRecording() || duration === undefined || !(duration[0] >= 0)
    ? (performance.now() - startMs) / 1_000
    : duration[0] + duration[1] / 1e9;
}

/** An attribute with the value undefined would create a separate series. */
const withoutUndefined = (attributes: Attributes): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
