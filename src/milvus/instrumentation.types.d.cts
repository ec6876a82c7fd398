import type { MeterProvider, TracerProvider } from '@opentelemetry/api';

/** Options of {@link MilvusInstrumentation}. */
export interface MilvusInstrumentationConfig {
  /** Patch the SDK when it loads. Default true. */
  enabled?: boolean;
  /** Put the filter expression into `db.query.text`. It may hold user data. Default false. */
  captureFilter?: boolean;
  /** A child span for each RPC of an operation. Default false. */
  rpcSpans?: boolean;
}

/**
 * OpenTelemetry instrumentation of `@zilliz/milvus2-sdk-node` 2.2.24 to 3.x, for apps that start an
 * OpenTelemetry SDK themselves. Create it before the Milvus SDK is loaded:
 *
 *     const { NodeSDK } = require('@opentelemetry/sdk-node');
 *     const { MilvusInstrumentation } = require('milvus-otel/instrumentation');
 *     new NodeSDK({ instrumentations: [new MilvusInstrumentation()] }).start();
 */
export declare class MilvusInstrumentation {
  readonly instrumentationName: string;
  readonly instrumentationVersion: string;
  constructor(config?: MilvusInstrumentationConfig);
  /** Patches the SDK, where it is loaded and when it loads. */
  enable(): void;
  /** Removes the patches. Clients that exist run untraced. */
  disable(): void;
  isEnabled(): boolean;
  setTracerProvider(provider: TracerProvider): void;
  setMeterProvider(provider: MeterProvider): void;
  /** Any logger provider; the instrumentation writes no log records. */
  setLoggerProvider(provider: object): void;
  setConfig(config: MilvusInstrumentationConfig): void;
  getConfig(): MilvusInstrumentationConfig;
}
