import { diag } from '@opentelemetry/api';

/** Collects the errors that OpenTelemetry's diag logs from now on, until `diag.disable()`. */
export function collectDiagErrors(): string[] {
  const errors: string[] = [];
  const logger = {
    error: (text: string) => errors.push(text),
    warn() {},
    info() {},
    debug() {},
    verbose() {},
  };
  diag.setLogger(logger);
  // diag itself may report that it replaces a logger.
  errors.length = 0;
  return errors;
}
