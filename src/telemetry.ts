/** Settings → a started NodeSDK, with a way to send what is left. */

import { metrics, trace } from '@opentelemetry/api';
import type { Instrumentation } from '@opentelemetry/instrumentation';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  SimpleSpanProcessor,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import type { Diagnostics } from './diagnostics.ts';
import { ObservedExporter } from './exporter.ts';
import { resourceDetectors } from './resource.ts';
import type { Settings } from './settings.ts';

export interface Telemetry {
  /** Sends what has ended and is not sent yet. Settles when it is sent or given up; never rejects. */
  flush(): Promise<void>;
  /** Spans that have ended and whose arrival is not confirmed. */
  unsent(): number;
  /** Hands the SDK's providers to an instrumentation that was made after the start. */
  adopt(instrumentation: Instrumentation): void;
}

export function startTelemetry(settings: Settings, serviceName: string, diagnostics: Diagnostics): Telemetry {
  const processors: SpanProcessor[] = [];
  const exporters: ObservedExporter[] = [];
  for (const name of new Set(settings.tracesExporter)) {
    if (name === 'none') continue;
    if (name === 'console') {
      processors.push(new SimpleSpanProcessor({ exporter: new ConsoleSpanExporter() }));
      continue;
    }
    const exporter = new ObservedExporter(name as 'otlp' | 'zipkin', settings, diagnostics);
    exporters.push(exporter);
    processors.push(
      exporter.counting(
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: settings.maxQueueSize,
          maxExportBatchSize: settings.maxExportBatchSize,
          scheduledDelayMillis: settings.scheduleDelayMs,
          exportTimeoutMillis: settings.batchTimeoutMs,
        }),
      ),
    );
  }

  const sdk = new NodeSDK({
    spanProcessors: processors,
    // Unset means off here; once set, NodeSDK reads the variables of these signals itself.
    ...(isOff(settings.metricsExporter) ? { metricReaders: [] } : {}),
    resource: defaultResource().merge(resourceFromAttributes({ 'service.name': serviceName })),
    resourceDetectors: resourceDetectors(settings.resourceDetectors),
  });
  if (isOff(settings.logsExporter)) withoutLogs(sdk);
  sdk.start();

  return {
    async flush() {
      await Promise.allSettled(processors.map((processor) => processor.forceFlush()));
    },
    unsent: () => exporters.reduce((sum, exporter) => sum + exporter.unsent, 0),
    adopt(instrumentation) {
      instrumentation.setTracerProvider(trace.getTracerProvider());
      instrumentation.setMeterProvider(metrics.getMeterProvider());
    },
  };
}

export const isOff = (exporters: readonly string[]): boolean => exporters.includes('none');

/** NodeSDK has no option for "no logs", and would take an unset OTEL_LOGS_EXPORTER for otlp. */
function withoutLogs(sdk: NodeSDK): void {
  (sdk as unknown as { configureLoggerProviderFromEnv(): void }).configureLoggerProviderFromEnv = () => {};
}
