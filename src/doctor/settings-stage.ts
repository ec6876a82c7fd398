/**
 * Stage 2: the variables as they are understood, and what in them cancels out. Pure but for a look at
 * OTEL_CONFIG_FILE.
 */
import { accessSync, constants } from 'node:fs';
import { readSettings, SETTINGS, type Settings, withoutCredentials } from '../config/settings.ts';
import { selectInstrumentations } from '../instrumentations/selection.ts';
import { shownEndpoint, tracesProtocol, tracesTarget } from '../otlp/target.ts';
import { describeMisspelling, describeProblem, oneLine } from '../sdk/diagnostics.ts';
import type { Finding } from './finding.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export function checkSettings(env: Environment): { settings: Settings; findings: Finding[] } {
  const settings = readSettings(env);
  const findings: Finding[] = [
    { id: 'settings.values', status: 'ok', found: `${shownValues(env, settings)}` },
    ...settings.problems.map(
      (problem): Finding => ({
        id: 'settings.unusable',
        status: 'warning',
        found: describeProblem(problem).replace(/\.$/, ''),
        fix: `set ${problem.variable} to ${problem.expected}`,
      }),
    ),
    ...settings.misspellings.map(
      (misspelling): Finding => ({
        id: 'settings.misspelt',
        status: 'warning',
        found: describeMisspelling(misspelling),
        fix: `rename it to ${misspelling.meant}`,
      }),
    ),
  ];
  findings.push(...switchesOff(settings), ...endpointFindings(settings, env), ...proxies(env, settings));
  return { settings, findings };
}

/** `NAME=value` of what is set, and where spans go; a secret's value is not shown. */
function shownValues(env: Environment, settings: Settings): string {
  const rows = Object.values(SETTINGS) as { env: string; secret?: boolean }[];
  const given = rows.flatMap(({ env: name, secret }) => {
    const raw = env[name]?.trim();
    if (raw === undefined || raw === '') return [];
    return `${name}=${secret ? '(not shown)' : shownValue(name, raw)}`;
  });
  const way = `spans go to ${shownEndpoint(settings)} (${tracesProtocol(settings)}), sampler ${settings.sampler}`;
  return `${given.length === 0 ? 'no OTEL_ variable is set' : given.join(' ')}; ${way}`;
}

/** Values of attributes are people's own: of those that sound like secrets, only the key is shown. */
const shownValue = (name: string, raw: string): string =>
  oneLine(
    name === 'OTEL_RESOURCE_ATTRIBUTES'
      ? raw.replace(/([^,=]*(?:secret|token|password|key|auth)[^,=]*)=[^,]*/gi, '$1=(not shown)')
      : withoutCredentials(raw),
  );

function switchesOff(settings: Settings): Finding[] {
  const findings: Finding[] = [];
  const failure = (id: Finding['id'], found: string, fix: string, status: Finding['status'] = 'failure') =>
    findings.push({ id, status, found, fix });

  if (settings.sdkDisabled)
    failure('settings.disabled', 'OTEL_SDK_DISABLED=true turns everything off', 'unset OTEL_SDK_DISABLED');
  if (settings.configFile !== undefined) {
    try {
      accessSync(settings.configFile, constants.R_OK);
      failure(
        'settings.file',
        `OTEL_CONFIG_FILE=${oneLine(settings.configFile)} describes the telemetry; the variables for exporter, endpoint and sampler are ignored, and only the probe sends to the collector in the file`,
        'check exporter, endpoint and sampler in that file',
        'warning',
      );
    } catch {
      failure(
        'settings.file',
        `OTEL_CONFIG_FILE=${oneLine(settings.configFile)} cannot be read, so the app runs untraced`,
        'unset OTEL_CONFIG_FILE, or give the absolute path of a file that the app may read',
      );
    }
    return findings;
  }
  if (settings.tracesExporter.includes('none'))
    failure(
      'settings.exporter',
      'OTEL_TRACES_EXPORTER=none: no span leaves the app',
      'unset OTEL_TRACES_EXPORTER',
    );
  else if (!settings.tracesExporter.includes('otlp'))
    failure(
      'settings.exporter',
      `OTEL_TRACES_EXPORTER=${settings.tracesExporter.join(',')}: no span goes to an OTLP collector; the doctor checks one nevertheless`,
      'unset OTEL_TRACES_EXPORTER, or add otlp to it',
      'warning',
    );
  const { sampler, samplerRatio } = settings;
  if (sampler.endsWith('always_off') || (sampler.endsWith('ratio') && samplerRatio === 0))
    failure(
      'settings.sampler',
      `OTEL_TRACES_SAMPLER=${sampler}${sampler.endsWith('ratio') ? ' with OTEL_TRACES_SAMPLER_ARG=0' : ''} keeps no trace that begins here`,
      'unset OTEL_TRACES_SAMPLER',
    );
  else if (sampler.endsWith('ratio') && samplerRatio < 1)
    failure(
      'settings.sampler',
      `OTEL_TRACES_SAMPLER=${sampler} keeps a share of ${samplerRatio}: most single calls leave no trace`,
      'while looking for traces: unset OTEL_TRACES_SAMPLER',
      'warning',
    );
  if (!settings.propagators.includes('tracecontext') || settings.propagators.includes('none'))
    failure(
      'settings.propagators',
      `OTEL_PROPAGATORS=${settings.propagators.join(',')} has no tracecontext, the only one that Milvus reads`,
      'unset OTEL_PROPAGATORS, or add tracecontext to it',
    );
  const selection = selectInstrumentations(settings);
  if (!selection.milvus)
    failure(
      'settings.instrumentations',
      settings.disabledInstrumentations.includes('milvus')
        ? 'OTEL_NODE_DISABLED_INSTRUMENTATIONS names milvus, so Milvus operations are not traced'
        : 'OTEL_NODE_ENABLED_INSTRUMENTATIONS leaves milvus out, so Milvus operations are not traced',
      settings.disabledInstrumentations.includes('milvus')
        ? 'take milvus out of OTEL_NODE_DISABLED_INSTRUMENTATIONS'
        : 'add milvus to OTEL_NODE_ENABLED_INSTRUMENTATIONS',
    );
  for (const warning of selection.warnings.filter((text) => / unknown names: /.test(text)))
    failure('settings.instrumentations', warning.replace(/\.$/, ''), 'correct or remove the name', 'warning');
  return findings;
}

function endpointFindings(settings: Settings, env: Environment): Finding[] {
  const findings: Finding[] = [];
  const warn = (found: string, fix: string) =>
    findings.push({ id: 'settings.endpoint', status: 'warning', found, fix });
  const protocol = tracesProtocol(settings);
  const given = settings.tracesEndpoint ?? settings.endpoint;
  if (given === undefined || settings.configFile !== undefined || given.startsWith('unix:')) return findings;
  const variable =
    settings.tracesEndpoint === undefined
      ? 'OTEL_EXPORTER_OTLP_ENDPOINT'
      : 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
  const { url } = tracesTarget(settings);
  const { port, pathname } = new URL(url);
  const shown = shownEndpoint(settings);
  if (protocol === 'grpc' && port === '4318')
    warn(
      `${variable}=${shown} is used with gRPC, but 4318 is the usual port for HTTP`,
      `port 4317, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`,
    );
  if (protocol !== 'grpc' && port === '4317')
    warn(
      `${variable}=${shown} is used with HTTP, but 4317 is the usual port for gRPC`,
      `port 4318, or OTEL_EXPORTER_OTLP_PROTOCOL=grpc`,
    );
  const path = /^[a-z]+:\/\/[^/]+(\/.+)$/i.exec(given)?.[1];
  if (protocol === 'grpc' && path !== undefined)
    warn(
      `${variable}=${shown} has a path, which gRPC does not use`,
      `${variable}=${new URL(url).origin}, or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`,
    );
  if (protocol !== 'grpc' && settings.tracesEndpoint !== undefined && !pathname.endsWith('/v1/traces'))
    warn(
      `${variable}=${shown} is used as it is, and does not end with /v1/traces`,
      `end it with /v1/traces, or set OTEL_EXPORTER_OTLP_ENDPOINT instead`,
    );
  if (
    settings.tracesEndpoint !== undefined &&
    settings.endpoint !== undefined &&
    env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT !== undefined
  )
    warn(
      'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set too, and traces go there instead of to OTEL_EXPORTER_OTLP_ENDPOINT',
      'unset the wrong one of the two',
    );
  return findings;
}

/**
 * What grpc-js reads, in its order; names in capitals are not read. Source: http_proxy.js of grpc-js 1.14.
 */
const PROXIES = ['grpc_proxy', 'https_proxy', 'http_proxy'];

/** gRPC goes through a proxy as soon as one is in the environment. */
function proxies(env: Environment, settings: Settings): Finding[] {
  const found = PROXIES.find((name) => (env[name] ?? '') !== '');
  if (found === undefined) return [];
  const exempt = env.no_grpc_proxy || env.no_proxy || '';
  const overGrpc = settings.configFile === undefined && tracesProtocol(settings) === 'grpc';
  const host = overGrpc ? hostOf(tracesTarget(settings).url) : undefined;
  if (host !== undefined && exempt.split(',').some((name) => name !== '' && host.endsWith(name))) return [];
  const reached = overGrpc ? 'to the collector and to Milvus' : 'to Milvus';
  return [
    {
      id: 'settings.proxy',
      status: 'warning',
      found: `${found}=${withoutCredentials(oneLine(env[found] ?? ''))}: gRPC ${reached} goes through it`,
      fix: `no_proxy=${[exempt, host].filter(Boolean).join(',')}${exempt || host ? ',' : ''}HOST_OF_MILVUS, the hosts that need no proxy`,
    },
  ];
}

const hostOf = (url: string): string | undefined => (URL.canParse(url) ? new URL(url).hostname : undefined);
