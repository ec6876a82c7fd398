/** The conventions' metrics of span processors and exporters, for a queue. Loaded while metrics are on. */
import type { Attributes, BatchObservableResult, Meter } from '@opentelemetry/api';
import { ATTR_ERROR_TYPE, ATTR_SERVER_ADDRESS, ATTR_SERVER_PORT } from '@opentelemetry/semantic-conventions';
import { QUEUE_FULL, type QueueCounts, REJECTED } from './queue-counts.ts';

/** In development, so not in the package's stable entry. */
export const QUEUE_METRIC = {
  size: 'otel.sdk.processor.span.queue.size',
  capacity: 'otel.sdk.processor.span.queue.capacity',
  processed: 'otel.sdk.processor.span.processed',
  inFlight: 'otel.sdk.exporter.span.inflight',
  exported: 'otel.sdk.exporter.span.exported',
} as const;
export const ATTR_COMPONENT_TYPE = 'otel.component.type';
export const ATTR_COMPONENT_NAME = 'otel.component.name';

const PROCESSOR = 'batching_span_processor';

export interface ObservedQueue {
  readonly queue: { readonly unsent: number; readonly counts: QueueCounts };
  /** Spans. */
  readonly capacity: number;
  /** A value of `otel.component.type`. */
  readonly exporter: string;
  /** The collector's URL, or the path of its socket with `unix:` before it. */
  readonly url: string;
}

/** Observes the queues of a process: one for each exporter. */
export function observeQueues(meter: Meter, queues: readonly ObservedQueue[]): void {
  const unit = '{span}';
  const size = meter.createObservableUpDownCounter(QUEUE_METRIC.size, {
    description: 'The number of spans in the queue of a given instance of an SDK span processor.',
    unit,
  });
  const capacity = meter.createObservableUpDownCounter(QUEUE_METRIC.capacity, {
    description:
      'The maximum number of spans the queue of a given instance of an SDK span processor can hold.',
    unit,
  });
  const processed = meter.createObservableCounter(QUEUE_METRIC.processed, {
    description: 'The number of spans for which the processing has finished, either successful or failed.',
    unit,
  });
  const inFlight = meter.createObservableUpDownCounter(QUEUE_METRIC.inFlight, {
    description:
      'The number of spans which were passed to the exporter, but that have not been exported yet.',
    unit,
  });
  const exported = meter.createObservableCounter(QUEUE_METRIC.exported, {
    description: 'The number of spans for which the export has finished, either successful or failed.',
    unit,
  });
  const observed = queues.map((one, index) => ({
    ...one,
    ofProcessor: component(PROCESSOR, index),
    ofExporter: { ...component(one.exporter, 0), ...server(one.url) },
  }));
  const observe = (result: BatchObservableResult) => {
    for (const { queue, capacity: limit, ofProcessor, ofExporter } of observed) {
      const { passed, accepted, dropped, failed } = queue.counts;
      const current = passed - accepted - sum(failed.values());
      result.observe(size, Math.max(0, queue.unsent - current), ofProcessor);
      result.observe(capacity, limit, ofProcessor);
      result.observe(processed, passed, ofProcessor);
      for (const [type, count] of withZero(dropped, QUEUE_FULL))
        result.observe(processed, count, { ...ofProcessor, [ATTR_ERROR_TYPE]: type });
      result.observe(inFlight, current, ofExporter);
      result.observe(exported, accepted, ofExporter);
      for (const [type, count] of withZero(failed, REJECTED))
        result.observe(exported, count, { ...ofExporter, [ATTR_ERROR_TYPE]: type });
    }
  };
  meter.addBatchObservableCallback(observe, [size, capacity, processed, inFlight, exported]);
}

const component = (type: string, index: number): Attributes => ({
  [ATTR_COMPONENT_TYPE]: type,
  [ATTR_COMPONENT_NAME]: `${type}/${index}`,
});

function server(url: string): Attributes {
  if (url.startsWith('unix:')) return { [ATTR_SERVER_ADDRESS]: url.replace(/^unix:(\/\/)?/, '') };
  const { hostname, port, protocol } = new URL(url);
  return {
    [ATTR_SERVER_ADDRESS]: hostname.replace(/^\[|\]$/g, ''),
    [ATTR_SERVER_PORT]: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
  };
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, number) => total + number, 0);

/** A series that starts at 0 shows its first loss as an increase. */
const withZero = (counts: ReadonlyMap<string, number>, errorType: string): Map<string, number> =>
  new Map([[errorType, 0], ...counts]);
