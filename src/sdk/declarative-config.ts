/**
 * OTEL_CONFIG_FILE: the file describes the telemetry, and OpenTelemetry's own start creates it. Its
 * processors and exporters are the stock ones: a flush can be awaited, but pending spans cannot be read out
 * at process.exit().
 */

import { accessSync, constants } from 'node:fs';
import { metrics, type ProxyTracerProvider, trace } from '@opentelemetry/api';
import { settlesWithin } from '../shutdown/with-timeout.ts';
import { keepingMessages } from './diagnostics.ts';
import { loadChunk } from './lazy-modules.ts';
import { logs } from './logs-api.ts';
import { adopt, type Telemetry } from './start-telemetry.ts';

interface Flushable {
  forceFlush?(): Promise<void>;
}

/** @throws when the file cannot be read. OpenTelemetry reports errors inside it on stderr. */
export function startFromFile(configFile: string): Telemetry {
  try {
    accessSync(configFile, constants.R_OK);
  } catch {
    throw new Error(`OTEL_CONFIG_FILE=${configFile} cannot be read`);
  }
  const { startNodeSDK } = loadChunk<{ startNodeSDK(): void }>('declarative-configuration');
  keepingMessages(() => startNodeSDK());
  const tracerProvider = (trace.getTracerProvider() as ProxyTracerProvider).getDelegate();
  const providers = [tracerProvider, metrics.getMeterProvider(), logs.getLoggerProvider()] as Flushable[];
  let flushed = false;
  const send = async (limitMs: number) => {
    const settled = await Promise.all(
      providers.map((provider) => settlesWithin(limitMs, provider.forceFlush?.())),
    );
    return settled.every(Boolean);
  };
  return {
    hasPendingSpans: () => !flushed,
    send,
    async flush(limitMs) {
      const isOver = await send(limitMs);
      flushed = true;
      return isOver;
    },
    close() {},
    adopt,
  };
}
