/** Builds the real Jaegers from their Go module, once, into .cache/jaeger. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureGoProgram, type GoBuildOptions, type GoProgram } from './go-program.ts';

export const jaegerVersion = 'v1.76.0';
/** The release of Jaeger 2 that was made from the same commit. */
export const jaeger2Version = '2.13.0';
/** The `go` line of that version's go.mod: an older Go cannot build it. */
export const goNeeded = '1.24.6';
const jaegerModule = 'github.com/jaegertracing/jaeger';
const cacheDir = join(import.meta.dirname, '..', '..', '.cache', 'jaeger');

/** The all-in-one program of Jaeger 1; see `ensureGoProgram`. */
export const ensureJaeger = (options?: GoBuildOptions): Promise<string> =>
  ensureGoProgram(
    {
      title: `Jaeger ${jaegerVersion}`,
      file: 'all-in-one',
      version: jaegerVersion,
      goNeeded,
      takes: 'about 3 minutes on two cores',
      cacheDir,
      build: buildCommand('all-in-one'),
    },
    options,
  );

/** Jaeger 2, one program for everything; it takes a configuration like the OpenTelemetry Collector's. */
export const ensureJaeger2 = (options?: GoBuildOptions): Promise<string> =>
  ensureGoProgram(
    {
      title: `Jaeger ${jaeger2Version}`,
      file: 'jaeger',
      version: jaeger2Version,
      goNeeded,
      takes: 'about 4 minutes on two cores',
      cacheDir,
      build: buildCommand('jaeger'),
    },
    options,
  );

/** The program in the module's folder cmd/`command`. */
function buildCommand(command: string): GoProgram['build'] {
  return async (go, scratch) => {
    writeFileSync(join(scratch, 'go.mod'), 'module jaeger-build\n');
    const { Dir } = JSON.parse(await go(['mod', 'download', '-json', `${jaegerModule}@${jaegerVersion}`]));
    // Go ignores replacements of a required module, but Jaeger needs its own to compile.
    const { Go, Replace } = JSON.parse(await go(['mod', 'edit', '-json', join(Dir, 'go.mod')]));
    const replacements = ((Replace ?? []) as GoReplacement[]).map(({ Old, New }) => {
      return `replace ${[Old.Path, Old.Version, '=>', New.Path, New.Version].filter(Boolean).join(' ')}\n`;
    });
    writeFileSync(
      join(scratch, 'go.mod'),
      `module jaeger-build\n\ngo ${Go}\n\nrequire ${jaegerModule} ${jaegerVersion}\n\n${replacements.join('')}`,
    );
    writeFileSync(join(scratch, 'go.sum'), readFileSync(join(Dir, 'go.sum')));
    await go(['build', '-mod=mod', '-v', '-o', command, `${jaegerModule}/cmd/${command}`]);
  };
}

type GoReplacement = {
  Old: { Path: string; Version?: string };
  New: { Path: string; Version?: string };
};
