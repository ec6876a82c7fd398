/** Reading of protobuf messages without their descriptions: field numbers and raw values. Pure. */

export type FieldValue = bigint | Uint8Array;

/** Each field of a message in order. @throws RangeError when the bytes end in the middle of one. */
export function* fields(message: Uint8Array): Generator<[number: number, value: FieldValue]> {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = view.getUint8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.byteLength) {
    const key = Number(varint());
    const number = key >> 3;
    switch (key & 7) {
      case 0:
        yield [number, varint()];
        break;
      case 1:
        yield [number, view.getBigUint64(at, true)];
        at += 8;
        break;
      case 2: {
        const length = Number(varint());
        if (at + length > message.byteLength) throw new RangeError('a field is longer than its message');
        yield [number, message.subarray(at, at + length)];
        at += length;
        break;
      }
      case 5:
        yield [number, BigInt(view.getUint32(at, true))];
        at += 4;
        break;
      default:
        throw new RangeError(`unknown wire type ${key & 7}`);
    }
  }
}

/** All length-delimited values of one field. */
export const messages = (message: Uint8Array, wanted: number): Uint8Array[] =>
  [...fields(message)].flatMap(([number, value]) =>
    number === wanted && typeof value !== 'bigint' ? [value] : [],
  );

/** The last value of a text field; '' when it is not there, as in proto3. */
export const text = (message: Uint8Array, wanted: number): string =>
  Buffer.from(messages(message, wanted).at(-1) ?? []).toString('utf8');

/** The last value of an integer field; 0 when it is not there. */
export function integer(message: Uint8Array, wanted: number): bigint {
  let found = 0n;
  for (const [number, value] of fields(message))
    if (number === wanted && typeof value === 'bigint') found = value;
  return found;
}
