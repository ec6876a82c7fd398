'use strict';

// What `--import`, `--require` and NODE_OPTIONS load. It must be readable by any Node, since on one that is too old
// it is the only file that runs: it says so in one line, and the app runs as if it were not there.
const [major, minor] = process.versions.node.split('.').map(Number);
// Workers cannot abort the process. (worker_threads would say it too, but takes milliseconds to load.)
const inWorker = process.abort.disabled === true;

if (String(process.env.OTEL_SDK_DISABLED).trim().toLowerCase() !== 'true') {
  if (major > 22 || (major === 22 && minor >= 15)) {
    // Node loads preloads in the thread of module hooks too, which has nothing to trace.
    if (!inWorker || !require('node:worker_threads').isInternalThread) require('./preload.cjs').register();
  } else if (!inWorker) {
    try {
      // biome-ignore lint/style/useNodejsImportProtocol: Nodes that are too old may not know the prefix.
      require('fs').writeSync(
        2,
        `milvus-otel: needs Node 22.15 or newer, this is ${process.versions.node}; the app runs untraced.\n`,
      );
    } catch (_) {
      // stderr is closed: there is nobody to tell.
    }
  }
}
