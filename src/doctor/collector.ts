/** Stage 3: from a name to one marked span that the collector accepts. */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { type Settings, withoutCredentials } from '../config/settings.ts';
import { GrpcStatus } from '../grpc-status.ts';
import { openGrpcSender } from '../otlp/grpc-sender.ts';
import { openHttpSender } from '../otlp/http-sender.ts';
import { rejectionIn } from '../otlp/partial-success.ts';
import { PROXY_FAILURE, reasonFor } from '../otlp/reason.ts';
import { OtlpError, type OtlpSender } from '../otlp/sender.ts';
import { type OtlpTarget, shownEndpoint, tracesTarget } from '../otlp/target.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import type { CheckId, Finding } from './finding.ts';
import { markedRequest } from './marked-span.ts';
import { detectProtocol, type Failure, failed, reachAny, resolveName, shakeHands } from './network.ts';

export const STEP_MS = 2_000;

export async function checkCollector(settings: Settings, version: string): Promise<Finding[]> {
  if (settings.configFile !== undefined)
    return [
      {
        id: 'collector.export',
        status: 'skipped',
        found: 'OTEL_CONFIG_FILE sets the destination; only the probe shows whether spans arrive',
      },
    ];
  const target = tracesTarget(settings);
  const shown = shownEndpoint(settings);
  const findings: Finding[] = [];
  const unreadable = [target.certificate, target.clientKey, target.clientCertificate].find(
    (file) => file !== undefined && !canBeRead(file),
  );
  if (unreadable !== undefined)
    return [
      {
        id: 'collector.tls',
        status: 'failure',
        found: `the file ${unreadable} of OTEL_EXPORTER_OTLP_CERTIFICATE, CLIENT_KEY or CLIENT_CERTIFICATE cannot be read`,
        fix: `ls -l ${unreadable}`,
      },
    ];
  if (!target.url.startsWith('unix:')) {
    const url = new URL(target.url);
    const wanted = target.protocol === 'grpc' ? 'http/2' : 'http/1.1';
    const place = {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
      tls: url.protocol === 'https:',
    };
    const sound = await checkPlace('collector', place, wanted, target, findings, {
      refused: `start a collector at ${shown}, or set OTEL_EXPORTER_OTLP_ENDPOINT to the one that you have`,
      name: 'OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:4317, with a host that resolves here',
      plain: `OTEL_EXPORTER_OTLP_ENDPOINT=http://${url.host}`,
      secured: `OTEL_EXPORTER_OTLP_ENDPOINT=https://${url.host}`,
      authority: 'OTEL_EXPORTER_OTLP_CERTIFICATE=/path/to/ca.pem, its certificate authority',
      otherProtocol:
        target.protocol === 'grpc'
          ? 'OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or the gRPC port, 4317 mostly'
          : 'OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or the HTTP port, 4318 mostly',
    });
    if (!sound) return findings;
  }
  findings.push(await exportMarked(target, shown, settings, version));
  return findings;
}

interface Place {
  host: string;
  port: number;
  tls: boolean;
}

export interface Fixes {
  refused: string;
  name: string;
  /** TLS here, none there; and the other way round. */
  plain: string;
  secured: string;
  authority: string;
  otherProtocol: string;
}

/** Name, TCP, TLS and HTTP's version. Adds its findings; false when one of them is a failure. */
export async function checkPlace(
  stage: 'collector' | 'milvus',
  { host, port, tls }: Place,
  wanted: 'http/2' | 'http/1.1',
  files: Pick<OtlpTarget, 'certificate' | 'clientKey' | 'clientCertificate'>,
  findings: Finding[],
  fixes: Fixes,
): Promise<boolean> {
  const add = (step: 'name' | 'tcp' | 'tls' | 'protocol', found: string, fix?: string) => {
    const id: CheckId = `${stage}.${step}`;
    findings.push(
      fix === undefined ? { id, status: 'ok', found } : { id, status: 'failure', found: oneLine(found), fix },
    );
    return fix === undefined;
  };
  const resolved = await resolveName(host, STEP_MS);
  if (failed(resolved)) return add('name', `${host} is not resolved: ${resolved.failure}`, fixes.name);
  add('name', `${host} is ${resolved.addresses.join(', ')}`);

  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const reached = await reachAny(resolved.addresses, port, STEP_MS / Math.min(2, resolved.addresses.length));
  if (failed(reached)) {
    const other = LOCAL.test(host) ? await otherLoopback(resolved.addresses, port) : undefined;
    return other === undefined
      ? add('tcp', `${where} ${whyNotReached(reached, host)}`, fixes.refused)
      : add('tcp', `${where} is refused, and ${other}:${port} accepts connections`, `${other} as the host`);
  }
  add('tcp', `${where} accepts connections`);

  const protocol = wanted === 'http/2' ? 'gRPC (HTTP/2)' : 'HTTP/1.1';
  if (tls) {
    const alpn = wanted === 'http/2' ? ['h2'] : ['http/1.1'];
    const hands = await shakeHands(reached.address, port, host, readable(files), alpn, STEP_MS);
    if (failed(hands)) {
      const detected = await detectProtocol(reached.address, port, host, wanted, STEP_MS);
      return detected === 'http/2' || detected === 'http/1.1'
        ? add('tls', `${where} is a plain port (${detected}), and https means TLS`, fixes.plain)
        : add('tls', `the TLS handshake with ${where} fails: ${hands.failure}`, fixes.plain);
    }
    if (hands.refused !== undefined)
      return add(
        'tls',
        `the certificate of ${where} is not accepted: ${certificateProblem(hands.refused)} (${hands.certificate})`,
        hands.refused === 'ERR_TLS_CERT_ALTNAME_INVALID'
          ? `use a host name that the certificate is for`
          : fixes.authority,
      );
    add('tls', hands.certificate);
    if (wanted === 'http/2' && hands.alpn === 'http/1.1')
      return add('protocol', `${where} uses HTTP/1.1 over TLS, not gRPC`, fixes.otherProtocol);
    return add('protocol', `${where} uses TLS${hands.alpn ? ` with ${hands.alpn}` : ''}`);
  }
  const detected = await detectProtocol(reached.address, port, host, wanted, STEP_MS);
  if (detected === wanted) return add('protocol', `${where} uses ${protocol}`);
  if (detected === 'tls') return add('tls', `${where} uses TLS, the endpoint does not`, fixes.secured);
  if (detected === 'nothing')
    return add(
      'protocol',
      `${where} accepts connections and answers neither gRPC, HTTP nor TLS`,
      fixes.otherProtocol,
    );
  const other = detected === 'http/2' ? 'gRPC (HTTP/2)' : 'HTTP/1.1';
  return add('protocol', `${where} uses ${other}; the endpoint is set to ${protocol}`, fixes.otherProtocol);
}

const readable = (files: Pick<OtlpTarget, 'certificate' | 'clientKey' | 'clientCertificate'>) => files;

function canBeRead(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

const LOCAL = /^(localhost$|127\.|::1$)/;

/**
 * The loopback address that was not tried, if it accepts connections: a server may listen on one family only.
 */
async function otherLoopback(tried: readonly string[], port: number): Promise<string | undefined> {
  const others = ['127.0.0.1', '::1'].filter((address) => !tried.includes(address));
  const reached = await reachAny(others, port, STEP_MS / 2);
  return failed(reached) ? undefined : reached.address.replace(/.*:.*/, '[$&]');
}

/** Inside a container, localhost is the container. */
function whyNotReached({ failure, code }: Failure, host: string): string {
  const inContainer = existsSync('/.dockerenv') || existsSync('/run/.containerenv');
  const hint = inContainer && LOCAL.test(host) ? '; in a container, localhost is the container itself' : '';
  if (code === 'ECONNREFUSED') return `refuses the connection: nothing listens there (ECONNREFUSED)${hint}`;
  if (code === 'ETIMEDOUT') return `does not answer: a firewall or a wrong address (${failure})${hint}`;
  return `cannot be reached: ${failure}${hint}`;
}

const certificateProblem = (code: string): string =>
  ({
    DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate authority is not trusted',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate authority is not trusted',
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate authority is not trusted',
    CERT_HAS_EXPIRED: 'it has expired',
    CERT_NOT_YET_VALID: 'it is not valid yet',
    ERR_TLS_CERT_ALTNAME_INVALID: 'it is for other names',
  })[code] ?? code;

/** What an export came to. */
export interface ExportAnswer {
  accepted: boolean;
  /** gRPC status or HTTP status; undefined when there was no answer. */
  status: number | undefined;
  message: string;
}

async function exportMarked(
  target: OtlpTarget,
  shown: string,
  settings: Settings,
  version: string,
): Promise<Finding> {
  const traceId = randomBytes(16).toString('hex');
  const body = markedRequest(target.protocol, traceId, version);
  const timeoutMs = Math.min(settings.tracesExportTimeoutMs ?? settings.exportTimeoutMs, STEP_MS * 1.5);
  const { accepted, status, message } = await exportTo(target, body, timeoutMs);
  const id = 'collector.export';
  if (accepted)
    return { id, status: 'ok', found: `${shown} accepted a span "milvus-otel doctor", trace ${traceId}` };
  const reason = withoutCredentials(oneLine(message)).slice(0, 200);
  return {
    id,
    status: 'failure',
    found: `${shown} did not accept a span: ${reason}`,
    fix: exportFix(target.protocol === 'grpc', status, message),
  };
}

function exportFix(grpc: boolean, status: number | undefined, message: string): string {
  const headers = 'OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20TOKEN", as the collector asks for it';
  if (
    grpc
      ? status === GrpcStatus.UNAUTHENTICATED || status === GrpcStatus.PERMISSION_DENIED
      : status === 401 || status === 403
  )
    return headers;
  if (grpc ? status === GrpcStatus.UNIMPLEMENTED : status === 404 || status === 405)
    return grpc
      ? 'an OTLP receiver for traces at this port: in Jaeger COLLECTOR_OTLP_ENABLED=true, in a collector a pipeline for traces'
      : 'the path: OTEL_EXPORTER_OTLP_ENDPOINT is a base to which /v1/traces is added, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is used as it is';
  if (grpc ? status === GrpcStatus.RESOURCE_EXHAUSTED : status === 413 || status === 429)
    return 'the limits of the collector (memory, size, rate); or smaller batches: OTEL_BSP_MAX_EXPORT_BATCH_SIZE=64';
  if (message.startsWith(PROXY_FAILURE))
    return 'the proxy in grpc_proxy, https_proxy or http_proxy; or no_proxy with the host of the collector';
  if (/client certificate/.test(message))
    return 'OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/path/to/app.crt and OTEL_EXPORTER_OTLP_CLIENT_KEY=/path/to/app.key, of an authority that the collector knows';
  if (!grpc && status !== undefined && status < 300)
    return 'the address of an OTLP receiver, mostly port 4318 for HTTP and 4317 for gRPC; 16686 is the port of Jaeger’s page';
  if (/deadline|no answer/i.test(message))
    return 'the log of the collector: it accepts connections and does not answer';
  return 'the log of the collector, at this moment';
}

/** By the senders that the app has. */
async function exportTo(target: OtlpTarget, body: Uint8Array, timeoutMs: number): Promise<ExportAnswer> {
  let sender: OtlpSender | undefined;
  try {
    const open = target.protocol === 'grpc' ? openGrpcSender : openHttpSender;
    sender = open(target, { keepsAlive: true });
    return answerIn(await sender.send(body, { ms: timeoutMs }), target.protocol === 'http/json');
  } catch (error) {
    const status = error instanceof OtlpError ? error.status : undefined;
    return { accepted: false, status, message: reasonFor(error, target) };
  } finally {
    sender?.close();
  }
}

/** Of an answer whose status is good. */
export function answerIn(response: Uint8Array, isJson = false): ExportAnswer {
  const rejection = rejectionIn(response, isJson);
  return rejection === undefined || rejection.count === 0
    ? { accepted: true, status: 0, message: '' }
    : {
        accepted: false,
        status: undefined,
        message: `a partial success that rejects it: ${rejection.reason}`,
      };
}
