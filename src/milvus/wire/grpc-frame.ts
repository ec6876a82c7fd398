/**
 * The first message of a gRPC stream, from the pieces in which it arrives. Source: gRPC over HTTP/2,
 * Length-Prefixed-Message.
 */
import { type MessageFields, MessageReader, type Values } from './message-reader.ts';

/** One byte for compression, four for the length of the message. */
const PREFIX_BYTES = 5;

export class FirstMessage {
  /** Whether reading is finished: the message is complete, compressed, or invalid. */
  done = false;
  private readonly fields: MessageFields;
  private prefix: Uint8Array = new Uint8Array();
  private reader: MessageReader | undefined;
  private missingBytes = 0;

  constructor(fields: MessageFields) {
    this.fields = fields;
  }

  /** The fields that were read so far. Undefined when there are none, or the message is compressed. */
  get values(): Values | undefined {
    return this.reader?.values;
  }

  /** Whether something was left out because it was too long. */
  get truncated(): boolean {
    return this.reader?.truncated ?? false;
  }

  /** Throws when the message is not protobuf; the fields that were read before stay. */
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
