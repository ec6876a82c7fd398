import manifest from '../package.json' with { type: 'json' };

/** This package's version, as in its package.json. */
export const VERSION: string = manifest.version;

/** The Nodes that this package runs on, as npm writes a range. */
export const NODES: string = manifest.engines.node;

/** The instrumentation scope of Milvus' spans. */
export const SCOPE = 'milvus-otel';

/** The conventions that these spans follow: those of the installed @opentelemetry/semantic-conventions. */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.45.0';
