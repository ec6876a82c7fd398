import { writeSync } from 'node:fs';
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import { secretsIn, withoutSecrets } from '../config/redaction.ts';
import type { Misspelling, Problem, Settings } from '../config/settings.ts';

const PREFIX = 'milvus-otel: ';

/**
 * The only place that writes to the user. Lines go to stderr, synchronously and past process.stderr, so that
 * the app's own stream, its buffering and its error events are left alone.
 */
export interface Diagnostics {
  /** A problem and its fix. Each text is logged once. */
  warn(text: string): void;
  /** A fact, at OTEL_LOG_LEVEL=info or finer. Each text is logged once. */
  info(text: string): void;
}

/** Writes lines to stderr, without what is secret in the environment. */
export function stderrWithout(
  env: Readonly<Record<string, string | undefined>>,
  write: (line: string) => void = writeToStderr,
): (line: string) => void {
  let secrets: string[] | undefined;
  return (line) => {
    // Read at the first line: most processes never write one.
    secrets ??= secretsIn(env);
    // The prefix stays readable, whatever the secret is.
    write(PREFIX + withoutSecrets(line.slice(PREFIX.length), secrets));
  };
}

export function createDiagnostics(
  level: Settings['logLevel'],
  write: (line: string) => void = writeToStderr,
): Diagnostics {
  const logged = new Set<string>();
  const chosen = level === undefined ? DiagLogLevel.WARN : LEVELS[level];
  return {
    warn(text) {
      if (chosen < DiagLogLevel.WARN || logged.has(text)) return;
      logged.add(text);
      write(`${PREFIX}${text}\n`);
    },
    info(text) {
      if (chosen < DiagLogLevel.INFO || logged.has(text)) return;
      logged.add(text);
      write(`${PREFIX}${text}\n`);
    },
  };
}

/**
 * Sends OpenTelemetry's messages to stderr at the level of OTEL_LOG_LEVEL. Its console logger would write to
 * stdout, which belongs to the app.
 */
export function showOpenTelemetryMessages(
  level: Settings['logLevel'],
  write: (line: string) => void = writeToStderr,
): void {
  if (level === undefined || level === 'none') {
    diag.disable();
    return;
  }
  const line =
    (name: string): DiagLogger['error'] =>
    (message, ...details) => {
      const detailText = details
        .map((detail) => (typeof detail === 'string' ? detail : safeJson(detail)))
        .join(' ');
      write(`${PREFIX}[${name}] ${message}${detailText === '' ? '' : ` ${detailText}`}\n`);
    };
  const logger: DiagLogger = {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    verbose: line('verbose'),
  };
  diag.setLogger(logger, { logLevel: LEVELS[level], suppressOverrideMessage: true });
}

/**
 * Runs `start` without letting it set OpenTelemetry's logger. NodeSDK sets one when OTEL_LOG_LEVEL is set,
 * and that one writes to stdout.
 */
export function keepingMessages<T>(start: () => T): T {
  const setLogger = diag.setLogger;
  diag.setLogger = () => true;
  try {
    return start();
  } finally {
    diag.setLogger = setLogger;
  }
}

/** Foreign text on one line, without control characters that a terminal would interpret. */
export const oneLine = (text: string): string => text.replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ');

/** The beginning of a value, on one line. */
const shown = (value: string): string => {
  const line = oneLine(value);
  return line.length > LONGEST_SHOWN ? `${line.slice(0, LONGEST_SHOWN)}...` : line;
};

const LONGEST_SHOWN = 200;

/** One line for a value that cannot be used: variable, value, what is expected, what is used instead. */
export function describeProblem({ variable, value, isPart, expected, fallback, meant }: Problem): string {
  const instead = fallback === '' ? 'it is ignored' : `${fallback} is used`;
  const question = meant === undefined ? '' : ` Did you mean ${meant.join(', ')}?`;
  return `${variable}${isPart ? ': ' : '='}${shown(value)} cannot be used (expected ${expected}); ${instead}.${question}`;
}

/** One line for an unknown name. Its value is not shown: it may be a secret under a wrong name. */
export const describeMisspelling = ({ variable, meant, isRenamed }: Misspelling): string =>
  isRenamed
    ? `${variable} has no effect. Use ${meant}.`
    : `Unknown variable ${shown(variable)} has no effect. Did you mean ${meant}?`;

const LEVELS: Record<NonNullable<Settings['logLevel']>, DiagLogLevel> = {
  none: DiagLogLevel.NONE,
  error: DiagLogLevel.ERROR,
  warn: DiagLogLevel.WARN,
  info: DiagLogLevel.INFO,
  debug: DiagLogLevel.DEBUG,
  verbose: DiagLogLevel.VERBOSE,
  all: DiagLogLevel.ALL,
};

function writeToStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // stderr may be closed or full: a lost line must not become an error of the app.
  }
}

function safeJson(value: unknown): string {
  try {
    return value instanceof Error ? value.message : (JSON.stringify(value) ?? String(value));
  } catch {
    // Cyclic, with a BigInt, or with a getter that throws.
    return `(${typeof value})`;
  }
}
