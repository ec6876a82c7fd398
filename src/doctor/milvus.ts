/**
 * Stage 4: from a name to a traced call that Milvus answers. The call is made by a probe, a process under the
 * preload.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { withoutCredentials } from '../config/settings.ts';
import { SDK } from '../milvus/sdk-version.ts';
import { lastConnectionError, PROXY_FAILURE } from '../otlp/reason.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import { checkPlace } from './collector.ts';
import type { Finding } from './finding.ts';
import { MILVUS_PORT, milvusPlace } from './milvus-place.ts';
import { type ProbeAnswer, runProbe } from './probe-run.ts';

export interface MilvusAccess {
  token?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
}

export interface Probed {
  findings: Finding[];
  /** Undefined when the probe failed or had no answer. */
  answer: ProbeAnswer | undefined;
}

export async function checkMilvus(
  address: string,
  access: MilvusAccess,
  appFolder: string,
  env: NodeJS.ProcessEnv,
  /** On the clock of performance.now(). */
  deadlineMs: number,
): Promise<Probed> {
  const place = milvusPlace(address);
  const findings: Finding[] = [];
  if (place === undefined)
    return {
      answer: undefined,
      findings: [
        {
          id: 'milvus.name',
          status: 'failure',
          found: `${withoutCredentials(oneLine(address))} is not an address`,
          fix: '--milvus HOST:19530, or --milvus https://HOST:443',
        },
      ],
    };
  if (!place.portGiven && !place.tls)
    findings.push({
      id: 'milvus.name',
      status: 'warning',
      found: `the address ${place.shown} has no port, and gRPC uses 443 then`,
      fix: `${place.shown}:${MILVUS_PORT}`,
    });
  const bare = address.replace(/^[a-z]+:\/\//i, '');
  const sound = await checkPlace(
    'milvus',
    place,
    'http/2',
    { certificate: undefined, clientKey: undefined, clientCertificate: undefined },
    findings,
    {
      refused: `start Milvus, or give its address: --milvus HOST:${MILVUS_PORT}`,
      name: `--milvus HOST:${MILVUS_PORT}, with a host that resolves here`,
      plain: `the address without https: ${withoutCredentials(bare)}`,
      secured: `the address with https: https://${withoutCredentials(bare)}`,
      authority: 'NODE_EXTRA_CA_CERTS=/path/to/ca.pem, its certificate authority, for the app and for this',
      otherProtocol: `the gRPC port of Milvus, ${MILVUS_PORT} mostly; 9091 is for metrics and health`,
    },
  );
  if (!sound) return { findings, answer: undefined };

  const answer = await runProbe(
    { address, ...access, sdkPath: sdkPathOf(appFolder) ?? null },
    appFolder,
    env,
    Math.max(1_000, Math.round(deadlineMs - performance.now())),
  );
  findings.push(...probeFindings(answer, place.shown));
  return { findings, answer: 'traceId' in answer ? answer : undefined };
}

/** The SDK as the app would load it. */
export function sdkPathOf(appFolder: string): string | undefined {
  try {
    return createRequire(join(appFolder, 'any.js')).resolve(SDK);
  } catch {
    return undefined;
  }
}

const UNAUTHENTICATED = 16;
const PERMISSION_DENIED = 7;

/** The probe's answer → findings. Pure. */
export function probeFindings(answer: ProbeAnswer | { failure: string }, shown: string): Finding[] {
  if (!('traceId' in answer))
    return [
      {
        id: 'milvus.probe',
        status: 'failure',
        found: `the traced call to ${shown} did not finish: ${oneLine(answer.failure)}`,
        fix: 'the log of Milvus at this moment; curl -f http://HOST:9091/healthz',
      },
    ];
  const by =
    answer.sdkVersion === null ? 'by plain gRPC, without the SDK' : `by the SDK ${answer.sdkVersion}`;
  const { failure } = answer;
  if (failure !== null) {
    const message = lastConnectionError(failure.message) || failure.message;
    const reason = withoutCredentials(oneLine(message)).slice(0, 200);
    if (failure.code === UNAUTHENTICATED || failure.code === PERMISSION_DENIED)
      return [
        {
          id: 'milvus.access',
          status: 'failure',
          found: `${shown} rejects the call: ${reason}`,
          fix: 'MILVUS_TOKEN=USER:PASSWORD (or an API key), or MILVUS_USERNAME and MILVUS_PASSWORD, for this command',
        },
      ];
    return [
      {
        id: 'milvus.probe',
        status: 'failure',
        found: `${failure.step} at ${shown} failed: ${reason}`,
        fix:
          message === PROXY_FAILURE
            ? 'the proxy in grpc_proxy, https_proxy or http_proxy; or no_proxy with the host of Milvus'
            : 'the log of Milvus at this moment; curl -f http://HOST:9091/healthz',
      },
    ];
  }
  const findings: Finding[] = [
    { id: 'milvus.access', status: 'ok', found: 'Milvus accepts the calls' },
    {
      id: 'milvus.probe',
      status: 'ok',
      found: `GetVersion was answered (${by}), trace ${answer.traceId}`,
    },
  ];
  if (answer.complaints.length > 0)
    findings.push({
      id: 'milvus.probe',
      status: 'warning',
      found: `the preload reported in the probe: ${oneLine(answer.complaints.join(' ')).slice(0, 300)}`,
      fix: 'see the stages above: the probe has the same SDK, variables and collector',
    });
  findings.push(versionFinding(answer.version));
  return findings;
}

/** The server's tracing is known from 2.3 on. */
function versionFinding(version: string | null): Finding {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  const old = major !== undefined && (Number(major) < 2 || (Number(major) === 2 && Number(minor) < 3));
  return old
    ? {
        id: 'milvus.version',
        status: 'warning',
        found: `Milvus ${version} is older than 2.3, and such versions are not known to export spans over OTLP`,
        fix: 'Milvus 2.3 or newer; with an older one there are only client spans',
      }
    : {
        id: 'milvus.version',
        status: 'ok',
        found: `Milvus ${version || 'of an unknown version'}`,
      };
}
