/** Builds the real Prometheus and its promtool from their Go module, once, into .cache/prometheus. */
import { join } from 'node:path';
import { ensureGoProgram, type GoBuildOptions } from './go-program.ts';

/** The same as the image in compose/production. */
export const prometheusVersion = '3.16.0';
/** The `go` line of that version's go.mod: an older Go cannot build it. */
export const goNeeded = '1.26.7';
/** Prometheus 3.16.0 is v0.316.0 of its Go module. */
const moduleVersion = prometheusVersion.replace(
  /^3\.(\d+)\./,
  (_, minor) => `v0.3${minor.padStart(2, '0')}.`,
);

/** Without its web pages, which are not in the Go module. See `ensureGoProgram`. */
export const ensurePrometheus = (options?: GoBuildOptions): Promise<string> =>
  ensureCommand('prometheus', 'about 3 minutes on two cores', options);

/** Checks configurations and rules. */
export const ensurePromtool = (options?: GoBuildOptions): Promise<string> =>
  ensureCommand('promtool', 'about 2 minutes after Prometheus', options);

function ensureCommand(command: string, takes: string, options?: GoBuildOptions): Promise<string> {
  return ensureGoProgram(
    {
      title: `${command} ${prometheusVersion}`,
      file: command,
      version: prometheusVersion,
      goNeeded,
      takes,
      cacheDir: join(import.meta.dirname, '..', '..', '.cache', 'prometheus'),
      async build(go, scratch) {
        const module = `github.com/prometheus/prometheus@${moduleVersion}`;
        const { Dir } = JSON.parse(await go(['mod', 'download', '-json', module]));
        // Without the service discovery of clouds, whose clients are most of the build.
        const options = ['-tags', 'netgo,remove_all_sd', '-ldflags', '-s -w', '-v'];
        await go(['build', '-C', Dir, ...options, '-o', join(scratch, command), `./cmd/${command}`]);
      },
    },
    options,
  );
}
