/** The panels of the dashboard in compose/production, with their Prometheus queries. */

/** The source of a panel's figures: the place to check when there are none. */
type Source = 'spans' | 'app metrics' | 'collector';

export interface Query {
  expr: string;
  /** Grafana's legend, with `{{label}}`; the column's title in a table. */
  legend: string;
  /** The points are linked to their traces. */
  exemplars?: boolean;
}

export interface PanelRow {
  title: string;
  type: 'stat' | 'timeseries' | 'table';
  /** One of Grafana's units; in a table, one per query. */
  unit: string | string[];
  /** Columns of 24. */
  width: number;
  description: string;
  source: Source;
  queries: Query[];
  /** Replaces the source's text for no data, where no data is good. */
  noData?: string;
  /** Values with a text and a colour. */
  mappings?: Record<string, { text: string; color: string }>;
  /** The figure is red from this value on. */
  redFrom?: number;
}

export interface Section {
  title: string;
  panels: PanelRow[];
}

export const NO_DATA: Record<Source, string> = {
  spans:
    'No Milvus call in this time range. If apps made some: run `npx milvus-otel doctor`, and check that they send to this collector.',
  'app metrics':
    'No metrics of apps. Set OTEL_METRICS_EXPORTER=otlp in the app; its first export is after a minute.',
  collector: 'Prometheus cannot read the collector. See Status → Target health on the page of Prometheus.',
};

const selectedService = 'service_name=~"$service"';
const selected = `${selectedService}, db_collection_name=~"$collection"`;
const client = `span_kind="SPAN_KIND_CLIENT", ${selected}`;
/**
 * Operations that a request waits for, and their RPCs. Others, such as loadCollection, also wait between
 * RPCs.
 */
const requestClient =
  'span_kind="SPAN_KIND_CLIENT", db_operation_name=~"search|hybridSearch|query|get|insert|upsert|delete"';
const requestServer =
  'span_kind="SPAN_KIND_SERVER", rpc_method=~"Search|HybridSearch|Query|Insert|Upsert|Delete"';
const anyServer = 'span_kind="SPAN_KIND_SERVER"';
const failed = `status_code="STATUS_CODE_ERROR", ${client}`;

const rate = (metric: string, labels: string, window = '$__rate_interval') =>
  `rate(${metric}{${labels}}[${window}])`;
const sumRate = (metric: string, labels: string, by = '', window?: string) =>
  `sum ${by === '' ? '' : `by (${by}) `}(${rate(metric, labels, window)})`;
const calls = (labels: string, by?: string, window?: string) =>
  sumRate('traces_span_metrics_calls_total', labels, by, window);
/** 0 where there were calls and none failed; nothing where there were no calls. */
const errorRatio = (by: string, window?: string) =>
  `(${calls(failed, by, window)} or 0 * ${calls(client, by, window)}) / (${calls(client, by, window)} > 0)`;
/** Nothing, rather than NaN, where there were no calls. */
const quantile = (q: number, by: string, window?: string, labels = client, of = 'traces_span_metrics') =>
  `histogram_quantile(${q}, ${sumRate(`${of}_duration_seconds_bucket`, labels, ['le', by].filter(Boolean).join(', '), window)}) >= 0`;
const seconds = (labels: string, by?: string, window?: string) =>
  sumRate('traces_span_metrics_duration_seconds_sum', labels, by, window);
const count = (labels: string, by?: string, window?: string) =>
  sumRate('traces_span_metrics_duration_seconds_count', labels, by, window);
const meanSeconds = (labels: string, by?: string, window?: string) =>
  `${seconds(labels, by, window)} / (${count(labels, by, window)} > 0)`;
/** Spans that did not fit the queue, and spans that the exporter dropped. */
const lostSpans = (fn: string, window: string, by = '') => {
  const lost = (metric: string) => `${fn}(${metric}{error_type!="", ${selectedService}}[${window}])`;
  return `sum ${by}(${lost('otel_sdk_processor_span_processed_total')} or ${lost('otel_sdk_exporter_span_exported_total')})`;
};

const perProcess = (metric: string) => `sum by (service_name, instance) (${metric}{${selectedService}})`;

const perTarget = 'db_operation_name, db_collection_name';
const range = '$__range';

export const SECTIONS: Section[] = [
  {
    title: 'Overview',
    panels: [
      {
        title: 'Calls per second',
        type: 'stat',
        unit: 'reqps',
        width: 4,
        source: 'spans',
        description: 'Milvus operations of the selected services and collections.',
        queries: [{ expr: calls(client), legend: 'calls' }],
      },
      {
        title: 'Failed calls',
        type: 'stat',
        unit: 'percentunit',
        width: 4,
        source: 'spans',
        description: 'The share of the calls that failed. MilvusErrorRatio fires above 5 %.',
        redFrom: 0.05,
        queries: [
          { expr: `(${calls(failed)} or vector(0)) / (${calls(client)} > 0)`, legend: 'error ratio' },
        ],
      },
      {
        title: 'p99 duration',
        type: 'stat',
        unit: 's',
        width: 4,
        source: 'spans',
        description: 'Over all selected operations, as the client measures it.',
        queries: [{ expr: quantile(0.99, ''), legend: 'p99' }],
      },
      {
        title: 'Calls in flight',
        type: 'stat',
        unit: 'short',
        width: 4,
        source: 'app metrics',
        description:
          'Operations that the clients wait for. The panels whose figures come from spans have a call only when it has ended: ' +
          'while Milvus hangs, look here.',
        queries: [{ expr: `sum (milvus_client_active_operations{${selected}})`, legend: 'in flight' }],
      },
      {
        title: 'Lost spans',
        type: 'stat',
        unit: 'short',
        width: 4,
        source: 'app metrics',
        description:
          'Spans that the apps could not deliver in the time range. With any, the other panels count too few calls.',
        redFrom: 1,
        queries: [{ expr: lostSpans('increase', range), legend: 'lost' }],
      },
      {
        title: 'Collector',
        type: 'stat',
        unit: 'short',
        width: 4,
        source: 'collector',
        description: 'Whether Prometheus can read the metrics of the collector.',
        mappings: { '0': { text: 'unreachable', color: 'red' }, '1': { text: 'up', color: 'green' } },
        queries: [{ expr: 'min (up{job=~"otel-collector|apps"})', legend: 'collector' }],
      },
    ],
  },
  {
    title: 'Calls',
    panels: [
      {
        title: 'Calls per second by operation',
        type: 'timeseries',
        unit: 'reqps',
        width: 8,
        source: 'spans',
        description: 'Counted before the sampling: all calls, also those whose traces are not kept.',
        queries: [{ expr: calls(client, 'db_operation_name'), legend: '{{db_operation_name}}' }],
      },
      {
        title: 'Failed calls per second by error',
        type: 'timeseries',
        unit: 'reqps',
        width: 8,
        source: 'spans',
        description: 'error.type is the name of Milvus’ error code or of the gRPC status.',
        noData: 'No failed call in this time range.',
        queries: [
          {
            expr: calls(failed, 'db_operation_name, error_type'),
            legend: '{{db_operation_name}} {{error_type}}',
          },
        ],
      },
      {
        title: 'Share of failed calls by operation',
        type: 'timeseries',
        unit: 'percentunit',
        width: 8,
        source: 'spans',
        description: '',
        queries: [{ expr: errorRatio('db_operation_name'), legend: '{{db_operation_name}}' }],
      },
      {
        title: 'Duration',
        type: 'timeseries',
        unit: 's',
        width: 12,
        source: 'spans',
        description:
          'A point is one call and opens its trace in Jaeger. Only kept traces have points: failed and slow calls and a ' +
          'share of the others. So the line of kept traces is above that of all calls.',
        queries: [
          { expr: quantile(0.5, ''), legend: 'p50' },
          { expr: quantile(0.95, ''), legend: 'p95' },
          { expr: quantile(0.99, ''), legend: 'p99' },
          {
            expr: quantile(0.99, '', undefined, client, 'traces_kept'),
            legend: 'p99 of kept traces',
            exemplars: true,
          },
        ],
      },
      {
        title: 'p99 by operation and collection',
        type: 'timeseries',
        unit: 's',
        width: 12,
        source: 'spans',
        description:
          'MilvusSlowCalls fires when that of searches, queries or writes of a service is above 1 s for 10 minutes.',
        queries: [
          { expr: quantile(0.99, perTarget), legend: '{{db_operation_name}} {{db_collection_name}}' },
        ],
      },
      {
        title: 'Operations and collections',
        type: 'table',
        unit: ['reqps', 'percentunit', 's', 's', 's'],
        width: 24,
        source: 'spans',
        description: 'Over the whole time range.',
        queries: [
          { expr: `${calls(client, perTarget, range)} > 0`, legend: 'Calls per second' },
          { expr: errorRatio(perTarget, range), legend: 'Failed' },
          { expr: quantile(0.5, perTarget, range), legend: 'p50' },
          { expr: quantile(0.95, perTarget, range), legend: 'p95' },
          { expr: quantile(0.99, perTarget, range), legend: 'p99' },
        ],
      },
    ],
  },
  {
    title: 'Client, server and network (all services and collections)',
    panels: [
      {
        title: 'Mean duration of a call',
        type: 'timeseries',
        unit: 's',
        width: 12,
        source: 'spans',
        description:
          'Searches, queries and writes. Client: the mean of the client spans. Server: the time of Milvus’ spans for the same ' +
          'RPCs, per client span. Gap: the difference, which is the network, gRPC, the SDK, retries and the wait for a connection. An ' +
          'approximation: spans are summed, not matched one by one. An operation that sends several RPCs at the same time ' +
          'counts each, so the gap is too small. Calls that are not traced are in neither line.',
        queries: [
          { expr: meanSeconds(requestClient), legend: 'client' },
          { expr: `${seconds(requestServer)} / (${count(requestClient)} > 0)`, legend: 'server' },
          {
            expr: `(${seconds(requestClient)} - ${seconds(requestServer)}) / (${count(requestClient)} > 0)`,
            legend: 'network gap',
          },
        ],
      },
      {
        title: 'p99 of the server by RPC',
        type: 'timeseries',
        unit: 's',
        width: 12,
        source: 'spans',
        description:
          'Durations of the spans with which Milvus answers. Milvus does not report the collection here.',
        noData: 'No spans of Milvus in this time range. See “No spans of Milvus” in docs/troubleshooting.md.',
        queries: [
          {
            expr: quantile(0.99, 'rpc_method', undefined, anyServer),
            legend: '{{rpc_method}}',
          },
        ],
      },
      {
        title: 'Client and server by operation',
        type: 'table',
        unit: ['s', 's', 's'],
        width: 24,
        source: 'spans',
        description:
          'Means over the time range. An operation is compared with the RPC of the same name. get has no server column: it ' +
          'uses Query, whose mean is that of get and query.',
        queries: [
          { expr: meanSeconds(requestClient, 'rpc', range), legend: 'Client' },
          { expr: meanSeconds(requestServer, 'rpc', range), legend: 'Server' },
          {
            expr: `${meanSeconds(requestClient, 'rpc', range)} - ${meanSeconds(requestServer, 'rpc', range)}`,
            legend: 'Gap',
          },
        ],
      },
    ],
  },
  {
    title: 'Clients (apps with OTEL_METRICS_EXPORTER=otlp)',
    panels: [
      {
        title: 'Returned rows per call',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        source: 'app metrics',
        description:
          'Mean number of rows. It is below the limit when fewer rows match the filter or the range.',
        queries: [
          {
            expr:
              `${sumRate('db_client_response_returned_rows_sum', selected, perTarget)}` +
              ` / (${sumRate('db_client_response_returned_rows_count', selected, perTarget)} > 0)`,
            legend: '{{db_operation_name}} {{db_collection_name}}',
          },
        ],
      },
      {
        title: 'Retries per second',
        type: 'timeseries',
        unit: 'reqps',
        width: 8,
        source: 'app metrics',
        description:
          'RPCs that failed and that the SDK sent again. Above 0: calls take longer, by the wait before each retry. In the ' +
          'other panels, a call with retries is one call.',
        queries: [
          {
            expr: sumRate('milvus_client_operation_retries_total', selected, 'db_operation_name'),
            legend: '{{db_operation_name}}',
          },
        ],
      },
      {
        title: 'Calls in flight by operation',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        source: 'app metrics',
        description: 'At the time of each export of the app, once a minute by default.',
        queries: [
          {
            expr: `sum by (db_operation_name) (milvus_client_active_operations{${selected}})`,
            legend: '{{db_operation_name}}',
          },
        ],
      },
      {
        title: 'Connections',
        type: 'timeseries',
        unit: 'short',
        width: 12,
        source: 'app metrics',
        description:
          'Connections of the SDK’s pools, summed over the processes. When all up to the limit are used, calls wait.',
        queries: [
          {
            expr: `sum by (db_client_connection_pool_name, db_client_connection_state) (db_client_connection_count{${selectedService}})`,
            legend: '{{db_client_connection_pool_name}} {{db_client_connection_state}}',
          },
          {
            expr: `sum by (db_client_connection_pool_name) (db_client_connection_limit{${selectedService}})`,
            legend: '{{db_client_connection_pool_name}} limit',
          },
        ],
      },
      {
        title: 'Calls that wait for a connection',
        type: 'timeseries',
        unit: 'short',
        width: 12,
        source: 'app metrics',
        description:
          'Above 0: all connections of a pool are used, because Milvus answers slowly or because the client’s pool.max (10 by ' +
          'default) is too small for the load. This time is part of the network gap.',
        queries: [
          {
            expr: `sum by (db_client_connection_pool_name) (db_client_connection_pending_requests{${selectedService}})`,
            legend: '{{db_client_connection_pool_name}}',
          },
        ],
      },
    ],
  },
  {
    title: 'Telemetry',
    panels: [
      {
        title: 'Lost spans per second',
        type: 'timeseries',
        unit: 'short',
        width: 8,
        source: 'app metrics',
        description:
          'By cause. queue_full: the app created more spans than it could send. Others: the status with which the collector rejected them.',
        queries: [
          {
            expr: lostSpans('rate', '$__rate_interval', 'by (service_name, error_type) '),
            legend: '{{service_name}} {{error_type}}',
          },
        ],
      },
      {
        title: 'Spans waiting in the apps',
        type: 'timeseries',
        unit: 'percentunit',
        width: 8,
        source: 'app metrics',
        description:
          'Queued and in flight, as a share of OTEL_BSP_MAX_QUEUE_SIZE, in the process of the service that has the most. The ' +
          'share grows while the collector is slow. At 100 %, spans are lost.',
        queries: [
          {
            expr:
              `max by (service_name) ((${perProcess('otel_sdk_processor_span_queue_size')}` +
              ` + ${perProcess('otel_sdk_exporter_span_inflight')}) / ${perProcess('otel_sdk_processor_span_queue_capacity')})`,
            legend: '{{service_name}}',
          },
        ],
      },
      {
        title: 'Share of calls whose trace is kept',
        type: 'timeseries',
        unit: 'percentunit',
        width: 8,
        source: 'spans',
        description: 'About KEEP_PERCENT; more while calls fail or are slow.',
        queries: [
          {
            expr:
              `${sumRate('traces_kept_calls_total', client, 'service_name')}` +
              ` / (${calls(client, 'service_name')} > 0)`,
            legend: '{{service_name}}',
          },
        ],
      },
      {
        title: 'Spans through the collector',
        type: 'timeseries',
        unit: 'short',
        width: 12,
        source: 'collector',
        description:
          'Per second. Refused spans are sent again by the apps. Failed spans could not be stored in Jaeger and are lost.',
        queries: [
          { expr: 'sum (rate(otelcol_receiver_accepted_spans[$__rate_interval]))', legend: 'received' },
          { expr: 'sum (rate(otelcol_receiver_refused_spans[$__rate_interval]))', legend: 'refused' },
          { expr: 'sum (rate(otelcol_exporter_sent_spans[$__rate_interval]))', legend: 'stored' },
          {
            expr: 'sum (rate(otelcol_exporter_send_failed_spans[$__rate_interval])) or vector(0)',
            legend: 'failed',
          },
        ],
      },
      {
        title: 'The collector’s queue to Jaeger',
        type: 'timeseries',
        unit: 'percentunit',
        width: 12,
        source: 'collector',
        description:
          'Batches on disk. The queue grows while Jaeger is unreachable. At 100 %, spans are lost.',
        queries: [
          {
            expr: 'max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)',
            legend: '{{exporter}}',
          },
        ],
      },
    ],
  },
];
