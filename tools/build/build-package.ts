/**
 * `npm run build`: builds the published files from register.ts and src/. The preload and its lazy parts are
 * one tree-shaken bundle (docs/decisions/bundled-preload.md).
 */

import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build, type InputOptions, type OutputOptions, type Plugin } from 'rolldown';
import { LAZY, PARTS, partOf } from './parts.ts';

const root = join(import.meta.dirname, '..', '..');
const dist = join(root, 'dist');
const importHookFile = join(root, 'src/instrumentations/import-hook.ts');
const requireHookFile = join(root, 'src/instrumentations/require-hook.ts');
const originalsFile = join(root, 'src/sdk/originals.ts');
const logsApiFile = join(root, 'src/sdk/logs-api.ts');

/** Shared with the app. */
const EXTERNAL = ['@opentelemetry/api'];

/** Resolves the virtual entry modules. */
const parts: Plugin = {
  name: 'parts',
  resolveId: (id) => (id.startsWith('part:') ? `\0${id}` : undefined),
  load: (id) =>
    id.startsWith('\0part:') ? { code: PARTS[id.slice('\0part:'.length)] as string } : undefined,
};

/** Replaces NodeSDK's LAZY packages by stand-ins: classes that load their part when constructed. */
const lazyImports: Plugin = {
  name: 'lazy-imports',
  resolveId: (id, importer) =>
    LAZY.includes(id) && importer?.includes('/@opentelemetry/sdk-node/') ? `\0lazy:${id}` : undefined,
  async load(id) {
    if (!id.startsWith('\0lazy:')) return undefined;
    const packageName = id.slice('\0lazy:'.length);
    const names = Object.keys(await import(packageName));
    const stands = names.map(
      (name) => `export const ${name} = /* @__PURE__ */ standIn('${partOf(packageName)}', '${name}');`,
    );
    return {
      code: [`import { standIn } from '${join(root, 'src/sdk/lazy-modules.ts')}';`, ...stands].join('\n'),
    };
  },
};

/** `debug` only serves debugging require-in-the-middle itself, and every app would load it. */
const withoutDebug: Plugin = {
  name: 'without-debug',
  resolveId: (id) => (id === 'debug' ? '\0debug' : undefined),
  load: (id) => (id === '\0debug' ? { code: 'module.exports = () => () => {};' } : undefined),
};

/**
 * One private copy of grpc-js for the preload, the exit sender and the doctor (docs/decisions/senders.md).
 */
const ownGrpcJs: Plugin = {
  name: 'own-grpc-js',
  resolveId: (id) => (id === '@grpc/grpc-js' ? { id: './grpc-js.cjs', external: true } : undefined),
};

/** grpc-js needs proto-loader only for its built-in services, which senders do not use. */
const withoutProtoLoader: Plugin = {
  name: 'without-proto-loader',
  resolveId: (id) => (id === '@grpc/proto-loader' ? '\0proto-loader' : undefined),
  load: (id) => (id === '\0proto-loader' ? { code: 'module.exports = {};' } : undefined),
};

/** See src/instrumentations/require-hook.ts and import-hook.ts. */
const hooks: Plugin = {
  name: 'hooks',
  resolveId(id, importer) {
    if (id === 'require-in-the-middle' && importer !== requireHookFile) return requireHookFile;
    return id === 'import-in-the-middle' ? importHookFile : undefined;
  },
};

/** On Linux the machine id needs no child process, so the preload does not load child_process. */
const lateChildProcess: Plugin = {
  name: 'late-child-process',
  transform: (_code, id) =>
    /\/machine-id\/execAsync\.mjs$/.test(id)
      ? {
          code: `import { promisify } from 'node:util';
export const execAsync = (...args) => promisify(process.getBuiltinModule('node:child_process').exec)(...args);`,
          map: null,
        }
      : undefined,
};

/** Names of the API that older versions of it lack: see src/sdk/logs-api.ts. */
const LOGS_NAMES: readonly string[] = ['logs', 'createNoopLogger', 'SeverityNumber'];

const logsApi: Plugin = {
  name: 'logs-api',
  transform(code, id) {
    if (!id.includes('/node_modules/@opentelemetry/')) return undefined;
    const changed = code.replace(
      /^import \{ (.*) \} from "@opentelemetry\/api";$/gm,
      (line, list: string) => {
        const names = list.split(', ');
        const ofLogs = names.filter((name) => LOGS_NAMES.includes(name));
        if (ofLogs.length === 0) return line;
        const others = names.filter((name) => !ofLogs.includes(name));
        return `import { ${others.join(', ')} } from "@opentelemetry/api";import { ${ofLogs.join(', ')} } from "${logsApiFile}";`;
      },
    );
    return changed === code ? undefined : { code: changed, map: null };
  },
};

/** Bundles packages that upstream loads by require(): users do not have them installed. */
const bundledRequires: Plugin = {
  name: 'bundled-requires',
  transform(code, id) {
    if (id.includes('/@opentelemetry/instrumentation-http/'))
      return {
        code: code.replace(/^const (\w+) = __require\("(forwarded-parse)"\);$/m, "import $1 from '$2';"),
        map: null,
      };
    // One copy of grpc-js rejects the credentials of another.
    if (/\/@opentelemetry\/otlp-(grpc-)?exporter-base\//.test(id))
      return {
        code: code.replaceAll('__require("@grpc/grpc-js")', '__require("./grpc-js.cjs")'),
        map: null,
      };
    return undefined;
  },
};

/** Lines of an upstream file, each with its replacement in the bundle. */
interface ReplacedLines {
  file: RegExp;
  lines: [upstream: string, ours: string][];
}

/**
 * An asynchronous read of one small file in kernel memory would start the thread pool: four threads, 3 MiB.
 */
const THREADLESS_LINES: ReplacedLines[] = [
  {
    file: /\/machine-id\/getMachineId-linux\.mjs$/,
    lines: [
      ['import { promises } from "fs";', 'import { readFileSync } from "node:fs";'],
      ['await promises.readFile(path, { encoding: "utf8" })', 'readFileSync(path, "utf8")'],
    ],
  },
];

/** Upstream reads package.json for every loaded file of a package; here only for files to be patched. */
const SELDOM_LINES: ReplacedLines[] = [
  {
    file: /\/@opentelemetry\/instrumentation\/.*\/platform\/node\/instrumentation\.mjs$/,
    lines: [
      [
        'const version = this._extractPackageVersion(baseDir);',
        'if (module.name !== name && !(module.files ?? []).some((f) => f.name === path.normalize(name))) return exports; ' +
          'const version = this._extractPackageVersion(baseDir);',
      ],
    ],
  },
];

/**
 * Outside of its cloud, this library warns by `process.emitWarning`, and with DEBUG_AUTH it prints to stdout.
 * Other cloud detectors log the same fact by `diag.debug`.
 */
const QUIET_LINES: ReplacedLines[] = [
  {
    file: /\/gcp-metadata\/build\/src\/index\.js$/,
    lines: [
      ['process.emitWarning(', "require('@opentelemetry/api').diag.debug('GcpDetector: not on GCP:', "],
      ['console.info(err);', ''],
    ],
  },
];

const REPLACED = [...THREADLESS_LINES, ...SELDOM_LINES, ...QUIET_LINES];

const replacedLines: Plugin = {
  name: 'replaced-lines',
  transform(code, id) {
    const replaced = REPLACED.find(({ file }) => file.test(id));
    if (replaced === undefined) return undefined;
    let changed = code;
    for (const [upstream, ours] of replaced.lines) {
      if (changed.split(upstream).length !== 2)
        throw new Error(`${id} has changed and lacks the line to replace: ${upstream}`);
      changed = changed.replace(upstream, ours);
    }
    return { code: changed, map: null };
  },
};

/** Global → its saved original, for code in the app's process: see src/sdk/originals.ts. */
const ORIGINALS: Record<string, [file: string, exported: string]> = {
  ...Object.fromEntries(
    [
      'Date',
      'Promise',
      'performance',
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'setImmediate',
      'queueMicrotask',
    ].map((name) => [name, [originalsFile, name]]),
  ),
  'Date.now': [originalsFile, 'dateNow'],
  'Math.random': [originalsFile, 'mathRandom'],
};

/** This package imports its clock. */
const importedClock: Plugin = {
  name: 'imported-clock',
  resolveId: (id, importer) =>
    id === 'perf_hooks' && importer?.includes('/@opentelemetry/instrumentation-openai/')
      ? originalsFile
      : undefined,
};

const common = {
  cwd: root,
  platform: 'node',
  external: EXTERNAL,
  plugins: [
    parts,
    lazyImports,
    ownGrpcJs,
    withoutDebug,
    hooks,
    lateChildProcess,
    bundledRequires,
    logsApi,
    replacedLines,
  ],
  resolve: { conditionNames: ['import', 'module', 'node', 'default'] },
  transform: { target: 'node22.15' },
  logLevel: 'warn',
} as const satisfies InputOptions;

/** Code in the app's process, where the app may replace globals. */
const inApp = {
  ...common,
  plugins: [...common.plugins, importedClock],
  transform: { ...common.transform, inject: ORIGINALS },
} satisfies InputOptions;

/**
 * Modules that the preload always loads, in one file. register.ts stays outside: parts may need that file's
 * exports before register.ts has run.
 */
async function coreModules(): Promise<ReadonlySet<string>> {
  const front = join(root, 'register.ts');
  const { output } = await build({
    ...inApp,
    input: { preload: front },
    output: { format: 'cjs', exports: 'named' },
    write: false,
  });
  return new Set(
    output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : [])).filter((id) => id !== front),
  );
}

export async function buildPackage(): Promise<void> {
  // Next to dist/, so that paths in source maps match.
  const out = join(root, `.dist-${process.pid}`);
  try {
    await buildInto(out);
    // Renamed first, so that dist/ is missing only for an instant.
    if (existsSync(dist)) await rename(dist, `${out}-old`);
    await rename(out, dist);
  } finally {
    await rm(out, { recursive: true, force: true });
    await rm(`${out}-old`, { recursive: true, force: true });
  }
}

async function buildInto(out: string): Promise<void> {
  const core = await coreModules();
  const files = {
    dir: out,
    format: 'cjs',
    // Flat, so that every importer finds a part as './name.cjs'.
    entryFileNames: '[name].cjs',
    sourcemap: true,
    // Faster to read at start-up. Names stay, and source maps have the rest.
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    exports: 'named',
  } as const satisfies OutputOptions;
  const { output } = await build({
    input: {
      preload: join(root, 'register.ts'),
      instrumentation: join(root, 'src/milvus/instrumentation-entry.ts'),
      ...Object.fromEntries(Object.keys(PARTS).map((name) => [name, `part:${name}`])),
    },
    ...inApp,
    output: {
      ...files,
      chunkFileNames: 'shared-[hash].cjs',
      codeSplitting: { groups: [{ name: 'core', test: (id) => core.has(id) }] },
    },
  });
  const grpcJs = await build({
    ...common,
    plugins: [withoutProtoLoader],
    transform: {
      ...common.transform,
      inject: Object.fromEntries(
        Object.entries(ORIGINALS).map(([name, [, exported]]) => [
          name,
          [join(root, 'src/otlp/grpc-js-globals.ts'), exported],
        ]),
      ),
    },
    input: { 'grpc-js': join(root, 'src/otlp/own-grpc-js.cjs') },
    output: files,
  });
  // Separate from the preload: the app waits for it at exit, so it loads only the code that it needs.
  const senderProcess = await build({
    ...common,
    input: { 'sender-process': join(root, 'src/shutdown/sender-process.ts') },
    output: {
      ...files,
      chunkFileNames: 'sender-process-[name].cjs',
      // A separate file: otherwise shared code would be in the program, and loading it would run the program.
      codeSplitting: {
        groups: [{ name: 'shared', test: /\/src\/(?!shutdown\/|otlp\/(grpc|http)-sender)/ }],
      },
    },
  });
  // Separate, so that the preload neither grows nor waits for it.
  const doctor = await build({
    ...common,
    input: {
      doctor: join(root, 'src/doctor/command.ts'),
      'doctor-probe': join(root, 'src/doctor/probe.ts'),
      'doctor-call-recorder': join(root, 'src/doctor/call-recorder.ts'),
    },
    output: { ...files, chunkFileNames: 'doctor-shared-[hash].cjs' },
  });
  await withoutUpstreamSources(out);
  await cp(join(root, 'src/register.cjs'), join(out, 'register.cjs'));
  await cp(join(root, 'src/milvus/instrumentation.types.d.cts'), join(out, 'instrumentation.d.cts'));
  const modules = [...output, ...grpcJs.output, ...senderProcess.output, ...doctor.output].flatMap((file) =>
    file.type === 'chunk' ? file.moduleIds : [],
  );
  await writeFile(join(out, 'LICENSES'), await licences(modules));
}

/** Source maps keep names and lines of packages, but not their text, half of the installed size. */
async function withoutUpstreamSources(folder: string): Promise<void> {
  for (const file of await readdir(folder)) {
    if (!file.endsWith('.map')) continue;
    const map = JSON.parse(await readFile(join(folder, file), 'utf8'));
    map.sourcesContent = map.sourcesContent?.map((text: string, at: number) =>
      map.sources[at].includes('/node_modules/') ? null : text,
    );
    await writeFile(join(folder, file), JSON.stringify(map));
  }
}

/** Licence texts of all bundled packages. */
async function licences(moduleIds: readonly string[]): Promise<string> {
  const folders = new Set<string>();
  for (const id of moduleIds) {
    const folder = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1];
    if (folder !== undefined && !folder.startsWith('\0')) folders.add(folder);
  }
  const texts = await Promise.all(
    [...folders].sort().map(async (folder) => {
      const { name, version, license } = createRequire(import.meta.url)(join(folder, 'package.json'));
      const files = (await readdir(folder, { withFileTypes: true }))
        .filter((file) => file.isFile() && /^(licen[cs]e|notice)/i.test(file.name))
        .map(({ name }) => name)
        .sort();
      const contents =
        files.length > 0
          ? await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
          : [await licenceInReadme(folder, name)];
      return `${name} ${version} (${license})\n\n${contents.join('\n')}`;
    }),
  );
  const rule = `\n${'-'.repeat(80)}\n`;
  return `The files next to this one contain the packages below.\n${rule}${texts.join(rule)}`;
}

/** Some packages have their licence only as a section of their README. */
async function licenceInReadme(folder: string, name: string): Promise<string> {
  const readme = (await readdir(folder)).find((file) => /^readme/i.test(file));
  const text = readme === undefined ? '' : await readFile(join(folder, readme), 'utf8');
  const section = /^#* *licen[cs]e\b.*?$([\s\S]*?)(?=^#|$(?![\s\S]))/im
    .exec(text.replace(/^-{3,}$/gm, ''))?.[1]
    ?.trim();
  if (!section) throw new Error(`${name} is bundled but has no licence text`);
  return section;
}

/** Builds when dist/ is missing or older than a source. */
export async function ensureBuilt(): Promise<void> {
  const sources = ['package.json', 'package-lock.json', 'register.ts', 'tools/build/build-package.ts'];
  for (const entry of await readdir(join(root, 'src'), { recursive: true })) sources.push(join('src', entry));
  const newest = Math.max(
    ...(await Promise.all(sources.map(async (file) => (await stat(join(root, file))).mtimeMs))),
  );
  const built = await stat(join(dist, 'register.cjs')).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  if (built > newest) return;
  console.error('Building dist/ …');
  await buildPackage();
}
