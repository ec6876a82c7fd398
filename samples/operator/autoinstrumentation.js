// The file that the operator's NODE_OPTIONS names. The package lies in node_modules beside it.
require('milvus-otel/register');
