/**
 * All of @opentelemetry/auto-instrumentations-node, as data, with the modules of the app that each one waits
 * for. A test compares this table with the package.
 */
export interface CatalogEntry {
  /** As in OTEL_NODE_ENABLED_INSTRUMENTATIONS: the package's name without @opentelemetry/instrumentation-. */
  name: string;
  /** The class that the package exports. */
  className: string;
  /** Packages and built-in modules whose loading by the app activates it. */
  modules: readonly string[];
  /** Supported versions of the module, where the package names too few. */
  supportedVersions?: string[];
  /** For instrumentations that wait for no module. */
  when?: 'fetch' | 'metrics' | 'lambda';
  /** Off until named in OTEL_NODE_ENABLED_INSTRUMENTATIONS. */
  offByDefault?: true;
}

export const CATALOG: readonly CatalogEntry[] = [
  { name: 'amqplib', className: 'AmqplibInstrumentation', modules: ['amqplib'] },
  { name: 'aws-lambda', className: 'AwsLambdaInstrumentation', modules: [], when: 'lambda' },
  {
    name: 'aws-sdk',
    className: 'AwsInstrumentation',
    modules: [
      '@aws-sdk/middleware-stack',
      '@smithy/middleware-stack',
      '@smithy/core',
      '@aws-sdk/smithy-client',
      '@smithy/smithy-client',
    ],
  },
  {
    name: 'bunyan',
    className: 'BunyanInstrumentation',
    modules: ['bunyan'],
    // Nothing that is patched has changed in 2.
    supportedVersions: ['>=1.0.0 <3'],
  },
  { name: 'cassandra-driver', className: 'CassandraDriverInstrumentation', modules: ['cassandra-driver'] },
  { name: 'connect', className: 'ConnectInstrumentation', modules: ['connect'] },
  { name: 'cucumber', className: 'CucumberInstrumentation', modules: ['@cucumber/cucumber'] },
  { name: 'dataloader', className: 'DataloaderInstrumentation', modules: ['dataloader'] },
  { name: 'dns', className: 'DnsInstrumentation', modules: ['dns', 'dns/promises'], offByDefault: true },
  { name: 'express', className: 'ExpressInstrumentation', modules: ['express'] },
  { name: 'fs', className: 'FsInstrumentation', modules: ['fs', 'fs/promises'], offByDefault: true },
  {
    name: 'generic-pool',
    className: 'GenericPoolInstrumentation',
    modules: ['generic-pool'],
    offByDefault: true,
  },
  { name: 'graphql', className: 'GraphQLInstrumentation', modules: ['graphql'] },
  { name: 'grpc', className: 'GrpcInstrumentation', modules: ['@grpc/grpc-js'] },
  { name: 'hapi', className: 'HapiInstrumentation', modules: ['@hapi/hapi'] },
  {
    name: 'host-metrics',
    className: 'HostMetricsInstrumentation',
    modules: [],
    when: 'metrics',
    offByDefault: true,
  },
  { name: 'http', className: 'HttpInstrumentation', modules: ['http', 'https'] },
  { name: 'ioredis', className: 'IORedisInstrumentation', modules: ['ioredis'] },
  { name: 'kafkajs', className: 'KafkaJsInstrumentation', modules: ['kafkajs'] },
  { name: 'knex', className: 'KnexInstrumentation', modules: ['knex'] },
  { name: 'koa', className: 'KoaInstrumentation', modules: ['koa'] },
  { name: 'lru-memoizer', className: 'LruMemoizerInstrumentation', modules: ['lru-memoizer'] },
  { name: 'memcached', className: 'MemcachedInstrumentation', modules: ['memcached'] },
  { name: 'mongodb', className: 'MongoDBInstrumentation', modules: ['mongodb'] },
  { name: 'mongoose', className: 'MongooseInstrumentation', modules: ['mongoose'] },
  { name: 'mysql', className: 'MySQLInstrumentation', modules: ['mysql'] },
  { name: 'mysql2', className: 'MySQL2Instrumentation', modules: ['mysql2'] },
  { name: 'nestjs-core', className: 'NestInstrumentation', modules: ['@nestjs/core'] },
  { name: 'net', className: 'NetInstrumentation', modules: ['net'], offByDefault: true },
  { name: 'openai', className: 'OpenAIInstrumentation', modules: ['openai'] },
  { name: 'oracledb', className: 'OracleInstrumentation', modules: ['oracledb'] },
  { name: 'pg', className: 'PgInstrumentation', modules: ['pg', 'pg-pool'] },
  { name: 'pino', className: 'PinoInstrumentation', modules: ['pino'] },
  // Upstream's class makes one instrumentation per line of the client, which hook these.
  {
    name: 'redis',
    className: 'RedisInstrumentation',
    modules: ['redis', '@redis/client', '@node-redis/client'],
  },
  { name: 'restify', className: 'RestifyInstrumentation', modules: ['restify'] },
  { name: 'router', className: 'RouterInstrumentation', modules: ['router'] },
  { name: 'runtime-node', className: 'RuntimeNodeInstrumentation', modules: [], when: 'metrics' },
  { name: 'socket.io', className: 'SocketIoInstrumentation', modules: ['socket.io'] },
  { name: 'tedious', className: 'TediousInstrumentation', modules: ['tedious'] },
  { name: 'undici', className: 'UndiciInstrumentation', modules: [], when: 'fetch' },
  { name: 'winston', className: 'WinstonInstrumentation', modules: ['winston'] },
];

/** The name of the Milvus instrumentation in the same variables. */
export const MILVUS = 'milvus';
