// pm2 start samples/pm2/ecosystem.config.cjs
const path = require('node:path');

const app = path.join(__dirname, '..', 'express');
// As a path: in cluster mode the name would be looked for from the folder in which pm2's daemon was started.
const preload = require.resolve('milvus-otel/register', { paths: [app] });

module.exports = {
  apps: [
    {
      name: 'docs-service',
      cwd: app,
      script: 'server.js',
      // A file of Node's own instead of `env` below, which in cluster mode is set by a script of pm2's, after the preload.
      node_args: [`--env-file=${path.join(__dirname, 'otel.env')}`, '--require', preload],
      // In both modes: fork is one process, cluster is several on one port.
      exec_mode: 'cluster',
      instances: 2,
      // Longer than requests under way and the 2 s for the last spans; then pm2 uses SIGKILL, which loses them.
      kill_timeout: 10_000,
      // What the app reads.
      env: { MILVUS_ADDRESS: 'localhost:19530', PORT: '3000' },
    },
  ],
};
