/** Builds Docker Compose's own loader of compose files, once, into .cache/compose. */
import { join } from 'node:path';
import { ensureGoProgram, type GoBuildOptions } from './go-program.ts';

const version = 'v2.16.2';

/**
 * Validates compose files, merges them in order, fills in variables and prints the result, like `docker
 * compose config` without an engine. See `ensureGoProgram`.
 */
export const ensureComposeLoader = (options?: GoBuildOptions): Promise<string> =>
  ensureGoProgram(
    {
      title: `compose-go ${version}`,
      file: 'compose-go',
      version,
      goNeeded: '1.24.0',
      takes: 'less than a minute on two cores',
      cacheDir: join(import.meta.dirname, '..', '..', '.cache', 'compose'),
      async build(go, scratch) {
        const module = 'github.com/compose-spec/compose-go/v2';
        const { Dir } = JSON.parse(await go(['mod', 'download', '-json', `${module}@${version}`]));
        await go(['build', '-C', Dir, '-v', '-o', join(scratch, 'compose-go'), './cmd']);
      },
    },
    options,
  );
