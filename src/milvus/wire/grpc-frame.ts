/** The first message of a gRPC stream, out of the pieces in which it arrives. Source: gRPC over HTTP/2, Length-Prefixed-Message. */
import { type MessageFields, MessageReader, type Values } from './message-reader.ts';

/** One byte that says whether the message is compressed, four of its length. */
const PREFIX_BYTES = 5;

export class FirstMessage {
  /** Whether nothing more is to be read: it is complete, compressed, or no message at all. */
  done = false;
  private readonly fields: MessageFields;
  private prefix: Uint8Array = new Uint8Array();
  private reader: MessageReader | undefined;
  private missingBytes = 0;

  constructor(fields: MessageFields) {
    this.fields = fields;
  }

  /** What was read so far. Undefined: nothing, or the message is compressed. */
  get values(): Values | undefined {
    return this.reader?.values;
  }

  /** Whether something was left out because it was too long. */
  get truncated(): boolean {
    return this.reader?.truncated ?? false;
  }

  /** Throws when the message is no protobuf; what was read until then stays. */
  read(piece: Uint8Array): void {
    if (this.done) return;
    let bytes = piece;
    if (this.reader === undefined) {
      bytes = this.prefix.length === 0 ? piece : Buffer.concat([this.prefix, piece]);
      if (bytes.length < PREFIX_BYTES) {
        this.prefix = Uint8Array.from(bytes);
        return;
      }
      const isCompressed = bytes[0] !== 0;
      this.missingBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
      this.done = isCompressed || this.missingBytes === 0;
      if (isCompressed) return;
      this.reader = new MessageReader(this.fields, this.missingBytes);
      bytes = bytes.subarray(PREFIX_BYTES);
    }
    const ofMessage = bytes.subarray(0, this.missingBytes);
    this.missingBytes -= ofMessage.length;
    if (this.missingBytes === 0) this.done = true;
    try {
      this.reader.read(ofMessage);
    } catch (error) {
      this.done = true;
      throw error;
    }
  }
}
