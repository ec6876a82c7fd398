// The file that the operator's NODE_OPTIONS names. The package is in node_modules next to it.
require('milvus-otel/register');
