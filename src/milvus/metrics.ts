/**
 * The metrics of operations and of connection pools. Names are those of the conventions for database clients;
 * where these have none, they begin with `milvus.`.
 */
import {
  type Attributes,
  type BatchObservableResult,
  createNoopMeter,
  type Histogram,
  type Meter,
  type Span,
} from '@opentelemetry/api';
import { METRIC_DB_CLIENT_OPERATION_DURATION } from '@opentelemetry/semantic-conventions';
import { ATTR, type ServerAddress } from './attributes.ts';
import { PoolMetrics } from './pool-metrics.ts';

/** In seconds. Source of both: semantic conventions, database client metrics. */
export const DURATION_BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];
export const ROWS_BOUNDARIES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];

/** In development, so not in the package's stable entry. */
export const METRIC_RETURNED_ROWS = 'db.client.response.returned_rows';

/** The conventions have none for retries of an operation, and none like `http.client.active_requests`. */
export const METRIC_RETRIES = 'milvus.client.operation.retries';
export const METRIC_ACTIVE_OPERATIONS = 'milvus.client.active_operations';

/**
 * One less than the SDK keeps of an instrument, which does not add up what is observed beyond. Source:
 * sdk-metrics 3.0.
 */
const MAX_SERIES = 1_999;
/**
 * What the SDK gives to measurements beyond its limit. Source: specification of the metrics SDK, "Cardinality
 * limits".
 */
const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

/** What operations with the same attributes at their start have in common. */
export interface Series {
  readonly attributes: Readonly<Attributes>;
  active: number;
  retries: number;
}

/** One for each meter: two instrumentations must not report the same instruments twice. */
const byMeter = new WeakMap<Meter, OperationMetrics>();

/** Undefined when `meter` is a no-op, so that operations prepare no values for it. */
export function operationMetrics(meter: Meter): OperationMetrics | undefined {
  if (meter === createNoopMeter()) return undefined;
  let known = byMeter.get(meter);
  if (known === undefined) {
    known = new OperationMetrics(meter);
    byMeter.set(meter, known);
  }
  return known;
}

export class OperationMetrics {
  readonly pools: PoolMetrics;
  readonly #durations: Histogram;
  readonly #rows: Histogram;
  /** By the values of the attributes. */
  readonly #series = new Map<string, Series>();
  readonly #overflow: Series = { attributes: OVERFLOW, active: 0, retries: 0 };

  constructor(meter: Meter) {
    this.#durations = meter.createHistogram(METRIC_DB_CLIENT_OPERATION_DURATION, {
      description: 'Duration of database client operations.',
      unit: 's',
      advice: { explicitBucketBoundaries: DURATION_BOUNDARIES },
    });
    this.#rows = meter.createHistogram(METRIC_RETURNED_ROWS, {
      description: 'The actual number of records returned by the database operation.',
      unit: '{row}',
      advice: { explicitBucketBoundaries: ROWS_BOUNDARIES },
    });
    // Observed, not added to: an operation changes a number, and builds no attributes for it.
    const active = meter.createObservableUpDownCounter(METRIC_ACTIVE_OPERATIONS, {
      description: 'Operations that have started and not ended.',
      unit: '{operation}',
    });
    const retries = meter.createObservableCounter(METRIC_RETRIES, {
      description: 'Retries of the RPCs of operations, by the SDK.',
      unit: '{retry}',
    });
    const observe = (result: BatchObservableResult) => {
      for (const series of [...this.#series.values(), this.#overflow]) {
        if (series === this.#overflow && this.#series.size < MAX_SERIES) continue;
        result.observe(active, series.active, series.attributes);
        result.observe(retries, series.retries, series.attributes);
      }
    };
    meter.addBatchObservableCallback(observe, [active, retries]);
    this.pools = new PoolMetrics(meter);
  }

  /** @param attributes of the span at its creation; not changed later. */
  started(attributes: Readonly<Attributes>): Series {
    const key = `${attributes[ATTR.operation]}\0${attributes[ATTR.collection]}\0${attributes[ATTR.namespace]}\0${attributes[ATTR.serverAddress]}\0${attributes[ATTR.serverPort]}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      if (this.#series.size >= MAX_SERIES) series = this.#overflow;
      else {
        series = { attributes, active: 0, retries: 0 };
        this.#series.set(key, series);
      }
    }
    series.active++;
    return series;
  }

  /**
   * @param startMs performance.now() at its start
   * @param attributes those of its start, and its failure
   * @param returnedRows undefined when it returns no rows, or failed
   */
  ended(
    series: Series,
    span: Span,
    startMs: number,
    attributes: Readonly<Attributes>,
    returnedRows: number | undefined,
  ): void {
    series.active--;
    this.#durations.record(durationSeconds(span, startMs), attributes);
    if (returnedRows !== undefined) this.#rows.record(returnedRows, attributes);
  }

  /**
   * @param pool through which an RPC of `server` goes; the SDK's older versions have a gRPC client instead.
   */
  usesPool(pool: unknown, server: ServerAddress | undefined): void {
    this.pools.uses(pool, server);
  }
}

/** The span's own duration, where it has one: a span that is not sampled, or of another SDK, has none. */
function durationSeconds(span: Span, startMs: number): number {
  const { duration } = span as { duration?: [number, number] };
  return span.isRecording() || duration === undefined || !(duration[0] >= 0)
    ? (performance.now() - startMs) / 1_000
    : duration[0] + duration[1] / 1e9;
}
