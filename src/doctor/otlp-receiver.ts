/** The collector inside the doctor, for an app that it runs. */

import { type FieldValue, fields, messages, text } from '../otlp/protobuf.ts';
import { ACCEPTED, type ExportServer, startExportServer } from './export-server.ts';

export interface ExportedSpan {
  traceId: string;
  spanId: string;
  name: string;
  /** Of these only texts are of interest here. */
  attributes: Record<string, string>;
}

export interface OwnReceiver extends ExportServer {
  spans(): readonly ExportedSpan[];
}

export async function startOwnReceiver(): Promise<OwnReceiver> {
  const spans: ExportedSpan[] = [];
  const server = await startExportServer(({ request }, respond) => {
    try {
      spans.push(...exportedSpans(request));
    } catch {
      // Not an export of spans: accept it, so that its sender does not retry.
    }
    respond(null, ACCEPTED);
  });
  return { ...server, spans: () => spans };
}

/** ExportTraceServiceRequest { resource_spans = 1 { scope_spans = 2 { spans = 2 } } } */
export const exportedSpans = (request: Uint8Array): ExportedSpan[] =>
  messages(request, 1)
    .flatMap((resourceSpans) => messages(resourceSpans, 2))
    .flatMap((scopeSpans) => messages(scopeSpans, 2))
    .map(exportedSpan);

const hex = (value: FieldValue): string =>
  typeof value === 'bigint' ? '' : Buffer.from(value).toString('hex');

/**
 * Span { trace_id = 1, span_id = 2, name = 5, attributes = 9 { key = 1, value = 2 { string_value = 1 } } }
 */
function exportedSpan(span: Uint8Array): ExportedSpan {
  const found: ExportedSpan = { traceId: '', spanId: '', name: text(span, 5), attributes: {} };
  for (const [number, value] of fields(span)) {
    if (number === 1) found.traceId = hex(value);
    else if (number === 2) found.spanId = hex(value);
    else if (number === 9 && typeof value !== 'bigint')
      found.attributes[text(value, 1)] = messages(value, 2)
        .map((any) => text(any, 1))
        .join();
  }
  return found;
}
