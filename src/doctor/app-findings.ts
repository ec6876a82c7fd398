/** Events of one run of the app, as the call recorder writes them → findings. Pure. */
import { NODES } from '../version.ts';
import type { Finding } from './finding.ts';
import type { ExportedSpan } from './otlp-receiver.ts';

/** The variable with the path of the file to which the call recorder appends. */
export const FILE_VARIABLE = 'MILVUS_OTEL_DOCTOR_EVENTS';

export interface RecordedEvent {
  pid: number;
  kind: 'start' | 'sdk' | 'call';
  /** Whether the preload was loaded by then. */
  preloaded: boolean;
  node?: string;
  /** Whether the preload runs on that Node. */
  supported?: boolean;
  method?: string;
  traceparent?: string | null;
}

export interface RunFacts {
  events: readonly RecordedEvent[];
  spans: readonly ExportedSpan[];
  /** Where the spans would have gone. */
  destination: string;
  /**
   * The first failure of the settings stage, such as a list without milvus or a sampler that keeps nothing.
   */
  settingsFailure: string | undefined;
  /** The bundler option that keeps the SDK outside the bundle in this app. */
  howToKeepOutside: string;
}

/** Calls that the SDK makes on its own account: of a bundled one, they have a span only under another. */
const INTERNAL = ['Connect', 'DescribeCollection'];

const counted = (names: readonly string[]): string => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`)).join(', ');
};

export function appFindings({
  events,
  spans,
  destination,
  settingsFailure,
  howToKeepOutside,
}: RunFacts): Finding[] {
  const findings: Finding[] = [];
  const starts = events.filter(({ kind }) => kind === 'start');
  const sdks = events.filter(({ kind }) => kind === 'sdk');
  // REST needs no SDK.
  const isBundled =
    sdks.length === 0 &&
    events.some(({ kind, method = 'REST' }) => kind === 'call' && !method.startsWith('REST'));
  const isUnspanned = ({ method = '', traceparent, preloaded }: RecordedEvent) =>
    isBundled && preloaded && traceparent === null && INTERNAL.includes(method);
  const calls = events.filter((one) => one.kind === 'call' && !isUnspanned(one));
  const early = sdks.find(({ preloaded }) => !preloaded);
  const everPreloaded = events.some(({ preloaded }) => preloaded) || spans.length > 0;
  const oldNode = starts.find(({ supported }) => supported === false);

  if (starts.length === 0)
    findings.push({
      id: 'app.preload',
      status: 'failure',
      found:
        'nothing was loaded into the app: the command is not Node, or it replaces NODE_OPTIONS before it starts Node',
      fix: 'the command that runs Node itself: -- node app.js; or --import milvus-otel/register in the NODE_OPTIONS that the command sets',
    });
  else if (oldNode !== undefined)
    findings.push({
      id: 'app.preload',
      status: 'failure',
      found: `the app runs on Node ${oldNode.node}, which is too old`,
      fix: `Node ${NODES}`,
    });
  else if (early !== undefined)
    findings.push({
      id: 'app.preload',
      status: 'failure',
      found: 'the SDK was loaded before the preload, so its clients are not patched',
      fix: 'node --import milvus-otel/register app.js, before any other --import; take import "milvus-otel/register" out of the source',
    });
  else if (everPreloaded)
    findings.push({
      id: 'app.preload',
      status: 'ok',
      found: `the preload was loaded${sdks.length > 0 ? ', before the SDK' : ''}`,
    });

  const exported = new Set(spans.map(({ traceId, spanId }) => `${traceId} ${spanId}`));
  const traced: string[] = [];
  const untraced: string[] = [];
  const unsampled: string[] = [];
  const lost: string[] = [];
  for (const { method = '', traceparent } of calls) {
    const [, traceId, spanId, flags = '0'] =
      /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/.exec(traceparent ?? '') ?? [];
    if (traceId === undefined) untraced.push(method);
    else if ((Number.parseInt(flags, 16) & 1) === 0) unsampled.push(method);
    else if (exported.has(`${traceId} ${spanId}`)) traced.push(method);
    else lost.push(method);
  }
  const operations = spans.filter(({ attributes }) => attributes['db.system.name'] === 'milvus');
  if (calls.length === 0)
    findings.push({
      id: 'app.traced',
      status: starts.length === 0 ? 'skipped' : 'warning',
      found: 'the app made no Milvus call while it ran',
      fix: 'a longer --for SECONDS, or send the app a request from another terminal',
    });
  else if (traced.length > 0)
    findings.push({
      id: 'app.traced',
      status: 'ok',
      found:
        `${traced.length} of ${calls.length} Milvus calls have a span: ${counted(traced)}; ${spans.length} spans would have gone to ${destination}, of these ${operations.length} of Milvus: ${counted(operations.map(({ name }) => name))}`.slice(
          0,
          600,
        ),
    });
  if (isBundled && everPreloaded)
    findings.push({
      id: 'app.bundle',
      status: 'warning',
      found:
        'the SDK was not loaded as a package: it is inside a bundle, and each of its gRPC calls gets a span',
      fix: howToKeepOutside,
    });
  if (untraced.length > 0) {
    const { why, fix } = whyUntraced();
    findings.push({
      id: 'app.untraced',
      status: 'failure',
      found: `${untraced.length} of ${calls.length} Milvus calls have no span (${counted(untraced)}): ${why}`,
      fix,
    });
  }
  if (unsampled.length > 0)
    findings.push({
      id: 'app.untraced',
      status: 'failure',
      found: `${unsampled.length} of ${calls.length} Milvus calls were not sampled (${counted(unsampled)}), by the sampler or a caller's traceparent`,
      fix: 'unset OTEL_TRACES_SAMPLER; or OTEL_TRACES_SAMPLER=always_on, which ignores the decision of callers',
    });
  if (lost.length > 0)
    findings.push({
      id: 'app.lost',
      status: 'failure',
      found: `the spans of ${lost.length} of ${calls.length} Milvus calls were not exported (${counted(lost)}): the app was killed, or a span did not end`,
      fix: 'more time between SIGTERM and SIGKILL; OTEL_BSP_SCHEDULE_DELAY=1000 reduces the loss',
    });
  return findings;

  function whyUntraced(): { why: string; fix: string } {
    if (early !== undefined)
      return {
        why: 'the SDK was loaded before the preload',
        fix: 'node --import milvus-otel/register app.js, before other options that load code',
      };
    if (!calls.some(({ preloaded }) => preloaded))
      return {
        why: 'the preload was not loaded in that process',
        fix: 'NODE_OPTIONS="--import milvus-otel/register", which child processes inherit',
      };
    if (settingsFailure !== undefined) return { why: settingsFailure, fix: 'see the settings above' };
    if (sdks.length === 0)
      return {
        why: 'no module hook saw the SDK load, as in a bundle',
        fix: howToKeepOutside,
      };
    return {
      why: 'the SDK did not call the patched methods',
      fix: 'OTEL_LOG_LEVEL=debug node --import milvus-otel/register app.js 2>&1 | grep "Applying instrumentation patch"',
    };
  }
}
