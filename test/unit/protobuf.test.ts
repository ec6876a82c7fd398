/** The reading of messages without their descriptions, compared with a library that writes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PbfWriter } from 'pbf';
import { fields, integer, messages, text } from '../../src/otlp/protobuf.ts';

function written(write: (writer: InstanceType<typeof PbfWriter>) => void): Uint8Array {
  const writer = new PbfWriter();
  write(writer);
  return writer.finish();
}

test('each wire type is read, in the order of the fields', () => {
  const message = written((writer) => {
    writer.writeVarintField(1, 300);
    writer.writeFixed64Field(2, 2 ** 40 + 1);
    writer.writeStringField(3, 'é');
    writer.writeFixed32Field(4, 4_000_000_000);
    writer.writeVarintField(500, 2 ** 50);
  });
  assert.deepEqual(
    [...fields(message)].map(([number, value]) => [number, typeof value === 'bigint' ? value : [...value]]),
    [
      [1, 300n],
      [2, 2n ** 40n + 1n],
      [3, [...Buffer.from('é')]],
      [4, 4_000_000_000n],
      [500, 2n ** 50n],
    ],
  );
});

test('the last value of a repeated field is used, and all its messages are listed', () => {
  const message = written((writer) => {
    for (const value of ['first', 'last']) writer.writeStringField(1, value);
    for (const value of [1, 2]) writer.writeVarintField(2, value);
  });
  assert.equal(text(message, 1), 'last');
  assert.equal(integer(message, 2), 2n);
  assert.deepEqual(messages(message, 1).map(String).length, 2);
});

test('a field that is missing, or of another type, has the default of proto3', () => {
  const message = written((writer) => {
    writer.writeVarintField(1, 5);
    writer.writeStringField(2, 'text');
  });
  assert.deepEqual([text(message, 1), text(message, 9)], ['', '']);
  assert.deepEqual([integer(message, 2), integer(message, 9)], [0n, 0n]);
  assert.deepEqual(messages(message, 1), []);
});

test('a message inside a larger buffer is read from its own start', () => {
  const message = written((writer) => writer.writeFixed32Field(1, 7));
  const padded = Buffer.concat([Buffer.alloc(3, 0xff), message]);
  assert.equal(integer(padded.subarray(3), 1), 7n);
});

test('bytes that end in the middle of a field are an error, and so is an unknown wire type', () => {
  const message = written((writer) => {
    writer.writeFixed64Field(2, 1);
    writer.writeStringField(3, 'text');
    writer.writeFixed32Field(4, 1);
    writer.writeVarintField(5, 300);
  });
  const ends = [0, 9, 15, 20, 23];
  for (let length = 0; length < message.length; length++) {
    const read = () => [...fields(message.subarray(0, length))];
    if (ends.includes(length)) assert.ok(read());
    else assert.throws(read, RangeError, `${length} bytes`);
  }
  for (const type of [3, 4, 6, 7]) assert.throws(() => [...fields(Uint8Array.of(8 | type))], RangeError);
});

test('any bytes are read or are an error of range', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        for (const [number] of fields(bytes)) assert.equal(typeof number, 'number');
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),
  );
});
