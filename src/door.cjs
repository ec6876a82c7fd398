'use strict';

// What `--import`, `--require` and NODE_OPTIONS load. It must be readable by any Node, since on one that is too old
// it is the only file that runs: it says so in one line, and the app runs as if it were not there.
const [major, minor] = process.versions.node.split('.').map(Number);
// biome-ignore lint/style/useNodejsImportProtocol: Nodes that are too old may not know the prefix.
const { isInternalThread, isMainThread } = require('worker_threads');

if (String(process.env.OTEL_SDK_DISABLED).trim().toLowerCase() !== 'true') {
  if (major > 22 || (major === 22 && minor >= 15)) {
    // Node loads preloads in the thread of module hooks too, which has nothing to trace.
    if (!isInternalThread) require('./preload.cjs').register();
  } else if (isMainThread) {
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
