/** What documents say of each variable: its group there, and one sentence. Nothing of the bundle reads it. */
import type { SETTINGS } from '../../src/config/settings.ts';

export type Group =
  | 'Service'
  | 'Export'
  | 'Sampling'
  | 'Instrumentations'
  | 'Milvus'
  | 'Batching and ends'
  | 'Limits'
  | 'Diagnostics';

export const VARIABLE_DOCUMENTATION: Readonly<Record<keyof typeof SETTINGS, { group: Group; doc: string }>> =
  {
    sdkDisabled: {
      group: 'Service',
      doc: 'Switches everything off: nothing is loaded, the app runs as without the preload.',
    },
    serviceName: { group: 'Service', doc: "The service's name in the trace viewer." },
    resourceAttributes: {
      group: 'Service',
      doc: 'Attributes of every span, as key=value pairs, for instance deployment.environment.name=production.',
    },
    resourceDetectors: {
      group: 'Service',
      doc: 'Detectors of resource attributes. Those of clouds ask the network. The arguments of the process may hold secrets: only processargs adds them, neither process nor all does.',
    },
    configFile: {
      group: 'Service',
      doc: 'A declarative configuration file, which describes the telemetry instead of the variables here. Beside it count only OTEL_SDK_DISABLED, OTEL_LOG_LEVEL, OTEL_NODE_FLUSH_TIMEOUT and those for instrumentations and Milvus.',
    },
    tracesExporter: { group: 'Export', doc: 'Where spans go.' },
    metricsExporter: {
      group: 'Export',
      doc: 'Where metrics go. Off until set, because Jaeger refuses metrics.',
    },
    logsExporter: {
      group: 'Export',
      doc: 'Where log records go. Off until set, because Jaeger refuses logs.',
    },
    endpoint: { group: 'Export', doc: 'The collector, for all signals.' },
    tracesEndpoint: { group: 'Export', doc: 'The collector for traces only; used as it is, with its path.' },
    metricsEndpoint: {
      group: 'Export',
      doc: 'The collector for metrics only; used as it is, with its path.',
    },
    logsEndpoint: { group: 'Export', doc: 'The collector for logs only; used as it is, with its path.' },
    protocol: { group: 'Export', doc: 'Protocol to the collector.' },
    tracesProtocol: { group: 'Export', doc: 'The same for traces only.' },
    metricsProtocol: { group: 'Export', doc: 'The same for metrics only.' },
    logsProtocol: { group: 'Export', doc: 'The same for logs only.' },
    headers: {
      group: 'Export',
      doc: 'Headers sent to the collector, for instance authorization=Bearer%20TOKEN. Never printed.',
    },
    tracesHeaders: { group: 'Export', doc: 'Headers for traces only. Never printed.' },
    metricsHeaders: { group: 'Export', doc: 'Headers for metrics only. Never printed.' },
    logsHeaders: { group: 'Export', doc: 'Headers for logs only. Never printed.' },
    exportTimeoutMs: { group: 'Export', doc: 'Longest one request to the collector may take, in ms.' },
    tracesExportTimeoutMs: { group: 'Export', doc: 'The same for traces only.' },
    metricsExportTimeoutMs: { group: 'Export', doc: 'The same for metrics only.' },
    logsExportTimeoutMs: { group: 'Export', doc: 'The same for logs only.' },
    compression: { group: 'Export', doc: 'Compression of what is sent.' },
    tracesCompression: { group: 'Export', doc: 'The same for traces only.' },
    metricsCompression: { group: 'Export', doc: 'The same for metrics only.' },
    logsCompression: { group: 'Export', doc: 'The same for logs only.' },
    insecure: { group: 'Export', doc: 'No TLS for a gRPC endpoint that is given without a scheme.' },
    tracesInsecure: { group: 'Export', doc: 'The same for traces only.' },
    metricsInsecure: { group: 'Export', doc: 'The same for metrics only.' },
    logsInsecure: { group: 'Export', doc: 'The same for logs only.' },
    certificate: {
      group: 'Export',
      doc: "File with the certificate authority of the collector's certificate.",
    },
    tracesCertificate: { group: 'Export', doc: 'The same for traces only.' },
    metricsCertificate: { group: 'Export', doc: 'The same for metrics only.' },
    logsCertificate: { group: 'Export', doc: 'The same for logs only.' },
    clientKey: { group: 'Export', doc: 'File with the private key for mutual TLS.' },
    tracesClientKey: { group: 'Export', doc: 'The same for traces only.' },
    metricsClientKey: { group: 'Export', doc: 'The same for metrics only.' },
    logsClientKey: { group: 'Export', doc: 'The same for logs only.' },
    clientCertificate: { group: 'Export', doc: 'File with the certificate for mutual TLS.' },
    tracesClientCertificate: { group: 'Export', doc: 'The same for traces only.' },
    metricsClientCertificate: { group: 'Export', doc: 'The same for metrics only.' },
    logsClientCertificate: { group: 'Export', doc: 'The same for logs only.' },
    metricsTemporality: {
      group: 'Export',
      doc: 'Whether sums and histograms are sent as totals or as changes since the last export.',
    },
    histogramAggregation: { group: 'Export', doc: 'How histograms without buckets of their own are kept.' },
    metricExportIntervalMs: { group: 'Export', doc: 'Time between two exports of metrics, in ms.' },
    metricExportTimeoutMs: {
      group: 'Export',
      doc: 'Longest one export of metrics may take, in ms; at most the interval.',
    },
    zipkinEndpoint: { group: 'Export', doc: 'The Zipkin collector; used as it is, with its path.' },
    prometheusHost: {
      group: 'Export',
      doc: 'Address that the endpoint for Prometheus listens on; 0.0.0.0 for all.',
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
      doc: 'Only these instrumentations, by name: milvus, http, express, pg and so on.',
    },
    disabledInstrumentations: { group: 'Instrumentations', doc: 'Not these instrumentations, by name.' },
    captureFilter: {
      group: 'Milvus',
      doc: 'Puts the filter expression into db.query.text. It may hold user data, so it is off.',
    },
    rpcSpans: { group: 'Milvus', doc: 'A child span for each RPC that an operation makes.' },
    scheduleDelayMs: { group: 'Batching and ends', doc: 'Longest a span waits before it is sent, in ms.' },
    maxQueueSize: {
      group: 'Batching and ends',
      doc: 'Spans that may wait to be sent, with 8 KiB each on average; what comes beyond is dropped and counted.',
    },
    maxExportBatchSize: {
      group: 'Batching and ends',
      doc: 'Spans in one request; one of 512 KiB is full with fewer.',
    },
    batchTimeoutMs: {
      group: 'Batching and ends',
      doc: 'Longest one batch may take with all its attempts, in ms.',
    },
    flushTimeoutMs: {
      group: 'Batching and ends',
      doc: "Longest the app's end is held up to send what is left, in ms.",
    },
    attributeValueLengthLimit: {
      group: 'Limits',
      doc: "Longest an attribute's text may be, in characters; the rest is cut.",
    },
    attributeCountLimit: { group: 'Limits', doc: 'Attributes that one span or log record may have.' },
    spanAttributeValueLengthLimit: { group: 'Limits', doc: 'The length limit for spans only.' },
    spanAttributeCountLimit: { group: 'Limits', doc: 'The count limit for spans only.' },
    spanEventCountLimit: { group: 'Limits', doc: 'Events that one span may have.' },
    spanLinkCountLimit: { group: 'Limits', doc: 'Links that one span may have.' },
    eventAttributeCountLimit: { group: 'Limits', doc: 'Attributes that one event of a span may have.' },
    linkAttributeCountLimit: { group: 'Limits', doc: 'Attributes that one link of a span may have.' },
    logAttributeValueLengthLimit: { group: 'Limits', doc: 'The length limit for log records only.' },
    logAttributeCountLimit: { group: 'Limits', doc: 'The count limit for log records only.' },
    logScheduleDelayMs: {
      group: 'Batching and ends',
      doc: 'Longest a log record waits before it is sent, in ms.',
    },
    logMaxQueueSize: {
      group: 'Batching and ends',
      doc: 'Log records that may wait to be sent; more are dropped.',
    },
    logMaxExportBatchSize: { group: 'Batching and ends', doc: 'Log records in one request.' },
    logBatchTimeoutMs: {
      group: 'Batching and ends',
      doc: 'Longest one batch of log records may take, in ms.',
    },
    logLevel: {
      group: 'Diagnostics',
      doc: "What is written to stderr; debug shows OpenTelemetry's own messages too.",
    },
  };
