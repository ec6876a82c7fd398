'use strict';

// What `--import`, `--require` and NODE_OPTIONS load. Any Node, Bun and Deno can read it: where the preload
// does not run, it is the only file that is loaded, writes one line, and the app runs as if it were not
// there.
const { bun, deno } = process.versions;
// Workers cannot abort the process. (Loading worker_threads for it would take milliseconds.)
const inWorker = process.abort.disabled === true;

// Programs that inherit NODE_OPTIONS and start the app in a child process, which loads the preload itself.
// Both the file and the package must match: an app may have a yarn.js, too.
const TOOL_FILES =
  /^(next|npm|npx|pnpm|pnpx|yarn|yarnpkg)(-cli)?$|^yarn-\d[\w.-]*$|^(corepack|node-gyp|tsc|tsserver|eslint|prettier|esbuild|nodemon|tsx|cli|nest|pm2(-runtime|-dev|-docker)?|Daemon|cross-env|concurrently|milvus-otel)$/;
const TOOL_PACKAGES =
  /^(next|npm|pnpm|@pnpm\/exe|yarn|@yarnpkg\/(cli|cli-dist|berry)|corepack|node-gyp|typescript|eslint|prettier|esbuild|nodemon|tsx|@nestjs\/cli|pm2|cross-env|concurrently|milvus-otel)$/;

if (deno || bun) {
  // Both have a process.versions.node, too.
  if (!isDisabled()) report(`${deno ? `Deno ${deno}` : `Bun ${bun}`} is not supported (needs Node)`);
} else if (process.env.MILVUS_OTEL_SENDING === undefined && !isDisabled() && !isInTool()) {
  // A process that sends an app's last spans must never start another one: see src/shutdown/handed-over.ts.
  // biome-ignore lint/style/useNodejsImportProtocol: Nodes that are too old may not know the prefix.
  if (typeof require('module').registerHooks === 'function') {
    const loaded = globalThis[Symbol.for('milvus-otel.loaded')];
    if (loaded !== undefined) {
      if (!inWorker) loaded(__filename);
      // Node loads preloads in the thread of module hooks too, which has nothing to trace.
    } else if (!inWorker || !require('node:worker_threads').isInternalThread) {
      require('./preload.cjs').register();
    }
  } else if (!inWorker) {
    report(
      `Node ${process.versions.node} is not supported (needs ${require('../package.json').engines.node})`,
    );
  }
}

function isDisabled() {
  try {
    return String(process.env.OTEL_SDK_DISABLED).trim().toLowerCase() === 'true';
  } catch (_) {
    // Deno without permission to read the environment.
    return false;
  }
}

function report(reason) {
  try {
    // biome-ignore lint/style/useNodejsImportProtocol: as above.
    require('fs').writeSync(2, `milvus-otel: ${reason}. The app runs untraced.\n`);
  } catch (_) {
    // stderr is closed.
  }
}

/** Why and how: docs/decisions/tools-left-alone.md. */
function isInTool() {
  const TOOL = 'milvus-otel.tool';
  const isMain = !inWorker && isTool(process.argv[1]);
  if (!isMain && !inWorker) return false;
  try {
    const threads = require('node:worker_threads');
    // A worker thread does not know the main file yet, so the main thread records what it is.
    if (inWorker) return threads.getEnvironmentData(TOOL) === true;
    threads.setEnvironmentData(TOOL, true);
  } catch (_) {
    // A Node that is too old for it, and so for tracing.
  }
  return isMain;
}

/** The name alone rules out nearly everything, and costs nothing. */
function isTool(mainFile) {
  const path = String(mainFile);
  const name = /[^\\/]*$/.exec(path)[0].replace(/\.[cm]?js$/, '');
  if (isInstallScript()) return true;
  // Of Next.js only this command is the app; `next dev` starts the app's server as another process.
  if (name === 'next' && process.argv[2] === 'start') return false;
  // A process that `next build` or `next dev` starts for a part of its work.
  if (name === 'processChild' && /[\\/]next[\\/]dist[\\/]compiled[\\/]jest-worker[\\/]/.test(path))
    return true;
  return TOOL_FILES.test(name) && isOfToolPackage(path);
}

function isOfToolPackage(mainFile) {
  try {
    // biome-ignore-start lint/style/useNodejsImportProtocol: as above.
    const fs = require('fs');
    const path = require('path');
    // biome-ignore-end lint/style/useNodejsImportProtocol: as above.
    // Of a link such as node_modules/.bin/tsc, where it leads.
    const file = fs.realpathSync(mainFile);
    // Yarn in a repository: a single file, with no package.json but the app's above it.
    if (/[\\/]\.yarn[\\/]releases[\\/]yarn-[^\\/]*$/.test(file)) return true;
    for (let folder = path.dirname(file); folder !== path.dirname(folder); folder = path.dirname(folder)) {
      const manifest = path.join(folder, 'package.json');
      if (!fs.existsSync(manifest)) continue;
      const name = JSON.parse(fs.readFileSync(manifest, 'utf8')).name;
      // Some packages have a nameless one further down, which says only which kind of modules is in there.
      if (name !== undefined) return TOOL_PACKAGES.test(name);
    }
  } catch (_) {
    // Not to be read, so not known to be a tool.
  }
  return false;
}

/** What a dependency runs when it is installed: it may download something, but it is not the app. */
function isInstallScript() {
  if (!/^(pre|post)?install$/.test(process.env.npm_lifecycle_event)) return false;
  try {
    return /[\\/]node_modules[\\/]/.test(process.cwd());
  } catch (_) {
    // The folder is gone.
    return false;
  }
}
