/**
 * What the sending process, or thread, gets of the app's surroundings: the same trust and the same route to
 * the collector, and none of the app's preloads. Pure. docs/decisions/sending-at-exit.md says why the
 * environment goes as a whole and flags by a list.
 */
import { splitNodeOptions } from '../config/node-options.ts';

/** In the environment of the sending process. src/register.cjs looks for it too. */
export const SENDING = 'MILVUS_OTEL_SENDING';

/** Flags that decide how a connection is made, and whether Node runs at all; the second group has values. */
const FLAGS =
  /^--(?:no-)?(?:use-(?:system|openssl|bundled)-ca|use-env-proxy|tls-(?:min|max)-v1\.\d|openssl-(?:legacy-provider|shared-config)|(?:enable|force)-fips|jitless)$/;
const FLAGS_WITH_VALUE =
  /^--(?:tls-cipher-list|openssl-config|secure-heap(?:-min)?|max-http-header-size|icu-data-dir)$/;

/**
 * The flags of connections among the app's. Of two that contradict, the last one counts: the command line's.
 */
export function connectionFlags(execArgv: readonly string[], nodeOptions = ''): string[] {
  const flags: string[] = [];
  const words = [...splitNodeOptions(nodeOptions).words, ...execArgv];
  for (let at = 0; at < words.length; at++) {
    const [, written = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(words[at] as string) ?? [];
    const name = written.replaceAll('_', '-');
    if (value === undefined && FLAGS.test(name)) flags.push(name);
    if (!FLAGS_WITH_VALUE.test(name)) continue;
    const given = value ?? words[++at];
    if (given !== undefined) flags.push(`${name}=${given}`);
  }
  return flags;
}

/**
 * All but what would load the app's preloads (connectionFlags has its flags), and write the app's coverage
 * again.
 */
export function sendersEnvironment({
  NODE_OPTIONS: _options,
  NODE_V8_COVERAGE: _coverage,
  ...rest
}: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...rest, [SENDING]: '1' };
}
