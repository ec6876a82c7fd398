/**
 * Unsupported parts of OpenTelemetry's specification, with the reason: each variable or value of
 * specification-variables.json without a row.
 */

/** Variable → reason. */
export const UNSUPPORTED_VARIABLES: Readonly<Record<string, string>> = {
  OTEL_ENTITIES: 'In development; the SDK for JavaScript has no entities.',
  OTEL_EXPERIMENTAL_CONFIG_FILE:
    'Deprecated by the specification; OTEL_CONFIG_FILE is its name now, and a line reports it.',
  OTEL_EXPORTER_OTLP_METRIC_INSECURE:
    'Obsolete in the specification; OTEL_EXPORTER_OTLP_METRICS_INSECURE is its name now, and a line reports it.',
  OTEL_EXPORTER_OTLP_SPAN_INSECURE:
    'Obsolete in the specification; OTEL_EXPORTER_OTLP_TRACES_INSECURE is its name now, and a line reports it.',
  OTEL_EXPORTER_ZIPKIN_PROTOCOL: 'Reserved by the specification, without a meaning so far.',
  OTEL_EXPORTER_ZIPKIN_TIMEOUT:
    'Deprecated by the specification; the Zipkin exporter for JavaScript has no time-out.',
  OTEL_METRICS_EXEMPLAR_FILTER: 'The metrics SDK for JavaScript has no exemplars.',
};

const STDOUT = 'In development; console writes the same to standard output in another form.';
const LOGGING = 'Deprecated by the specification; console is its name now.';
const JAEGER_SAMPLER =
  "Not part of OpenTelemetry's SDK for JavaScript. Sample in the collector, or by traceidratio.";
const PROPAGATOR = 'Milvus does not read it, and its package is not part of the preload.';

/** Variable → value → reason. */
export const UNSUPPORTED_VALUES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  OTEL_TRACES_EXPORTER: { logging: LOGGING, 'otlp/stdout': STDOUT },
  OTEL_METRICS_EXPORTER: { logging: LOGGING, 'otlp/stdout': STDOUT },
  OTEL_LOGS_EXPORTER: { logging: LOGGING, 'otlp/stdout': STDOUT },
  OTEL_TRACES_SAMPLER: {
    jaeger_remote: JAEGER_SAMPLER,
    parentbased_jaeger_remote: JAEGER_SAMPLER,
    xray: JAEGER_SAMPLER,
  },
  OTEL_PROPAGATORS: { jaeger: PROPAGATOR, xray: PROPAGATOR, ottrace: PROPAGATOR },
};
