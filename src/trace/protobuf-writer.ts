/** Writes protobuf fields one after the other. Source: protobuf.dev, "Encoding". */
import type { HrTime } from '@opentelemetry/api';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

const MAX_VARINT_BYTES = 10;
/** A field's tag: fields up to 2,047 take two bytes. */
const MAX_TAG_BYTES = 2;

/** Below this length, a loop over a text is faster than a call of native code that encodes it. */
const SHORT_TEXT = 0x80;

export class ProtobufWriter {
  private buffer: Buffer;
  /** Bytes written. */
  length = 0;

  /** @param buffer not shared; a larger one replaces it when it is full. */
  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  /** The written bytes. They share memory with the writer. */
  bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** The memory itself, for another use. */
  release(): Buffer {
    const { buffer } = this;
    this.buffer = Buffer.alloc(0);
    this.length = 0;
    return buffer;
  }

  /** Truncates to an earlier `length`. */
  truncate(length: number): void {
    this.length = length;
  }

  /** Begins a message whose length is not known yet; returns the argument of `end`. */
  begin(field: number): number {
    this.reserve(MAX_TAG_BYTES + 1);
    this.putVarint((field << 3) | LENGTH_DELIMITED);
    // Most messages are shorter than 128 bytes: one byte for the length.
    return this.length++;
  }

  end(lengthAt: number): void {
    const bytes = this.length - lengthAt - 1;
    let lengthBytes = 1;
    for (let left = bytes >>> 7; left > 0; left >>>= 7) lengthBytes++;
    if (lengthBytes > 1) {
      this.reserve(lengthBytes - 1);
      this.buffer.copyWithin(lengthAt + lengthBytes, lengthAt + 1, this.length);
    }
    this.length = lengthAt;
    this.putVarint(bytes);
    this.length += bytes;
  }

  text(field: number, text: string): void {
    const { length } = text;
    this.reserve(MAX_TAG_BYTES + MAX_VARINT_BYTES + length * 3);
    this.putVarint((field << 3) | LENGTH_DELIMITED);
    if (length < SHORT_TEXT && this.putAscii(text)) return;
    this.putVarint(Buffer.byteLength(text));
    this.length += this.buffer.write(text, this.length);
  }

  bytesField(field: number, bytes: Uint8Array): void {
    this.reserve(MAX_TAG_BYTES + MAX_VARINT_BYTES);
    this.putVarint((field << 3) | LENGTH_DELIMITED);
    this.putVarint(bytes.length);
    this.raw(bytes);
  }

  /** Appends encoded fields. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** @param hex two digits for each byte, in lower or upper case. */
  hexField(field: number, hex: string): void {
    const bytes = hex.length >>> 1;
    this.reserve(MAX_TAG_BYTES + MAX_VARINT_BYTES + bytes);
    this.putVarint((field << 3) | LENGTH_DELIMITED);
    this.putVarint(bytes);
    const { buffer, length } = this;
    for (let index = 0; index < bytes; index++)
      buffer[length + index] = (digit(hex.charCodeAt(index * 2)) << 4) | digit(hex.charCodeAt(index * 2 + 1));
    this.length += bytes;
  }

  /** A whole number of up to 64 bits, negative ones in two's complement. */
  varint(field: number, value: number): void {
    this.reserve(MAX_TAG_BYTES + MAX_VARINT_BYTES);
    this.putVarint((field << 3) | VARINT);
    if (value >= 0 && value <= 0xffffffff) {
      this.putVarint(value);
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 0x7fn; rest >>= 7n) this.buffer[this.length++] = Number(rest & 0x7fn) | 0x80;
    this.buffer[this.length++] = Number(rest);
  }

  double(field: number, value: number): void {
    this.reserve(MAX_TAG_BYTES + 8);
    this.putVarint((field << 3) | FIXED64);
    this.length = this.buffer.writeDoubleLE(value, this.length);
  }

  fixed32(field: number, value: number): void {
    this.reserve(MAX_TAG_BYTES + 4);
    this.putVarint((field << 3) | FIXED32);
    this.putUint32(value);
  }

  /** Seconds and nanoseconds as nanoseconds in 64 bits, computed in two parts, since a number has 53 bits only. */
  nanoseconds(field: number, [seconds, nanos]: HrTime): void {
    this.reserve(MAX_TAG_BYTES + 8);
    this.putVarint((field << 3) | FIXED64);
    const upper = Math.floor(seconds / 0x10000) * 1e9;
    const lower = (seconds % 0x10000) * 1e9 + nanos;
    const low = (lower % 0x100000000) + (upper % 0x10000) * 0x10000;
    this.putUint32(low);
    this.putUint32(
      Math.floor(lower / 0x100000000) + Math.floor(upper / 0x10000) + Math.floor(low / 0x100000000),
    );
  }

  /** Makes room for `bytes` more. */
  private reserve(bytes: number): void {
    const { buffer, length } = this;
    if (length + bytes <= buffer.length) return;
    this.buffer = Buffer.allocUnsafe(Math.max(buffer.length * 2, length + bytes));
    buffer.copy(this.buffer, 0, 0, length);
  }

  /** A whole number of at most 32 bits, at a reserved position. */
  private putVarint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest >>>= 7) this.buffer[this.length++] = (rest & 0x7f) | 0x80;
    this.buffer[this.length++] = rest;
  }

  private putUint32(value: number): void {
    const { buffer, length } = this;
    for (let index = 0; index < 4; index++) buffer[length + index] = (value >>> (index * 8)) & 0xff;
    this.length += 4;
  }

  /** Writes a short ASCII text and its length; writes nothing when it has other characters. */
  private putAscii(text: string): boolean {
    const { buffer } = this;
    const start = this.length + 1;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return false;
      buffer[start + index] = code;
    }
    buffer[start - 1] = text.length;
    this.length = start + text.length;
    return true;
  }
}

/** The value of a hexadecimal digit. */
const digit = (code: number): number => (code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57);
