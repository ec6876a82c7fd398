/** Ids of traces and spans, made many at a time: turning bytes into text is a call out of V8, and costs more than the bytes. */
import { INVALID_SPANID, INVALID_TRACEID } from '@opentelemetry/api';
import type { IdGenerator } from '@opentelemetry/sdk-trace';

const SPAN_ID_DIGITS = 16;
const TRACE_ID_DIGITS = 32;

/** Enough for some forty spans: what keeps an id keeps the text that it was cut out of. */
const POOL_BYTES = 1_024;

/** As random as the SDK's own generator, which takes the same Math.random. */
export class RandomIds implements IdGenerator {
  private readonly words = new Uint32Array(POOL_BYTES / Uint32Array.BYTES_PER_ELEMENT);
  private digits = '';
  private at = 0;

  generateTraceId(): string {
    return this.next(TRACE_ID_DIGITS, INVALID_TRACEID);
  }

  generateSpanId(): string {
    return this.next(SPAN_ID_DIGITS, INVALID_SPANID);
  }

  private next(length: number, invalid: string): string {
    if (this.at + length > this.digits.length) this.refill();
    const id = this.digits.slice(this.at, this.at + length);
    this.at += length;
    return id === invalid ? this.next(length, invalid) : id;
  }

  private refill(): void {
    const { words } = this;
    for (let index = 0; index < words.length; index++) words[index] = Math.random() * 2 ** 32;
    this.digits = Buffer.from(words.buffer).toString('hex');
    this.at = 0;
  }
}
