import { ACCEPTED, startExportServer } from '../src/doctor/export-server.ts';
import { announce } from './side-process.ts';

/** Spans of kind CLIENT received since the last `ask`: by service.name, then by span name. */
export type ReceivedSpans = Record<string, Record<string, number>>;

const SPAN_KIND_CLIENT = 3;

/**
 * Adds the client spans of an ExportTraceServiceRequest to `counts`, without decoding the rest: a collector
 * that decodes attributes would take CPU from the measured app.
 */
function countClientSpans(message: Buffer, counts: ReceivedSpans): void {
  for (const resourceSpans of fields(message, 1)) {
    const service = serviceName(resourceSpans.bytes);
    counts[service] ??= {};
    for (const scopeSpans of fields(resourceSpans.bytes, 2))
      for (const span of fields(scopeSpans.bytes, 2)) {
        let name = '';
        let kind = 0;
        for (const field of fields(span.bytes)) {
          if (field.number === 5) name = field.bytes.toString('utf8');
          if (field.number === 6) kind = field.value;
        }
        if (kind === SPAN_KIND_CLIENT) counts[service][name] = (counts[service][name] ?? 0) + 1;
      }
  }
}

function serviceName(resourceSpans: Buffer): string {
  for (const resource of fields(resourceSpans, 1))
    for (const attribute of fields(resource.bytes, 1)) {
      const [key] = fields(attribute.bytes, 1);
      if (key?.bytes.toString('utf8') !== 'service.name') continue;
      for (const value of fields(attribute.bytes, 2))
        for (const text of fields(value.bytes, 1)) return text.bytes.toString('utf8');
    }
  return '';
}

interface Field {
  number: number;
  /** A varint's value (exact below 2^53), otherwise 0. */
  value: number;
  /** Content of a length-delimited field, otherwise empty. */
  bytes: Buffer;
}

const NOTHING = Buffer.alloc(0);

/**
 * The fields of a protobuf message in order, or only those of one number. Throws on invalid protobuf.
 * Separate from the doctor's reader, whose BigInt per number is too slow here.
 */
function* fields(message: Buffer, only?: number): Generator<Field> {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      if (byte === undefined) throw new Error('a protobuf message ends within a number');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const field: Field = { number: Math.floor(tag / 8), value: 0, bytes: NOTHING };
    switch (tag % 8) {
      case 0:
        field.value = varint();
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = varint();
        field.bytes = message.subarray(at, at + length);
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        throw new Error(`protobuf wire type ${tag % 8} is not known`);
    }
    if (only === undefined || field.number === only) yield field;
  }
}

async function startCollector(): Promise<void> {
  let counts: ReceivedSpans = {};
  const { port } = await startExportServer(
    ({ request }, respond) => {
      respond(null, ACCEPTED);
      countClientSpans(request, counts);
    },
    undefined,
    undefined,
    ['/opentelemetry.proto.collector.metrics.v1.MetricsService/Export'],
  );
  announce(`127.0.0.1:${port}`, () => {
    const received = counts;
    counts = {};
    return received;
  });
}

if (import.meta.main) await startCollector();
