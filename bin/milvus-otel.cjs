#!/usr/bin/env node
'use strict';

// Readable by any Node: on one that is too old, only this line is of use.
var numbers = process.versions.node.split('.').map(Number);

if (numbers[0] > 22 || (numbers[0] === 22 && numbers[1] >= 15)) {
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
    'milvus-otel: needs Node 22.15 or newer, this is ' +
      process.versions.node +
      '; apps run untraced on it, too.',
  );
  process.exitCode = 1;
}
