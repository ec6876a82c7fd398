/**
 * The preload's copy of grpc-js. It would print its errors to the app's stderr, once for each attempt to
 * connect; the lines on failed exports have the reasons. CommonJS, so that every export is passed on.
 */
const grpc = require('@grpc/grpc-js');

grpc.setLogger({
  error() {},
  // Only with GRPC_VERBOSITY or GRPC_TRACE.
  info: (...texts) => console.error('I', ...texts),
  debug: (...texts) => console.error('D', ...texts),
});

module.exports = grpc;
