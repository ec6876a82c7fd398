/** Names of the gRPC codes that are retried. Source: OTLP specification, "Failures". */
export const RETRYABLE_CODES = [
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'RESOURCE_EXHAUSTED',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNAVAILABLE',
  'DATA_LOSS',
];
