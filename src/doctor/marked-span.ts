/** The one span by which the collector is tried, as an OTLP request. Pure. */
import { randomBytes } from 'node:crypto';
import type { Protocol } from '../config/settings.ts';

export const MARK = 'milvus-otel doctor';

const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
};
const bytes = (number: number, value: Uint8Array | string): Buffer => {
  const content = Buffer.from(value as string);
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
};
const fixed64 = (number: number, value: bigint): Buffer => {
  const content = Buffer.alloc(8);
  content.writeBigUInt64LE(value);
  return Buffer.concat([varint(number * 8 + 1), content]);
};
const int = (number: number, value: number): Buffer => Buffer.concat([varint(number * 8), varint(value)]);

/** ExportTraceServiceRequest with one INTERNAL span of 1 ms that ends now, in a separate trace. */
export function markedRequest(protocol: Protocol, traceId: string, version: string): Buffer {
  const spanId = randomBytes(8).toString('hex');
  const endNs = BigInt(Date.now()) * 1_000_000n;
  const startNs = endNs - 1_000_000n;
  if (protocol === 'http/json') {
    const attribute = { key: 'service.name', value: { stringValue: MARK } };
    const span = {
      traceId,
      spanId,
      name: MARK,
      kind: 1,
      startTimeUnixNano: String(startNs),
      endTimeUnixNano: String(endNs),
    };
    const scopeSpans = [{ scope: { name: 'milvus-otel', version }, spans: [span] }];
    return Buffer.from(
      JSON.stringify({ resourceSpans: [{ resource: { attributes: [attribute] }, scopeSpans }] }),
    );
  }
  const attribute = Buffer.concat([bytes(1, 'service.name'), bytes(2, bytes(1, MARK))]);
  const span = Buffer.concat([
    bytes(1, Buffer.from(traceId, 'hex')),
    bytes(2, Buffer.from(spanId, 'hex')),
    bytes(5, MARK),
    int(6, 1),
    fixed64(7, startNs),
    fixed64(8, endNs),
  ]);
  const scope = Buffer.concat([bytes(1, 'milvus-otel'), bytes(2, version)]);
  const scopeSpans = Buffer.concat([bytes(1, scope), bytes(2, span)]);
  return bytes(1, Buffer.concat([bytes(1, bytes(1, attribute)), bytes(2, scopeSpans)]));
}
