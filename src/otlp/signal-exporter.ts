/**
 * Exports metrics or logs by the preload's senders. OpenTelemetry's OTLP exporters keep the app alive while
 * they wait for an answer and retry, so an app with a short interval would never exit.
 */
import { context } from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, suppressTracing } from '@opentelemetry/core';
import { withoutCredentials } from '../config/settings.ts';
import { RetryDelay } from '../trace/retry-delay.ts';
import { connectionHint, openSender, shortReason } from './exporter.ts';
import { rejectionIn } from './partial-success.ts';
import { reasonFor } from './reason.ts';
import { OtlpError, type OtlpSender, type TimeLimit } from './sender.ts';
import { verdictOn } from './status.ts';
import type { OtlpTarget } from './target.ts';

const NAMES = { traces: 'Spans', metrics: 'Metrics', logs: 'Logs' } as const;

export interface SignalExport<Items> {
  target: OtlpTarget;
  /** For one attempt; no other begins later. */
  limit: TimeLimit;
  /** Returns the body of an OTLP request. */
  serialize: (items: Items) => Uint8Array | undefined;
  /** Gets a line about each failure. */
  warn: (line: string) => void;
}

/** Has the methods of OpenTelemetry's exporters. */
export class SignalExporter<Items> {
  readonly #options: SignalExport<Items>;
  #sender: OtlpSender | undefined;
  /** Each ends one export → its promise. */
  readonly #inFlight = new Map<(error?: unknown) => void, Promise<void>>();
  /** Each ends the pause before a retry. */
  readonly #pauses = new Set<() => void>();
  #isExiting = false;

  constructor(options: SignalExport<Items>) {
    this.#options = options;
  }

  export(items: Items, done: (result: ExportResult) => void): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    const settle = (error?: unknown) => {
      // Given up meanwhile.
      if (!this.#inFlight.delete(settle)) return;
      if (error !== undefined) this.#report(error);
      done(
        error === undefined
          ? { code: ExportResultCode.SUCCESS }
          : { code: ExportResultCode.FAILED, error: error as Error },
      );
      resolve();
    };
    this.#inFlight.set(settle, promise);
    this.#send(items).then(() => settle(), settle);
  }

  async forceFlush(): Promise<void> {
    await Promise.all(this.#inFlight.values());
  }

  async shutdown(): Promise<void> {
    this.exitBegins();
    await this.forceFlush();
    this.#sender?.close();
  }

  /** Retries that wait are made at once, and are the last. */
  exitBegins(): void {
    this.#isExiting = true;
    for (const end of this.#pauses) end();
  }

  /**
   * Ends all exports. The reader of metrics keeps the app alive until its export has ended.
   *
   * @param reason why requests without an answer by now never get one
   */
  giveUp(reason: string): void {
    for (const settle of this.#inFlight.keys()) settle(new Error(reason));
  }

  async #send(items: Items): Promise<void> {
    const { target, limit, serialize, warn } = this.#options;
    const body = serialize(items) ?? new Uint8Array();
    this.#sender ??= openSender(target);
    const sender = this.#sender;
    const delay = new RetryDelay(Math.random);
    const lastMs = performance.now() + limit.ms;
    for (;;) {
      try {
        const answer = await context.with(suppressTracing(context.active()), () => sender.send(body, limit));
        const rejection = rejectionIn(answer, target.protocol === 'http/json');
        if (rejection !== undefined) warn(this.#line(rejection.count > 0, shortReason(rejection.reason)));
        return;
      } catch (error) {
        const verdict = verdictOn(error);
        if (verdict.kind !== 'retry') throw error;
        delay.failed(delay.currentMs, verdict.afterMs);
        if (this.#isExiting || performance.now() + delay.pauseMs >= lastMs) throw error;
        await this.#pause(delay.pauseMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pauses.delete(end);
        resolve();
      };
      // Unref: a retry must not keep the app alive.
      const timer = setTimeout(end, ms).unref();
      this.#pauses.add(end);
    });
  }

  #report(error: unknown): void {
    const isRefusal = error instanceof OtlpError && verdictOn(error).kind !== 'retry';
    const reason = shortReason(reasonFor(error, this.#options.target));
    this.#options.warn(`${this.#line(isRefusal, reason)}${connectionHint(reason)}`);
  }

  #line(isRefusal: boolean, reason: string): string {
    const { signal, url } = this.#options.target;
    const event = isRefusal ? `Collector rejected ${signal}` : `${NAMES[signal]} cannot be sent`;
    return `${event} (${withoutCredentials(url)}): ${reason}.`;
  }
}
