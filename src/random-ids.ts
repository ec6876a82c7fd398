/** Ids of traces and spans, made many at a time: turning bytes into text is a call out of V8, and costs more than the bytes. */
import type { IdGenerator } from '@opentelemetry/sdk-trace';

export const SPAN_ID_BYTES = 8;
export const TRACE_ID_BYTES = 16;

/** Enough for some forty spans: what keeps an id keeps the text that it was cut out of. */
const POOL_BYTES = 1_024;

/** As random as the SDK's own generator, which takes the same Math.random. */
export class RandomIds implements IdGenerator {
  /** What `text` is the text of. Never changed once it is there, so that ids can be read here as long as this is kept. */
  bytes = new Uint8Array(0);
  /** Where in `bytes` the next id is. */
  at = 0;
  private text = '';

  /** The id of a trace that is asked for after it is in the same `bytes`, right behind it. */
  generateSpanId(): string {
    if (this.at + SPAN_ID_BYTES + TRACE_ID_BYTES > this.bytes.length) this.refill();
    return this.next(SPAN_ID_BYTES);
  }

  generateTraceId(): string {
    if (this.at + TRACE_ID_BYTES > this.bytes.length) this.refill();
    return this.next(TRACE_ID_BYTES);
  }

  private next(bytes: number): string {
    const from = this.at;
    this.at += bytes;
    return this.text.slice(from * 2, this.at * 2);
  }

  private refill(): void {
    const words = new Uint32Array(POOL_BYTES / Uint32Array.BYTES_PER_ELEMENT);
    // None is 0, so that no id is all zeros, which would be an invalid one.
    for (let index = 0; index < words.length; index++) words[index] = 1 + Math.random() * (2 ** 32 - 1);
    this.bytes = new Uint8Array(words.buffer);
    this.text = Buffer.from(words.buffer).toString('hex');
    this.at = 0;
  }
}
