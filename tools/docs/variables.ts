/** Group and description of each variable in the documents. The bundle does not contain this file. */
import type { SETTINGS } from '../../src/config/settings.ts';

export type Group =
  | 'Service'
  | 'Export'
  | 'Sampling'
  | 'Instrumentations'
  | 'Milvus'
  | 'Batching and exit'
  | 'Limits'
  | 'Diagnostics';

export const VARIABLE_DOCUMENTATION: Readonly<Record<keyof typeof SETTINGS, { group: Group; doc: string }>> =
  {
    sdkDisabled: {
      group: 'Service',
      doc: 'Turns everything off: nothing is loaded, and the app runs as without the preload.',
    },
    serviceName: { group: 'Service', doc: "The service's name in the trace viewer." },
    resourceAttributes: {
      group: 'Service',
      doc: 'Attributes of every span, as key=value pairs, for instance deployment.environment.name=production.',
    },
    resourceDetectors: {
      group: 'Service',
      doc: 'Detectors of resource attributes. Cloud detectors use the network. Arguments of the process may hold secrets, so only processargs adds them; process and all do not.',
    },
    configFile: {
      group: 'Service',
      doc: 'A declarative configuration file, which replaces the variables here. Only these still apply: OTEL_SDK_DISABLED, OTEL_LOG_LEVEL, OTEL_NODE_FLUSH_TIMEOUT and the variables for instrumentations and Milvus.',
    },
    tracesExporter: { group: 'Export', doc: 'Where spans go.' },
    metricsExporter: {
      group: 'Export',
      doc: 'Where metrics go. Off until set, because Jaeger rejects metrics.',
    },
    logsExporter: {
      group: 'Export',
      doc: 'Where log records go. Off until set, because Jaeger rejects logs.',
    },
    endpoint: { group: 'Export', doc: 'The collector, for all signals.' },
    tracesEndpoint: {
      group: 'Export',
      doc: 'The collector for traces only. The URL is used unchanged, with its path.',
    },
    metricsEndpoint: {
      group: 'Export',
      doc: 'The collector for metrics only. The URL is used unchanged, with its path.',
    },
    logsEndpoint: {
      group: 'Export',
      doc: 'The collector for logs only. The URL is used unchanged, with its path.',
    },
    protocol: { group: 'Export', doc: 'Protocol to the collector.' },
    tracesProtocol: { group: 'Export', doc: 'As above, for traces only.' },
    metricsProtocol: { group: 'Export', doc: 'As above, for metrics only.' },
    logsProtocol: { group: 'Export', doc: 'As above, for logs only.' },
    headers: {
      group: 'Export',
      doc: 'Headers sent to the collector, for instance authorization=Bearer%20TOKEN. Never printed.',
    },
    tracesHeaders: { group: 'Export', doc: 'Headers for traces only. Never printed.' },
    metricsHeaders: { group: 'Export', doc: 'Headers for metrics only. Never printed.' },
    logsHeaders: { group: 'Export', doc: 'Headers for logs only. Never printed.' },
    exportTimeoutMs: { group: 'Export', doc: 'Time limit of one request to the collector, in ms.' },
    tracesExportTimeoutMs: { group: 'Export', doc: 'As above, for traces only.' },
    metricsExportTimeoutMs: { group: 'Export', doc: 'As above, for metrics only.' },
    logsExportTimeoutMs: { group: 'Export', doc: 'As above, for logs only.' },
    compression: { group: 'Export', doc: 'Compression of requests to the collector.' },
    tracesCompression: { group: 'Export', doc: 'As above, for traces only.' },
    metricsCompression: { group: 'Export', doc: 'As above, for metrics only.' },
    logsCompression: { group: 'Export', doc: 'As above, for logs only.' },
    insecure: { group: 'Export', doc: 'No TLS for a gRPC endpoint without a scheme.' },
    tracesInsecure: { group: 'Export', doc: 'As above, for traces only.' },
    metricsInsecure: { group: 'Export', doc: 'As above, for metrics only.' },
    logsInsecure: { group: 'Export', doc: 'As above, for logs only.' },
    certificate: {
      group: 'Export',
      doc: "File with the certificate authority of the collector's certificate.",
    },
    tracesCertificate: { group: 'Export', doc: 'As above, for traces only.' },
    metricsCertificate: { group: 'Export', doc: 'As above, for metrics only.' },
    logsCertificate: { group: 'Export', doc: 'As above, for logs only.' },
    clientKey: { group: 'Export', doc: 'File with the private key for mutual TLS.' },
    tracesClientKey: { group: 'Export', doc: 'As above, for traces only.' },
    metricsClientKey: { group: 'Export', doc: 'As above, for metrics only.' },
    logsClientKey: { group: 'Export', doc: 'As above, for logs only.' },
    clientCertificate: { group: 'Export', doc: 'File with the certificate for mutual TLS.' },
    tracesClientCertificate: { group: 'Export', doc: 'As above, for traces only.' },
    metricsClientCertificate: { group: 'Export', doc: 'As above, for metrics only.' },
    logsClientCertificate: { group: 'Export', doc: 'As above, for logs only.' },
    metricsTemporality: {
      group: 'Export',
      doc: 'Whether sums and histograms are sent as totals or as changes since the last export.',
    },
    histogramAggregation: { group: 'Export', doc: 'Aggregation of histograms without explicit buckets.' },
    metricExportIntervalMs: { group: 'Export', doc: 'Time between two exports of metrics, in ms.' },
    metricExportTimeoutMs: {
      group: 'Export',
      doc: 'Time limit of one export of metrics, in ms; at most the interval.',
    },
    zipkinEndpoint: {
      group: 'Export',
      doc: 'The Zipkin collector. The URL is used unchanged, with its path.',
    },
    prometheusHost: {
      group: 'Export',
      doc: 'Address that the endpoint for Prometheus listens on, 0.0.0.0 for all addresses.',
    },
    prometheusPort: { group: 'Export', doc: 'Port that the endpoint for Prometheus listens on.' },
    sampler: { group: 'Sampling', doc: 'Which traces are kept. The Milvus server follows this decision.' },
    samplerRatio: { group: 'Sampling', doc: 'Share of traces that a traceidratio sampler keeps, 0 to 1.' },
    propagators: {
      group: 'Sampling',
      doc: 'Formats of the trace context on the wire. Milvus reads tracecontext.',
    },
    enabledInstrumentations: {
      group: 'Instrumentations',
      doc: 'Turns on only these instrumentations: milvus, http, express, pg and so on.',
    },
    disabledInstrumentations: { group: 'Instrumentations', doc: 'Turns these instrumentations off.' },
    captureFilter: {
      group: 'Milvus',
      doc: 'Puts the filter expression into db.query.text. It may hold user data, so it is off.',
    },
    rpcSpans: { group: 'Milvus', doc: 'A child span for each RPC that an operation makes.' },
    scheduleDelayMs: { group: 'Batching and exit', doc: 'Longest time until a span is sent, in ms.' },
    maxQueueSize: {
      group: 'Batching and exit',
      doc: 'Maximum number of spans that are kept until the collector accepts them, with 8 KiB each on average. Further spans are dropped and counted.',
    },
    maxExportBatchSize: {
      group: 'Batching and exit',
      doc: 'Maximum number of spans in one request. A request of 512 KiB is sent even with fewer.',
    },
    batchTimeoutMs: {
      group: 'Batching and exit',
      doc: 'Time limit of one batch with all its attempts, in ms.',
    },
    flushTimeoutMs: {
      group: 'Batching and exit',
      doc: 'Longest time that exit waits for pending spans to be sent, in ms.',
    },
    attributeValueLengthLimit: {
      group: 'Limits',
      doc: 'Longest text of an attribute, in characters. Longer texts are cut.',
    },
    attributeCountLimit: { group: 'Limits', doc: 'Maximum number of attributes of a span or log record.' },
    spanAttributeValueLengthLimit: { group: 'Limits', doc: 'The length limit for spans only.' },
    spanAttributeCountLimit: { group: 'Limits', doc: 'The count limit for spans only.' },
    spanEventCountLimit: { group: 'Limits', doc: 'Maximum number of events of a span.' },
    spanLinkCountLimit: { group: 'Limits', doc: 'Maximum number of links of a span.' },
    eventAttributeCountLimit: { group: 'Limits', doc: 'Maximum number of attributes of an event of a span.' },
    linkAttributeCountLimit: { group: 'Limits', doc: 'Maximum number of attributes of a link of a span.' },
    logAttributeValueLengthLimit: { group: 'Limits', doc: 'The length limit for log records only.' },
    logAttributeCountLimit: { group: 'Limits', doc: 'The count limit for log records only.' },
    logScheduleDelayMs: {
      group: 'Batching and exit',
      doc: 'Longest time until a log record is sent, in ms.',
    },
    logMaxQueueSize: {
      group: 'Batching and exit',
      doc: 'Maximum number of log records that are kept until they are sent. Further ones are dropped.',
    },
    logMaxExportBatchSize: {
      group: 'Batching and exit',
      doc: 'Maximum number of log records in one request.',
    },
    logBatchTimeoutMs: {
      group: 'Batching and exit',
      doc: 'Time limit of one batch of log records, in ms.',
    },
    logLevel: {
      group: 'Diagnostics',
      doc: "The lines that are written to stderr. debug includes OpenTelemetry's messages.",
    },
  };
