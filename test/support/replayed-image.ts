/**
 * Replays a Dockerfile without an engine: a folder is the root file system of each stage, and absolute paths
 * refer to it. Supports the instructions of the samples, and fails at any other.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

export interface Image {
  /** The folder that is `/`. */
  root: string;
  env: Record<string, string>;
  /** From `/`. */
  workdir: string;
  entrypoint: string[];
  cmd: string[];
  user: string;
}

export interface ReplayOptions {
  /** The build context: source of COPY. */
  context: string;
  /** Values of --build-arg. */
  args?: Record<string, string>;
  /** Registry images by name; others are an empty file system. */
  images?: Record<string, Image>;
  /** Parent of the stages' folders. */
  scratch: string;
}

export const emptyImage = (root: string): Image => {
  mkdirSync(root, { recursive: true });
  return { root, env: {}, workdir: '/', entrypoint: [], cmd: [], user: '' };
};

/** Instructions with their continuation lines joined, without comments. */
function instructionsOf(dockerfile: string): [name: string, rest: string][] {
  const text = readFileSync(dockerfile, 'utf8').replace(/^\s*#.*\n/gm, '');
  return text
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^(\w+)\s+(.*)$/.exec(line) ?? [];
      return [name, rest];
    });
}

/** Expands `$NAME`, `${NAME}` and `${NAME:+word}`, as Dockerfiles do. */
function filledIn(text: string, values: Record<string, string>): string {
  return text
    .replace(/\$\{(\w+):\+([^}]*)\}/g, (_, name: string, word: string) =>
      values[name] ? filledIn(word, values) : '',
    )
    .replace(
      /\$\{(\w+)\}|\$(\w+)/g,
      (_, braced?: string, plain?: string) => values[(braced ?? plain) as string] ?? '',
    );
}

/** Returns the image of the last stage. */
export function replayDockerfile(dockerfile: string, options: ReplayOptions): Image {
  const globalArgs: Record<string, string> = {};
  const stages = new Map<string, Image>();
  let image: Image | undefined;
  const inRoot = (file: string) =>
    path.join(
      (image as Image).root,
      path.isAbsolute(file) ? file : path.join((image as Image).workdir, file),
    );

  for (const [name, rest] of instructionsOf(dockerfile)) {
    if (name === 'ARG') {
      const [arg = '', fallback = ''] = rest.split('=');
      globalArgs[arg] = options.args?.[arg] ?? fallback;
      continue;
    }
    if (name === 'FROM') {
      const [, from = '', , stage = `${stages.size}`] =
        /^(\S+)( AS (\S+))?$/i.exec(filledIn(rest, globalArgs)) ?? [];
      const base = options.images?.[from] ?? stages.get(from);
      const root = path.join(options.scratch, `stage-${stage}`);
      rmSync(root, { recursive: true, force: true });
      if (base !== undefined) cpSync(base.root, root, { recursive: true, verbatimSymlinks: true });
      image = { ...emptyImage(root), ...base, root, env: { ...base?.env } };
      stages.set(stage, image);
      continue;
    }
    if (image === undefined) throw new Error(`${dockerfile}: ${name} before FROM`);
    switch (name) {
      case 'COPY':
        copy(rest);
        break;
      case 'RUN':
        run(rest);
        break;
      case 'ENV': {
        const [, variable = '', value = ''] = /^(\w+)="?(.*?)"?$/.exec(rest) ?? [];
        image.env[variable] = filledIn(value, image.env);
        break;
      }
      case 'WORKDIR':
        image.workdir = rest;
        mkdirSync(inRoot('.'), { recursive: true });
        break;
      case 'USER':
        image.user = rest;
        break;
      case 'EXPOSE':
        break;
      case 'ENTRYPOINT':
        image.entrypoint = JSON.parse(rest);
        // The engine drops the base image's command here.
        image.cmd = [];
        break;
      case 'CMD':
        image.cmd = JSON.parse(rest);
        break;
      default:
        throw new Error(`${dockerfile}: ${name} cannot be replayed`);
    }
  }
  if (image === undefined) throw new Error(`${dockerfile} has no FROM`);
  return image;

  function copy(rest: string): void {
    const words = rest.split(/\s+/);
    const flags = words.filter((word) => word.startsWith('--'));
    const paths = words.filter((word) => !word.startsWith('--'));
    const target = paths.pop() as string;
    const from = flags.find((flag) => flag.startsWith('--from='))?.slice('--from='.length);
    const source = from === undefined ? options.context : stages.get(from)?.root;
    if (source === undefined) throw new Error(`${dockerfile}: no stage ${from}`);
    for (const pattern of paths) {
      const found = globSync(pattern.replace(/^\//, ''), { cwd: source });
      if (found.length === 0) throw new Error(`${dockerfile}: COPY finds no ${pattern}`);
      for (const file of found) {
        const ofFolder = statSync(path.join(source, file)).isDirectory();
        // A folder's content is copied; a file goes into the target if that is a folder.
        const to = target.endsWith('/') && !ofFolder ? path.join(target, path.basename(file)) : target;
        cpSync(path.join(source, file), inRoot(to), {
          recursive: true,
          verbatimSymlinks: true,
          // Files of a working copy that are not checked in.
          filter: (name) => ofFolder === false || from !== undefined || !name.includes('node_modules'),
        });
      }
    }
  }

  function run(rest: string): void {
    const { root, env, workdir } = image as Image;
    mkdirSync(path.join(root, 'tmp'), { recursive: true });
    const command = rest.replace(/(^|\s)\/(?=[\w.])/g, `$1${root}/`);
    execFileSync('/bin/sh', ['-ec', command], {
      cwd: path.join(root, workdir),
      env: { PATH: process.env.PATH, HOME: process.env.HOME, npm_config_prefer_offline: 'true', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 300_000,
    });
  }
}
