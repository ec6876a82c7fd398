/**
 * The logs API of OpenTelemetry 2, which was the package @opentelemetry/api-logs and has its own global. The
 * newest @opentelemetry/winston-transport on npm, 0.34, still uses it. Source: api-logs 0.223.
 */
import { logs } from './logs-api.ts';

const KEY = Symbol.for('io.opentelemetry.js.api.logs');
const VERSION = 1;

/** Passes its log records to the present API, unless the app has registered a provider there. */
export function serveOlderLogsApi(): void {
  const holder = globalThis as { [KEY]?: (version: number) => unknown };
  holder[KEY] ??= (version) => (version === VERSION ? logs.getLoggerProvider() : undefined);
}
