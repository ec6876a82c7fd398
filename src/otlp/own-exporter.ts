/** OTLP over gRPC by a client of our own; a part of its own, which is loaded with the first batch. */

import type { Settings } from '../config/settings.ts';
import { type Exporter, requestOf } from './exporter.ts';
import { GrpcClient } from './otlp-grpc.ts';
import { rejectionIn } from './partial-success.ts';
import { tracesTarget } from './target.ts';

export function createExporter(settings: Settings): Exporter {
  const client = new GrpcClient(tracesTarget(settings), false);
  const timeoutMs = settings.tracesExportTimeoutMs ?? settings.exportTimeoutMs;
  return (batch) => client.post(requestOf(batch), timeoutMs).then((answer) => rejectionIn(answer, false));
}
