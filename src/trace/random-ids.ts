/** Ids of traces and spans, made many at a time: turning bytes into text is a call out of V8, and costs more than the bytes. */
import type { IdGenerator } from '@opentelemetry/sdk-trace';

export const SPAN_ID_BYTES = 8;
export const TRACE_ID_BYTES = 16;

/** Of one pair in the bytes of a pool: the trace's id, and behind it the span's. */
export const PAIR_BYTES = TRACE_ID_BYTES + SPAN_ID_BYTES;

/** What keeps an id keeps the text that it was cut out of. */
const PAIRS = 42;

/** PAIRS of ids, of a trace and of a span. Never changed once it is made, so that ids can be read here as long as it is kept. */
export interface IdPool {
  readonly bytes: Uint8Array;
  /** One traceparent behind the other. */
  readonly text: string;
}

const FIRST_TRACEPARENT = `00-${'0'.repeat(TRACE_ID_BYTES * 2)}-${'0'.repeat(SPAN_ID_BYTES * 2)}-01`;
const PAIR_TEXT = FIRST_TRACEPARENT.length;
const TRACE_ID_AT = 3;
const SPAN_ID_AT = TRACE_ID_AT + TRACE_ID_BYTES * 2 + 1;

/** The header of the root span that has both ids of a pair, and is sampled. Source: W3C Trace Context. */
export const traceparentIn = ({ text }: IdPool, pair: number): string =>
  text.slice(pair * PAIR_TEXT, (pair + 1) * PAIR_TEXT);

export const traceIdIn = ({ text }: IdPool, pair: number): string =>
  text.slice(pair * PAIR_TEXT + TRACE_ID_AT, pair * PAIR_TEXT + SPAN_ID_AT - 1);

export const spanIdIn = ({ text }: IdPool, pair: number): string =>
  text.slice(pair * PAIR_TEXT + SPAN_ID_AT, pair * PAIR_TEXT + SPAN_ID_AT + SPAN_ID_BYTES * 2);

/** As random as the SDK's own generator, which takes the same Math.random. */
export class RandomIds implements IdGenerator {
  pool: IdPool = { bytes: new Uint8Array(0), text: '' };
  private next = PAIRS;

  /** Gives the place of a pair in the pool, and never gives it again. */
  take(): number {
    if (this.next === PAIRS) {
      this.pool = makePool();
      this.next = 0;
    }
    return this.next++;
  }

  generateTraceId(): string {
    const pair = this.take();
    return traceIdIn(this.pool, pair);
  }

  generateSpanId(): string {
    const pair = this.take();
    return spanIdIn(this.pool, pair);
  }
}

/** What is the same in all texts, with room for digits. */
const draft = Buffer.from(FIRST_TRACEPARENT.repeat(PAIRS), 'latin1');
const DIGITS = Buffer.from('0123456789abcdef', 'latin1');

function makePool(): IdPool {
  const words = new Uint32Array((PAIRS * PAIR_BYTES) / Uint32Array.BYTES_PER_ELEMENT);
  // None is 0, so that no id is all zeros, which would be an invalid one.
  for (let index = 0; index < words.length; index++) words[index] = 1 + Math.random() * (2 ** 32 - 1);
  const bytes = new Uint8Array(words.buffer);
  for (let pair = 0; pair < PAIRS; pair++) {
    const traceIdAt = pair * PAIR_BYTES;
    writeDigits(bytes, traceIdAt, TRACE_ID_BYTES, pair * PAIR_TEXT + TRACE_ID_AT);
    writeDigits(bytes, traceIdAt + TRACE_ID_BYTES, SPAN_ID_BYTES, pair * PAIR_TEXT + SPAN_ID_AT);
  }
  return { bytes, text: draft.toString('latin1') };
}

function writeDigits(bytes: Uint8Array, from: number, length: number, to: number): void {
  for (let index = 0; index < length; index++) {
    const byte = bytes[from + index] as number;
    draft[to + index * 2] = DIGITS[byte >>> 4] as number;
    draft[to + index * 2 + 1] = DIGITS[byte & 15] as number;
  }
}
