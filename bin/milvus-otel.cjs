#!/usr/bin/env node
'use strict';

// Any Node can read this file, as the entry point src/register.cjs, which makes the same check.
// biome-ignore lint/style/useNodejsImportProtocol: Nodes that are too old may not know the prefix.
if (typeof require('module').registerHooks === 'function') {
  require('../dist/doctor.cjs')
    .main(process.argv.slice(2))
    .then(
      // Not when everything is closed: what still hangs must not hold up the end.
      (code) => process.exit(code),
      (error) => {
        console.error('milvus-otel:', error);
        process.exit(1);
      },
    );
} else {
  console.error(
    `milvus-otel: ${process.versions.bun ? `Bun ${process.versions.bun}` : `Node ${process.versions.node}`} is not supported ` +
      `(needs Node ${require('../package.json').engines.node}). Apps run untraced on this Node, too.`,
  );
  process.exitCode = 1;
}
