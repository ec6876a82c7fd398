/**
 * The logs API. @opentelemetry/api has it from 1.10 on; an app with OpenTelemetry 1 or 2 may share an older
 * one with this package. There, the provider is known to the preload only. The build lets bundled packages
 * import from here too.
 */
import * as api from '@opentelemetry/api';

type LogsApi = typeof api.logs;
type Logger = ReturnType<LogsApi['getLogger']>;
type LoggerProvider = ReturnType<LogsApi['getLoggerProvider']>;

const older = api as Partial<typeof api>;

const NOOP_LOGGER: Logger = { emit: () => {}, enabled: () => false };
const NOOP_PROVIDER: LoggerProvider = { getLogger: () => NOOP_LOGGER };

class PrivateLogs implements Pick<LogsApi, keyof LogsApi> {
  #provider: LoggerProvider | undefined;

  setGlobalLoggerProvider(provider: LoggerProvider): boolean {
    if (this.#provider !== undefined) return false;
    this.#provider = provider;
    return true;
  }

  getLoggerProvider(): LoggerProvider {
    return this.#provider ?? NOOP_PROVIDER;
  }

  getLogger(...of: Parameters<LogsApi['getLogger']>): Logger {
    return this.getLoggerProvider().getLogger(...of);
  }

  disable(): void {
    this.#provider = undefined;
  }
}

/** Severities by number, and numbers by severity, as in the enum of the API. Source: API 1.10. */
function severityNumbers(): typeof api.SeverityNumber {
  const numbers: Record<string, string | number> = { UNSPECIFIED: 0, 0: 'UNSPECIFIED' };
  for (const [at, level] of ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'].entries())
    for (const step of [1, 2, 3, 4]) {
      const name = step === 1 ? level : `${level}${step}`;
      const number = at * 4 + step;
      numbers[name] = number;
      numbers[number] = name;
    }
  return numbers as unknown as typeof api.SeverityNumber;
}

/** What this module exports when @opentelemetry/api has no logs. */
export const withoutLogsApi = () => ({
  logs: new PrivateLogs() as unknown as LogsApi,
  createNoopLogger: () => NOOP_LOGGER,
  SeverityNumber: severityNumbers(),
});

export const { logs, createNoopLogger, SeverityNumber } = older.logs === undefined ? withoutLogsApi() : api;
