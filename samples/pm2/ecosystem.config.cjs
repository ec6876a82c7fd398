// pm2 start samples/pm2/ecosystem.config.cjs
const path = require('node:path');

const app = path.join(__dirname, '..', 'express');
// A path: in cluster mode, a name would be resolved from the folder in which pm2's daemon was started.
const preload = require.resolve('milvus-otel/register', { paths: [app] });

module.exports = {
  apps: [
    {
      name: 'docs-service',
      cwd: app,
      script: 'server.js',
      // Not `env` below: in cluster mode, pm2 sets it after Node has loaded the preload.
      node_args: [`--env-file=${path.join(__dirname, 'otel.env')}`, '--require', preload],
      // In both modes: fork is one process, cluster is several on one port.
      exec_mode: 'cluster',
      instances: 2,
      // Longer than the running requests plus 2 s for the last spans; then pm2 uses SIGKILL, which loses
      // them.
      kill_timeout: 10_000,
      // Variables of the app.
      env: { MILVUS_ADDRESS: 'localhost:19530', PORT: '3000' },
    },
  ],
};
