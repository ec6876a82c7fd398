/** Received spans for tests of functions that read them. */
import type { ReceivedSpan } from '../../tools/servers/receiver.ts';

/** A server span of 1 ms, with the given fields. */
export function receivedSpan(given: Pick<ReceivedSpan, 'spanId'> & Partial<ReceivedSpan>): ReceivedSpan {
  return {
    traceId: 'a'.repeat(32),
    parentSpanId: undefined,
    name: given.spanId,
    kind: 'INTERNAL',
    service: 'standalone',
    scope: '',
    scopeVersion: '',
    startMs: 0,
    durationMs: 1,
    attributes: {},
    status: { code: 'UNSET', message: '' },
    resource: {},
    events: [],
    ...given,
  };
}
