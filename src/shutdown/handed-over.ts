/**
 * Environment and flags of the sending process or thread: the app's trust and its route to the collector,
 * without its preloads. Pure. docs/decisions/sending-at-exit.md has the reasons for the whole environment and
 * a list of flags.
 */
import { splitNodeOptions } from '../config/node-options.ts';

/** In the environment of the sending process. src/register.cjs looks for it too. */
export const SENDING = 'MILVUS_OTEL_SENDING';

/** Flags that affect connections, or whether Node runs at all; those of the second group have values. */
const FLAGS =
  /^--(?:no-)?(?:use-(?:system|openssl|bundled)-ca|use-env-proxy|tls-(?:min|max)-v1\.\d|openssl-(?:legacy-provider|shared-config)|(?:enable|force)-fips|jitless)$/;
const FLAGS_WITH_VALUE =
  /^--(?:tls-cipher-list|openssl-config|secure-heap(?:-min)?|max-http-header-size|icu-data-dir)$/;

/**
 * The app's flags that affect connections. Of two that contradict, the last one applies: the command line's.
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
 * The environment without NODE_OPTIONS, which would load the app's preloads (connectionFlags passes its flags
 * on), and without NODE_V8_COVERAGE, which would write the app's coverage again.
 */
export function sendersEnvironment({
  NODE_OPTIONS: _options,
  NODE_V8_COVERAGE: _coverage,
  ...rest
}: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...rest, [SENDING]: '1' };
}
