/**
 * Stage 5: the probe's trace, looked up where people look at it: both halves, rightly joined, and their
 * clocks.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { withoutCredentials } from '../config/settings.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import type { Finding } from './finding.ts';
import { failed, resolveName } from './network.ts';
import { type FoundSpan, spansOf } from './query-answer.ts';

export interface JoinOrder {
  traceId: string;
  serviceName: string;
  /** Base of the query API, as given, or as guessed from the collector's host. */
  queryUrl: string;
  guessed: boolean;
  /** host:port of the client's collector, for the block to paste. */
  collector: string;
  milvusAddress: string;
  /** When to give up, in ms on the clock of performance.now(). */
  deadlineMs: number;
}

const POLL_MS = 250;

export async function checkJoin(order: JoinOrder): Promise<Finding[]> {
  const { traceId, queryUrl, deadlineMs } = order;
  const shown = withoutCredentials(queryUrl);
  const base = new URL(queryUrl);
  const headers: Record<string, string> = { accept: 'application/json' };
  if (base.username !== '') {
    const pair = `${decodeURIComponent(base.username)}:${decodeURIComponent(base.password)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
    base.username = '';
    base.password = '';
  }
  const resolved = await resolveName(base.hostname.replace(/^\[|\]$/g, ''), 2_000);
  if (failed(resolved)) return [noQuery(order, `${base.hostname} is not resolved: ${resolved.failure}`)];
  // raw: as the spans came, without Jaeger's own correction of clocks.
  const url = `${base.href.replace(/\/+$/, '')}/api/traces/${traceId}?raw=true`;

  let spans: FoundSpan[] = [];
  let answered = false;
  let lastError = 'no answer';
  for (;;) {
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) break;
    try {
      const response = await fetch(url, {
        headers,
        redirect: 'manual',
        // It takes no fractions.
        signal: AbortSignal.timeout(Math.ceil(Math.min(leftMs, 2_000))),
      });
      const text = await response.text();
      const found = readAnswer(response.status, text);
      if (typeof found === 'string') return [noQuery(order, `${shown} ${found}`)];
      answered = true;
      spans = found;
    } catch (error) {
      const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
      lastError = oneLine(cause?.code ?? cause?.message ?? message);
      // Nothing listens: that does not change within seconds.
      if (cause?.code === 'ECONNREFUSED') break;
    }
    if (isJoined(spans)) break;
    await sleep(Math.max(0, Math.min(POLL_MS, deadlineMs - performance.now())));
  }
  if (!answered) return [noQuery(order, `${shown} gives no answer: ${lastError}`)];
  return [{ id: 'join.query', status: 'ok', found: `${shown} answers` }, ...joinFindings(spans, order)];
}

/** Spans; or what is wrong with the answer, for a sentence that begins with the address. */
function readAnswer(status: number, text: string): FoundSpan[] | string {
  if (status === 401 || status === 403)
    return `asks for credentials (HTTP status ${status}): give them in the URL, http://USER:PASSWORD@…`;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // Tempo says "trace not found" in plain text.
    if (status === 404 && /trace/i.test(text)) return [];
    return `does not answer as Jaeger's query API does (HTTP status ${status}): is it the address of the UI?`;
  }
  return (
    spansOf(json) ??
    (status === 404 ? [] : `does not answer as Jaeger's query API does (HTTP status ${status})`)
  );
}

const noQuery = ({ guessed }: JoinOrder, found: string): Finding => ({
  id: 'join.query',
  // A guess of ours that is wrong is no fault of the setup's.
  status: guessed ? 'skipped' : 'failure',
  found: guessed ? `${found}; no --jaeger was given` : found,
  fix: '--jaeger http://HOST:16686, the address of the Jaeger UI (or of Tempo: http://HOST:3200)',
});

const isCall = ({ kind, attributes }: FoundSpan): boolean =>
  kind === 'client' && (attributes['db.system.name'] === 'milvus' || 'rpc.method' in attributes);
const isServer = ({ kind, name }: FoundSpan): boolean => kind === 'server' && /MilvusService\//.test(name);

/** The probe's calls. Those below a span of the server are calls among Milvus' parts. */
function clientsOf(spans: readonly FoundSpan[]): FoundSpan[] {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const isInside = (span: FoundSpan, levels = spans.length): boolean => {
    const parent = byId.get(span.parentSpanId ?? '');
    return parent !== undefined && levels > 0 && (isServer(parent) || isInside(parent, levels - 1));
  };
  return spans.filter((span) => isCall(span) && !isInside(span));
}

function pairs(spans: readonly FoundSpan[]): [client: FoundSpan, server: FoundSpan][] {
  const clients = clientsOf(spans);
  return spans
    .filter(isServer)
    .flatMap((server): [FoundSpan, FoundSpan][] =>
      clients.filter(({ spanId }) => spanId === server.parentSpanId).map((client) => [client, server]),
    );
}

const isJoined = (spans: readonly FoundSpan[]): boolean => pairs(spans).length > 0;

/** What a trace shows. Pure. */
export function joinFindings(
  spans: readonly FoundSpan[],
  {
    traceId,
    serviceName,
    queryUrl,
    collector,
    milvusAddress,
  }: Pick<JoinOrder, 'traceId' | 'serviceName' | 'queryUrl' | 'collector' | 'milvusAddress'>,
): Finding[] {
  const shown = withoutCredentials(queryUrl);
  const clients = clientsOf(spans);
  const servers = spans.filter(isServer);
  const findings: Finding[] = [];
  if (clients.length === 0)
    findings.push({
      id: 'join.client',
      status: 'failure',
      found:
        servers.length > 0
          ? `trace ${traceId} has the server's span and not the client's: the two send to different collectors`
          : `no span of trace ${traceId} is in ${shown}: the collector ${collector} passes them to another place, or samples whole traces and has not kept this one yet`,
      fix: `let the collector ${collector} export to ${shown}, or set OTEL_EXPORTER_OTLP_ENDPOINT to the collector of ${shown}; for a collector that samples whole traces: --wait 60`,
    });
  else
    findings.push({
      id: 'join.client',
      status: 'ok',
      found: `the client's span "${clients.at(-1)?.name}" of ${serviceName} is there`,
    });
  if (servers.length === 0) {
    if (clients.length > 0)
      findings.push({
        id: 'join.server',
        status: 'failure',
        found: `trace ${traceId} has the client's span and none of the server's: Milvus does not export, or to another collector`,
        fix: serverFix(collector, milvusAddress),
      });
    return findings;
  }
  const services = [...new Set(servers.map(({ service }) => service))].join(', ');
  findings.push({
    id: 'join.server',
    status: 'ok',
    found: `the server's span (${services}) is in the same trace`,
  });
  if (clients.length === 0) return findings;
  const [pair] = pairs(spans);
  if (pair === undefined) {
    findings.push({
      id: 'join.parent',
      status: 'failure',
      found: `the server's span "${servers[0]?.name}" is not a child of the client's: its parent is ${servers[0]?.parentSpanId ?? 'none'}`,
      fix: 'a proxy between them creates spans or rewrites traceparent: pass the header unchanged',
    });
    return findings;
  }
  const [client, server] = pair;
  findings.push({
    id: 'join.parent',
    status: 'ok',
    found: `${client.name} (${client.service}) └─ ${server.name} (${server.service})`,
  });
  findings.push(clockFinding(pairs(spans)));
  return findings;
}

/** Skew beyond this shows in a trace's picture. */
const TOLERATED_MS = 1;

/**
 * The server's clock against the client's. A server span lies inside its client span, so of each pair the
 * skew is within [server end - client end, server start - client start]; of all pairs, within what is common
 * to these.
 */
export function clockFinding(of: readonly (readonly [client: FoundSpan, server: FoundSpan])[]): Finding {
  const least = Math.max(...of.map(([client, server]) => server.endMs - client.endMs));
  const most = Math.min(...of.map(([client, server]) => server.startMs - client.startMs));
  if (least <= TOLERATED_MS && most >= -TOLERATED_MS)
    return {
      id: 'join.clock',
      status: 'ok',
      found: `the server's span lies inside the client's; the clocks differ by ${shownMs(least)} to ${shownMs(most)} ms at most`,
    };
  const middle = (least + most) / 2;
  return {
    id: 'join.clock',
    status: 'warning',
    found: `the server's clock is ${shownMs(Math.abs(middle))} ms ${middle > 0 ? 'ahead of' : 'behind'} the client's (±${shownMs(Math.abs(most - least) / 2)} ms)`,
    fix: 'a time service (chrony, systemd-timesyncd) on both machines: timedatectl status',
  };
}

const shownMs = (ms: number): string => ms.toFixed(1).replace(/^-?0\.0$/, '0');

/** The server's trace block, with the client's own collector in it, and the same by variables. */
export function serverFix(collector: string, milvusAddress: string): string {
  if (/\.(zillizcloud|vectordb\.zillizcloud)\.com|\.cloud\.zilliz\.com/.test(milvusAddress))
    return 'a managed Milvus does not send its spans to you, so there are only client spans';
  return `this block in milvus.yaml (or user.yaml next to it), then restart Milvus, with the collector running first
trace:
  exporter: otlp            # the default sends nothing
  sampleFraction: 0         # clients decide
  otlp:
    endpoint: ${collector}   # host:port without a scheme, as seen from Milvus
    method: grpc
    secure: false           # the default is true: TLS, which a plain collector rejects
or by variables of the server:
TRACE_EXPORTER=otlp TRACE_OTLP_ENDPOINT=${collector} TRACE_OTLP_SECURE=false TRACE_SAMPLEFRACTION=0`;
}
