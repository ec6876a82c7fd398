/**
 * Reads a few fields of a protobuf message that arrives in pieces. It skips all other fields by their length,
 * without buffering them, so a message of any size needs a limited amount of memory.
 */
import { PbfReader } from 'pbf';

/** The fields of a message that are read, by number. */
export type MessageFields = Readonly<Record<number, Field>>;

export interface Field {
  /** The key in the resulting object. */
  name: string;
  /**
   * How it is read: a text; each of several texts; a number (integers, enums and booleans); the sum of packed
   * integers; a nested message; each of several nested messages. The last ones give how many elements a
   * repeated field has: packed as varints, packed with a fixed size, or one field each.
   */
  as: 'text' | 'texts' | 'number' | 'sum' | 'message' | 'messages' | 'varints' | 'fixed' | 'entries';
  /** Fields of a nested message. */
  fields?: MessageFields;
  /** Bytes of an element that is packed with a fixed size. */
  elementBytes?: number;
}

export interface Values {
  [name: string]: unknown;
}

interface OpenMessage {
  fields: MessageFields;
  values: Values;
  /** Where it ends, in bytes from the start of the whole message. */
  end: number;
}

/**
 * Limit of the bytes that are kept of one message: names, levels and a filter. Longer fields are left out.
 */
const MAX_KEPT_BYTES = 64 * 1024;
/** Longest tag plus longest length or number, in bytes. */
const MAX_HEAD_BYTES = 15;

export class MessageReader {
  readonly values: Values = {};
  /** Whether a text or a list was left out because it was too long. */
  truncated = false;
  private readonly open: OpenMessage[];
  private keepBytes = MAX_KEPT_BYTES;
  /** Bytes that came before those of `pending`. */
  private consumedBytes = 0;
  /** The beginning of a field whose end has not arrived. */
  private pending: Uint8Array = EMPTY;
  private skipBytes = 0;
  private countInto: { values: Values; name: string } | undefined;

  /** @param messageBytes the length of the whole message. */
  constructor(fields: MessageFields, messageBytes: number) {
    this.open = [{ fields, values: this.values, end: messageBytes }];
  }

  /**
   * Reads the next piece. Only the beginning of an incomplete field is copied. Throws when it is not
   * protobuf.
   */
  read(piece: Uint8Array): void {
    const bytes = this.pending.length === 0 ? piece : Buffer.concat([this.pending, piece]);
    this.pending = EMPTY;
    const reader = new PbfReader(bytes);
    while (this.skip(reader, bytes) && this.closeEnded(reader.pos)) {
      const start = reader.pos;
      if (this.readField(reader, bytes)) continue;
      // A copy, since the piece belongs to the stream.
      this.pending = Uint8Array.prototype.slice.call(bytes, start);
      reader.pos = start;
      break;
    }
    this.consumedBytes += reader.pos;
  }

  /** Skips bytes. False when more of them are to arrive. */
  private skip(reader: PbfReader, bytes: Uint8Array): boolean {
    const until = reader.pos + Math.min(this.skipBytes, reader.length - reader.pos);
    if (this.countInto !== undefined) {
      // A varint ends with the byte that has no continuation bit.
      for (let at = reader.pos; at < until; at++) {
        if ((bytes[at] as number) < 0x80) add(this.countInto.values, this.countInto.name, 1);
      }
    }
    this.skipBytes -= until - reader.pos;
    reader.pos = until;
    if (this.skipBytes > 0) return false;
    this.countInto = undefined;
    return true;
  }

  /** Closes the nested messages that end at this position. False when the whole message has ended. */
  private closeEnded(position: number): boolean {
    while (this.open.at(-1)?.end === this.consumedBytes + position) this.open.pop();
    return this.open.length > 0;
  }

  /** False when the needed bytes of the field have not all arrived. */
  private readField(reader: PbfReader, bytes: Uint8Array): boolean {
    const { fields, values, end } = this.open.at(-1) as OpenMessage;
    const untilEnd = end - this.consumedBytes - reader.pos;
    if (reader.length - reader.pos < Math.min(MAX_HEAD_BYTES, untilEnd)) return false;
    const field = fields[reader.nextField()];
    if (reader.type !== LENGTH_DELIMITED) {
      readNumber(reader, field, values);
      if (reader.pos > reader.length || this.consumedBytes + reader.pos > end) throw new RangeError(OVERLONG);
      return true;
    }
    const length = reader.readVarint();
    const fieldEnd = this.consumedBytes + reader.pos + length;
    if (fieldEnd > end) throw new RangeError(OVERLONG);
    switch (field?.as) {
      case 'message':
      case 'messages':
        this.enter(field, values, fieldEnd);
        return true;
      case 'text':
      case 'texts':
      case 'sum':
        return this.readWhole(reader, bytes, field, values, length);
      case 'varints':
        this.countInto = { values, name: field.name };
        add(values, field.name, 0);
        break;
      case 'fixed':
        add(values, field.name, length / (field.elementBytes as number));
        break;
      case 'entries':
        add(values, field.name, 1);
        break;
    }
    this.skipBytes = length;
    return true;
  }

  private enter({ name, as, fields = {} }: Field, values: Values, end: number): void {
    // protobuf merges a message that arrives as two fields.
    const nested = as === 'message' ? ((values[name] as Values | undefined) ?? {}) : {};
    if (as === 'message') values[name] = nested;
    else {
      this.keepBytes -= MAX_HEAD_BYTES;
      if (this.keepBytes > 0) append(values, name, nested);
      else this.truncated = true;
    }
    this.open.push({ fields, values: nested, end });
  }

  private readWhole(
    reader: PbfReader,
    bytes: Uint8Array,
    { as, name }: Field,
    values: Values,
    length: number,
  ): boolean {
    if (length > this.keepBytes) {
      this.truncated = true;
      this.skipBytes = length;
      return true;
    }
    if (reader.length - reader.pos < length) return false;
    this.keepBytes -= length;
    const end = reader.pos + length;
    if (as === 'sum') {
      add(values, name, 0);
      while (reader.pos < end) add(values, name, reader.readVarint(true));
      if (reader.pos !== end) throw new RangeError(OVERLONG);
      return true;
    }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + reader.pos, length).toString();
    if (as === 'texts') append(values, name, text);
    else values[name] = text;
    reader.pos = end;
    return true;
  }
}

/** Wire types. Source: protobuf.dev, Encoding. */
const VARINT = 0;
const LENGTH_DELIMITED = 2;

const EMPTY = new Uint8Array();
const OVERLONG = 'a field ends after its message';

/** A field without a length. Repeated numbers may come so too, one by one. */
function readNumber(reader: PbfReader, field: Field | undefined, values: Values): void {
  if (reader.type === VARINT && field?.as === 'number') values[field.name] = reader.readVarint(true);
  else if (reader.type === VARINT && field?.as === 'sum') add(values, field.name, reader.readVarint(true));
  else {
    if (field?.as === 'varints' || field?.as === 'fixed') add(values, field.name, 1);
    reader.skip(reader.type);
  }
}

function add(values: Values, name: string, amount: number): void {
  values[name] = ((values[name] as number | undefined) ?? 0) + amount;
}

function append(values: Values, name: string, element: unknown): void {
  const list = values[name] as unknown[] | undefined;
  if (list === undefined) values[name] = [element];
  else list.push(element);
}
