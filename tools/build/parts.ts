/** The lazily loaded parts of the bundle. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CATALOG } from '../../src/instrumentations/catalog.ts';

const root = join(import.meta.dirname, '..', '..');

/** Upstream's instrumentations, adapted to this preload. */
const adapted = join(root, 'src/instrumentations/adapted');
const ADAPTED = new Set(readdirSync(adapted));

/** File name → its source. */
export const PARTS: Record<string, string> = {
  ...Object.fromEntries(
    CATALOG.map(({ name, className }) => [
      `instrumentation-${name}`,
      ADAPTED.has(`${name}.ts`)
        ? `export { Instrumentation } from '${join(adapted, `${name}.ts`)}';`
        : `export { ${className} as Instrumentation } from '@opentelemetry/instrumentation-${name}';`,
    ]),
  ),
  'bundled-milvus': `export { BundledCalls } from '${join(root, 'src/instrumentations/bundled-milvus.ts')}';`,
  'declarative-configuration': `export { startNodeSDK } from '@opentelemetry/sdk-node';`,
  'metrics-and-logs': `export { logProcessors, metricReaders } from '${join(root, 'src/sdk/metrics-and-logs.ts')}';`,
  'otlp-json': readableJson('Trace', 'serializer'),
  'otlp-logs': `${readableJson('Logs', 'json')}
export { ProtobufLogsSerializer as protobuf } from '@opentelemetry/otlp-transformer';`,
  'otlp-metrics': `${readableJson('Metrics', 'json')}
export { ProtobufMetricsSerializer as protobuf } from '@opentelemetry/otlp-transformer';
export {
  CumulativeTemporalitySelector as cumulative,
  DeltaTemporalitySelector as delta,
  LowMemoryTemporalitySelector as lowmemory,
} from '@opentelemetry/exporter-metrics-otlp-http';`,
  'otlp-over-grpc': `export { openGrpcSender as openSender } from '${join(root, 'src/otlp/grpc-sender.ts')}';`,
  'otlp-protobuf': `export { ProtobufTraceSerializer as serializer } from '@opentelemetry/otlp-transformer';`,
  'queue-metrics': `export { observeQueues } from '${join(root, 'src/trace/queue-metrics.ts')}';`,
  'second-sdk': `export * from '${join(root, 'src/sdk/second-sdk.ts')}';`,
  'synchronous-flush': `export { sendNow } from '${join(root, 'src/shutdown/synchronous-flush.ts')}';`,
  'otlp-over-http': `export { openHttpSender as openSender } from '${join(root, 'src/otlp/http-sender.ts')}';`,
  'detector-container': detectors('container', 'containerDetector'),
  'detector-alibaba': detectors('alibaba-cloud', 'alibabaCloudEcsDetector'),
  'detector-aws': detectors(
    'aws',
    'awsEc2Detector',
    'awsEcsDetector',
    'awsEksDetector',
    'awsBeanstalkDetector',
    'awsLambdaDetector',
  ),
  'detector-azure': detectors(
    'azure',
    'azureAppServiceDetector',
    'azureFunctionsDetector',
    'azureVmDetector',
  ),
  'detector-gcp': detectors('gcp', 'gcpDetector'),
};

/** Packages of NodeSDK for signals and formats that are usually off: each becomes a part. */
export const LAZY = [
  '@opentelemetry/exporter-trace-otlp-grpc',
  '@opentelemetry/exporter-trace-otlp-http',
  '@opentelemetry/exporter-trace-otlp-proto',
  '@opentelemetry/exporter-zipkin',
  '@opentelemetry/exporter-metrics-otlp-grpc',
  '@opentelemetry/exporter-metrics-otlp-http',
  '@opentelemetry/exporter-metrics-otlp-proto',
  '@opentelemetry/exporter-logs-otlp-grpc',
  '@opentelemetry/exporter-logs-otlp-http',
  '@opentelemetry/exporter-logs-otlp-proto',
  '@opentelemetry/exporter-prometheus',
  '@opentelemetry/propagator-b3',
  '@opentelemetry/sdk-metrics',
  '@opentelemetry/sdk-logs',
];
export const partOf = (packageName: string) => packageName.replace('@opentelemetry/', '');
for (const name of LAZY) PARTS[partOf(name)] = `export * from '${name}';`;

function readableJson(signal: string, exported: string): string {
  return `import { Json${signal}Serializer } from '@opentelemetry/otlp-transformer';
import { readable } from '${join(root, 'src/otlp/json-numbers.ts')}';
export const ${exported} = readable(Json${signal}Serializer);`;
}

function detectors(name: string, ...exported: string[]): string {
  return `import { ${exported.join(', ')} } from '@opentelemetry/resource-detector-${name}';
export const detectors = [${exported.join(', ')}];`;
}
